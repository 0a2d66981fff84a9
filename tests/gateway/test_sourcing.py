"""Where stock would come from, where it comes from and why, and how a shipment ends; on the running system."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from chassis.clock import utc_now
from tests.gateway.asking import Answer, Caller
from tests.gateway.listing import walk
from tests.gateway.test_answers import INSTANT, movement, new_sku, shipment
from tests.running import RunningStack

SHIPMENTS, DRY = "/v1/shipments", "/v1/shipments?dry_run=true"
LEDGER = "/v1/inventory/ledger"
ALLOCATION = [
    *("shipment_id", "allocation", "priority", "hold_expires_at"),
    *("status", "allocations", "missing", "candidates", "decided_at"),
]
SEATTLE, NEW_YORK = {"latitude": 47.6062, "longitude": -122.3321}, {"latitude": 40.7128, "longitude": -74.0060}


@pytest.fixture
async def own(stack: RunningStack, caller: Caller) -> Caller:
    """A tenant that nobody else writes to."""
    return caller.by(await stack.create_key(f"sourcing-{uuid4().hex[:12]}"))


async def receive(own: Caller, sku: str, **stock: int) -> None:
    """Units by warehouse."""
    for warehouse, qty in stock.items():
        assert (await own.post(LEDGER, movement(sku, qty) | {"warehouse": warehouse})).status == 200


async def ship(own: Caller, status: str, body: Any) -> str:
    """The path of a shipment that has become so."""
    location = (await own.post(SHIPMENTS, body)).headers["Location"]
    await own.get_until(location, lambda told: told.json["status"] == status)
    return location


async def told_of(own: Caller, sku: str) -> list[Any]:
    """All that a tenant can see of stock, shipments and orders."""
    levels = await walk(own, "/v1/inventory/levels", sku=sku)
    return [levels, await walk(own, SHIPMENTS), await walk(own, "/v1/orders"), await walk(own, LEDGER)]


def assert_refused(answer: Answer, current_status: str) -> None:
    assert (answer.status, answer.code) == (409, "invalid_state")
    assert answer.json["current_status"] == current_status


async def test_a_dry_run_tells_what_would_be_decided_and_writes_nothing(own: Caller) -> None:
    sku = new_sku()
    await receive(own, sku, EAST=5, WEST=3)
    before = await told_of(own, sku)

    answer = await own.post(DRY, shipment(sku, "ord_1", 4))

    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json) == ["status", "allocations", "missing", "candidates"]
    assert answer.json["status"] == "allocated"
    assert answer.json["allocations"] == [{"sku": sku, "warehouse": "EAST", "qty": 4}]
    assert answer.json["missing"] == []
    east, west = answer.json["candidates"]
    assert list(east) == ["warehouse", "chosen", "rule", "priority", "distance_km", "stock"]
    assert (east["warehouse"], east["chosen"]) == ("EAST", True)
    assert east["stock"] == [{"sku": sku, "available": 5, "taken": 4}]
    assert (west["warehouse"], west["chosen"]) == ("WEST", False)
    assert await told_of(own, sku) == before


async def test_a_dry_run_of_what_there_is_not_tells_what_is_missing(own: Caller) -> None:
    sku = new_sku()
    await receive(own, sku, EAST=5)

    whole = (await own.post(DRY, shipment(sku, "ord_1", 7))).json
    partial = (await own.post(DRY, shipment(sku, "ord_1", 7) | {"allocation": "partial"})).json

    assert (whole["status"], whole["allocations"], whole["missing"]) == ("backordered", [], [{"sku": sku, "qty": 7}])
    assert partial["status"] == "backordered"
    assert partial["allocations"] == [{"sku": sku, "warehouse": "EAST", "qty": 5}]
    assert partial["missing"] == [{"sku": sku, "qty": 2}]


async def test_a_dry_run_spends_no_key_and_is_answered_by_none(own: Caller) -> None:
    sku, key = new_sku(), str(uuid4())
    await receive(own, sku, EAST=5)
    body = shipment(sku, "ord_1", 2)

    dry = await own.post(DRY, body, idempotency_key=key)
    written = await own.post(SHIPMENTS, body, idempotency_key=key)
    dry_again = await own.post(DRY, body, idempotency_key=key)
    other_dry = await own.post(DRY, shipment(sku, "ord_2", 1), idempotency_key=key)
    written_again = await own.post(SHIPMENTS, body, idempotency_key=key)

    assert [dry.status, written.status, dry_again.status, other_dry.status] == [200, 202, 200, 200]
    assert dry.headers["Idempotency-Key"] == key
    assert "Idempotent-Replayed" not in dry_again.headers
    assert (written_again.status, written_again.body) == (202, written.body)
    assert len(await walk(own, SHIPMENTS)) == 1


async def test_a_dry_run_is_refused_for_the_faults_of_the_write(own: Caller) -> None:
    key, sku = str(uuid4()), new_sku()
    await own.post(SHIPMENTS, shipment(sku, "ord_1"), idempotency_key=key)
    invalid = shipment(sku, "ord_1", 0) | {"priority": 101, "hold_expires_at": "2026-04-22T17:04:11Z"}

    dry = await own.post(DRY, invalid, idempotency_key=key)
    wet = await own.post(SHIPMENTS, invalid)

    assert (dry.status, dry.code) == (wet.status, wet.code) == (422, "validation_failed")
    assert dry.json["errors"] == wet.json["errors"]


async def test_a_key_means_another_request_where_the_query_differs(own: Caller) -> None:
    key, body = str(uuid4()), shipment(new_sku(), "ord_1")

    first = await own.post(f"{SHIPMENTS}?dry_run=false", body, idempotency_key=key)
    other = await own.post(SHIPMENTS, body, idempotency_key=key)

    assert first.status == 202
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_the_decision_behind_a_shipment_is_told_with_every_warehouse(own: Caller) -> None:
    sku = new_sku()
    await own.put("/v1/warehouses/EAST", {"coordinates": NEW_YORK})
    await own.put("/v1/warehouses/WEST", {"coordinates": SEATTLE})
    await receive(own, sku, EAST=9, WEST=5)
    body = shipment(sku, "ord_1", 4)
    body["ship_to"] = body["ship_to"] | {"coordinates": SEATTLE}

    location = await ship(own, "label_ready", body)
    told = await own.get(f"{location}/allocation")

    assert list(told.json) == ALLOCATION
    assert told.json["shipment_id"] == location.rpartition("/")[2]
    assert told.json["status"] == "allocated"
    assert told.json["allocations"] == [{"sku": sku, "warehouse": "WEST", "qty": 4}]
    assert INSTANT.fullmatch(told.json["decided_at"])
    west, east = told.json["candidates"]
    assert (west["warehouse"], west["chosen"], west["rule"], west["distance_km"]) == ("WEST", True, "nearness", 0)
    assert (east["warehouse"], east["chosen"], east["rule"]) == ("EAST", False, "nearness")
    assert 3_800 < east["distance_km"] < 3_950
    assert (await own.get(location)).json["ship_to"]["coordinates"] == SEATTLE


async def test_a_partial_shipment_holds_what_there_is_and_waits_for_the_rest(own: Caller) -> None:
    sku = new_sku()
    await receive(own, sku, EAST=1)

    location = await ship(own, "backordered", shipment(sku, "ord_1", 3) | {"allocation": "partial"})
    told = await own.get_until(f"{location}/allocation", lambda told: told.json["allocations"])

    assert told.json["status"] == "backordered"
    assert told.json["allocations"] == [{"sku": sku, "warehouse": "EAST", "qty": 1}]
    assert told.json["missing"] == [{"sku": sku, "qty": 2}]

    await receive(own, sku, EAST=2)
    await own.get_until(location, lambda told: told.json["status"] == "label_ready")


async def test_what_was_asked_of_an_allocation_is_told_with_it(own: Caller) -> None:
    asked = {"allocation": "partial", "priority": 7, "hold_expires_at": "2999-04-22T19:04:11.5+02:00"}
    nothing_said = await ship(own, "backordered", shipment(new_sku(), "ord_1"))
    said = await ship(own, "backordered", shipment(new_sku(), "ord_1") | asked)
    await own.post(f"{said}/cancel", b"")

    plain, canceled = [(await own.get(f"{location}/allocation")).json for location in (nothing_said, said)]

    assert list(plain) == list(canceled) == ALLOCATION
    assert [plain[name] for name in asked] == ["all_or_none", 0, None]
    assert [canceled[name] for name in asked] == ["partial", 7, "2999-04-22T17:04:11Z"]
    assert "priority" not in (await own.get(said)).json


async def test_what_has_not_left_in_time_gives_its_stock_back(own: Caller) -> None:
    soon = (utc_now() + timedelta(seconds=2)).isoformat()

    location = await ship(own, "failed", shipment(new_sku(), "ord_1") | {"hold_expires_at": soon})

    told = (await own.get(location)).json
    assert told["error"]["code"] == "hold_expired"
    assert (await own.get(f"{location}/allocation")).json["status"] == "expired"


async def test_the_allocation_of_no_shipment_is_not_found(own: Caller) -> None:
    assert (await own.get(f"{SHIPMENTS}/shp_{'0' * 26}/allocation")).code == "not_found"


async def test_dispatch_turns_what_is_held_into_picks(own: Caller) -> None:
    sku = new_sku()
    await receive(own, sku, EAST=5)
    location = await ship(own, "label_ready", shipment(sku, "ord_1", 2))

    answer = await own.post(f"{location}/dispatch", b"")

    assert (answer.status, answer.json["status"]) == (200, "shipped")
    assert answer.json.keys() == (await own.get(location)).json.keys()
    [pick, _] = await walk(own, LEDGER, sku=sku)
    assert (pick["qty"], pick["balance"], pick["reason"]) == (-2, 3, "pick")
    assert pick["reference"] == answer.json["id"]
    assert (await own.get(f"{location}/allocation")).json["status"] == "dispatched"
    assert (await own.post(f"{location}/dispatch", b"{}")).json["status"] == "shipped"
    assert_refused(await own.post(f"{location}/cancel", b""), "shipped")


async def test_what_the_sandbox_has_delivered_is_told_within_seconds(stack: RunningStack, own: Caller) -> None:
    sku = new_sku()
    await receive(own, sku, EAST=2)
    location = await ship(own, "label_ready", shipment(sku, "ord_1", 2))
    [parcel] = (await own.post(f"{location}/dispatch", b"")).json["parcels"]

    scans = f"{stack.system.stack.carrier_url}/v1/labels/{parcel['tracking_number']}/scans"
    async with aiohttp.ClientSession() as carrier, carrier.post(scans, json={"status": "delivered"}) as scanned:
        assert scanned.status == 201

    await own.get_until(location, lambda told: told.json["status"] == "delivered")


async def test_cancel_gives_back_what_is_held(own: Caller) -> None:
    sku = new_sku()
    await receive(own, sku, EAST=5)
    location = await ship(own, "label_ready", shipment(sku, "ord_1", 2))

    answer = await own.post(f"{location}/cancel", b"")

    assert (answer.status, answer.json["status"]) == (200, "canceled")
    [level] = await walk(own, "/v1/inventory/levels", sku=sku)
    assert (level["held"], level["available"]) == (0, 5)
    assert (await own.get(f"{location}/allocation")).json["status"] == "released"
    assert (await own.post(f"{location}/cancel", b"{}")).json["status"] == "canceled"
    assert_refused(await own.post(f"{location}/dispatch", b""), "canceled")


async def test_what_waits_is_not_dispatched_and_gets_nothing_once_canceled(own: Caller) -> None:
    sku = new_sku()
    location = await ship(own, "backordered", shipment(sku, "ord_1", 2))

    assert_refused(await own.post(f"{location}/dispatch", b""), "backordered")
    assert (await own.post(f"{location}/cancel", b"")).json["status"] == "canceled"

    await receive(own, sku, EAST=5)
    [level] = await walk(own, "/v1/inventory/levels", sku=sku)
    assert (level["held"], level["waiting"]) == (0, 0)


async def test_a_label_that_is_no_longer_needed_is_given_back(own: Caller) -> None:
    sku = new_sku()
    await receive(own, sku, EAST=5)
    location = await ship(own, "label_ready", shipment(sku, "ord_1", 2))

    await own.post(f"{location}/cancel", b"")

    told = await own.get_until(location, lambda told: told.json["parcels"][0]["label_status"] == "voided")
    assert told.json["status"] == "canceled"
