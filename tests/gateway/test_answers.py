"""The answers of the whole system: the five of the preview to the letter, those around them, and replays."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from uuid import uuid4

import grpc
import pytest

from chassis import rpc
from gateway import body, idempotency
from skutrail.v1 import common_pb2, inventory_pb2
from skutrail.v1.inventory_pb2_grpc import InventoryStub
from tests.builders import eventually
from tests.gateway.asking import Caller
from tests.running import RunningStack

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
SHIP_TO = {
    "name": "Ada Lovelace",
    "line1": "1 Shoreline Dr",
    "city": "Seattle",
    "state": "WA",
    "postal": "98101",
    "country": "US",
}


def movement(sku: str, qty: int = 120, reason: str = "receipt", **more: Any) -> dict[str, Any]:
    return {"sku": sku, "warehouse": "SEA-1", "qty": qty, "reason": reason, "reference": "PO-2026-00814", **more}


def shipment(sku: str, order_id: str, qty: int = 2) -> dict[str, Any]:
    line_items = [{"sku": sku, "qty": qty}]
    return {"order_id": order_id, "ship_to": SHIP_TO, "line_items": line_items, "carrier_hint": "ups_ground"}


def new_sku() -> str:
    return f"SKU-{uuid4()}"


async def test_a_movement_answers_with_the_balance_after_it(caller: Caller) -> None:
    sku = new_sku()
    await caller.post("/v1/inventory/ledger", movement(sku, 300))

    answer = await caller.post("/v1/inventory/ledger", movement(sku))

    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json) == ["id", "sku", "warehouse", "qty", "balance", "created_at"]
    assert answer.json["id"].startswith("inv_")
    assert INSTANT.fullmatch(answer.json["created_at"])
    assert answer.json.items() >= {"sku": sku, "warehouse": "SEA-1", "qty": 120, "balance": 420}.items()


async def test_a_balance_is_read_with_the_instant_of_its_truth(caller: Caller) -> None:
    sku = new_sku()
    await caller.post("/v1/inventory/ledger", movement(sku))

    answer = await caller.get(f"/v1/inventory/balance?sku={sku}&warehouse=SEA-1")
    unknown = await caller.get("/v1/inventory/balance?sku=never%20moved&warehouse=SEA-1")

    assert list(answer.json) == ["sku", "warehouse", "balance", "as_of"]
    assert answer.json["balance"] == 120
    assert INSTANT.fullmatch(answer.json["as_of"])
    assert (unknown.status, unknown.json["sku"], unknown.json["balance"]) == (200, "never moved", 0)


async def test_a_shipment_is_queued_and_its_order_is_there_at_once(caller: Caller) -> None:
    sku, order_id = new_sku(), f"ord_{uuid4()}"
    await caller.post("/v1/inventory/ledger", movement(sku))

    answer = await caller.post("/v1/shipments", shipment(sku, order_id))
    order_at_once = await caller.get(f"/v1/orders/{order_id}")

    assert answer.status == 202
    assert answer.body.decode() == json.dumps(
        {"id": answer.json["id"], "status": "queued", "label_url": None}, separators=(",", ":")
    )
    assert answer.json["id"].startswith("shp_")
    assert answer.headers["Location"] == f"/v1/shipments/{answer.json['id']}"
    assert order_at_once.status == 200
    assert list(order_at_once.json) == ["id", "status", "allocations"]

    order = await caller.get_until(f"/v1/orders/{order_id}", lambda told: told.json["status"] == "allocated")
    assert order.json["allocations"] == [{"warehouse": "SEA-1", "qty": 2, "shipment_id": answer.json["id"]}]
    assert list(order.json["allocations"][0]) == ["warehouse", "qty", "shipment_id"]


async def test_a_subscription_answers_without_its_secret(caller: Caller) -> None:
    wanted = {
        "url": "https://your.app/webhooks/skutrail",
        "events": ["shipment.created", "inventory.updated"],
        "secret": "whsec_REPLACE",
    }

    answer = await caller.post("/v1/webhooks/subscribe", wanted)
    read = await caller.get(answer.headers["Location"])

    assert answer.status == 201
    assert list(answer.json) == ["id", "url", "events", "created_at"]
    assert answer.json["id"].startswith("whk_")
    assert answer.json["events"] == wanted["events"]
    assert answer.headers["Location"] == f"/v1/webhooks/{answer.json['id']}"
    assert list(read.json) == ["id", "url", "events", "status", "description", "created_at"]
    assert (read.json["status"], read.json["description"]) == ("active", None)
    assert b"REPLACE" not in answer.body + read.body


async def test_a_secret_that_was_made_is_told_in_that_answer_only(caller: Caller) -> None:
    wanted = {"url": "https://your.app/x", "events": ["*"]}

    answer = await caller.post("/v1/webhooks/subscribe", wanted, idempotency_key=str(uuid4()))

    assert list(answer.json) == ["id", "url", "events", "created_at", "secret"]
    assert answer.json["secret"].startswith("whsec_")
    assert "secret" not in (await caller.get(answer.headers["Location"])).json


async def test_a_shipment_is_told_in_full_and_its_label_opens_by_link_and_by_key(caller: Caller) -> None:
    sku = new_sku()
    await caller.post("/v1/inventory/ledger", movement(sku))
    created = await caller.post("/v1/shipments", shipment(sku, f"ord_{uuid4()}"))

    told = await caller.get_until(created.headers["Location"], lambda told: told.json["status"] == "label_ready")

    assert list(told.json) == [
        *("id", "status", "label_url", "order_id", "ship_to", "line_items", "carrier_hint", "carrier", "service"),
        *("allocations", "parcels", "error", "created_at", "updated_at"),
    ]
    assert told.json["ship_to"] == SHIP_TO | {"line2": None, "coordinates": None}
    assert told.json["allocations"] == [{"sku": sku, "warehouse": "SEA-1", "qty": 2}]

    link = told.json["label_url"].removeprefix(caller.base_url)
    nobody, path = caller.by(""), f"{created.headers['Location']}/label"
    by_link, by_key = await nobody.get(link), await caller.get(path)
    assert by_link.status == by_key.status == 200
    assert by_link.headers["Content-Type"] == "application/pdf"
    assert by_link.body == by_key.body
    assert by_link.body.startswith(b"%PDF-")

    held = await nobody.get(link, headers={"If-None-Match": by_link.headers["ETag"]})
    assert (held.status, held.body, held.headers["ETag"]) == (304, b"", by_link.headers["ETag"])
    head = await nobody.ask("HEAD", link)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(by_link.body)))

    forged = link[:-2] + ("AA" if link[-2:] != "AA" else "BB")
    assert (await nobody.get(forged)).code == "not_found"
    assert (await nobody.get(f"/v1/shipments/shp_other/label?{link.partition('?')[2]}")).code == "not_found"
    assert (await caller.by("sk_test_wrong").get(link)).code == "invalid_api_key"
    assert (await nobody.get(path)).code == "authentication_required"


@pytest.mark.parametrize("path", ["/v1/inventory/ledger", "/v1/shipments", "/v1/webhooks/subscribe"])
async def test_a_repeated_request_gets_the_same_bytes_and_no_second_effect(caller: Caller, path: str) -> None:
    sku = new_sku()
    body_of = {
        "/v1/inventory/ledger": movement(sku),
        "/v1/shipments": shipment(sku, f"ord_{uuid4()}"),
        "/v1/webhooks/subscribe": {"url": "https://your.app/x", "events": ["*"]},
    }[path]
    key = str(uuid4())

    first = await caller.post(path, body_of, idempotency_key=key)
    respelled = json.dumps(dict(reversed(body_of.items())), indent=2).encode()
    again = await caller.post(path, respelled, idempotency_key=f'"{key}"')

    assert first.status in (200, 201, 202)
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers.get("Location") == first.headers.get("Location")
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Idempotency-Key"] == first.headers["Idempotency-Key"] == key
    assert again.headers["Request-Id"] != first.headers["Request-Id"]


async def test_a_repeated_refusal_gets_the_same_bytes_even_when_it_could_now_be_granted(caller: Caller) -> None:
    sku, key = new_sku(), str(uuid4())
    pick = movement(sku, 5, "pick")

    first = await caller.post("/v1/inventory/ledger", pick, idempotency_key=key)
    await caller.post("/v1/inventory/ledger", movement(sku))
    again = await caller.post("/v1/inventory/ledger", pick, idempotency_key=key)

    assert (first.status, first.code) == (409, "insufficient_stock")
    assert (first.json["requested"], first.json["available"]) == (5, 0)
    assert first.json["request_id"] == first.headers["Request-Id"]
    assert (again.status, again.body) == (409, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers


async def test_another_request_under_a_used_key_is_refused_valid_or_not(caller: Caller) -> None:
    sku, key = new_sku(), str(uuid4())
    await caller.post("/v1/inventory/ledger", movement(sku), idempotency_key=key)

    other = await caller.post("/v1/inventory/ledger", movement(sku, 121), idempotency_key=key)
    invalid = await caller.post("/v1/inventory/ledger", movement(sku, 0), idempotency_key=key)

    assert (other.status, other.code) == (invalid.status, invalid.code) == (422, "idempotency_key_reused")


async def test_a_finished_key_replays_before_the_body_is_validated(stack: RunningStack, caller: Caller) -> None:
    """An older release accepted what this one refuses: the retry still gets its answer."""
    sku, key = new_sku(), str(uuid4())
    now_refused = movement(sku, colour="red")
    place = {"route": "POST /v1/inventory/ledger", "path": "/v1/inventory/ledger", "query": ""}
    claim = common_pb2.IdempotencyKey(
        key=key, fingerprint=idempotency.fingerprint(**place, body=body.canonical(now_refused))
    )
    message = inventory_pb2.Movement(
        tenant_id="door-tests/test", idempotency=claim, sku=sku, warehouse="SEA-1", qty=7, reason="REASON_RECEIPT"
    )
    async with grpc.aio.insecure_channel(stack.system.stack.address("inventory")) as channel:
        request = inventory_pb2.RecordMovementsRequest(movements=[message])
        recorded = await rpc.call(InventoryStub(channel).RecordMovements, request)

    answer = await caller.post("/v1/inventory/ledger", now_refused, idempotency_key=key)
    under_a_free_key = await caller.post("/v1/inventory/ledger", now_refused, idempotency_key=str(uuid4()))

    assert (answer.status, answer.json["id"]) == (200, recorded.outcomes[0].entry.id)
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert under_a_free_key.code == "validation_failed"


async def test_eight_at_once_with_one_key_are_one_movement(caller: Caller) -> None:
    sku, key = new_sku(), str(uuid4())

    answers = await asyncio.gather(
        *(caller.post("/v1/inventory/ledger", movement(sku), idempotency_key=key) for _ in range(8))
    )

    told = {answer.body for answer in answers if answer.status == 200}
    assert len(told) == 1
    assert {answer.code for answer in answers if answer.status != 200} <= {"idempotency_key_in_use"}
    assert (await caller.get(f"/v1/inventory/balance?sku={sku}&warehouse=SEA-1")).json["balance"] == 120


async def test_a_key_is_the_tenants_and_not_the_api_keys(stack: RunningStack, caller: Caller) -> None:
    sku, key = new_sku(), str(uuid4())
    rotated = caller.by(await stack.create_key("door-tests"))
    stranger = caller.by(await stack.create_key("stranger"))

    first = await caller.post("/v1/inventory/ledger", movement(sku), idempotency_key=key)
    again = await rotated.post("/v1/inventory/ledger", movement(sku), idempotency_key=key)
    other = await stranger.post("/v1/inventory/ledger", movement(sku), idempotency_key=key)

    assert again.body == first.body
    assert other.json["id"] != first.json["id"]
    assert other.json["balance"] == 120


async def test_a_trace_is_followed_from_the_caller_into_the_service(stack: RunningStack, caller: Caller) -> None:
    trace_id = uuid4().hex
    traceparent = f"00-{trace_id}-00f067aa0ba902b7-01"

    transfer = {"sku": new_sku(), "from_warehouse": "SEA-1", "to_warehouse": "NYC-1", "qty": 1}
    answer = await caller.post("/v1/inventory/transfers", transfer, headers={"traceparent": traceparent})

    for name in ("gateway", "inventory"):

        async def traced(name: str = name) -> set[str]:
            return {json.loads(line)["request_id"] for line in stack.log(name).splitlines() if trace_id in line}

        # A line is written after its answer has gone out.
        assert await eventually(traced, bool) == {answer.headers["Request-Id"]}
