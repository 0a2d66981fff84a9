"""What became of each SKU of an order, as the whole system tells it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.gateway.asking import Answer, Caller
from tests.gateway.listing import walk
from tests.gateway.test_answers import SHIP_TO, movement
from tests.running import RunningStack

SHIPMENTS = "/v1/shipments"
BORN_BEFORE_LINES = "UPDATE order_shipment SET lines_version = NULL, skus = NULL, told_at = NULL WHERE order_id = %s"


@pytest.fixture
async def own(stack: RunningStack, caller: Caller) -> Caller:
    """A tenant that nobody else writes to."""
    return caller.by(await stack.create_key(f"lines-{uuid4().hex[:12]}"))


async def ship(caller: Caller, order_id: str, **units: int) -> str:
    """A shipment of so many units of each SKU."""
    lines = [{"sku": sku, "qty": qty} for sku, qty in units.items()]
    answer = await caller.post(SHIPMENTS, {"order_id": order_id, "ship_to": SHIP_TO, "line_items": lines})
    assert answer.status == 202, answer
    return str(answer.json["id"])


def line(sku: str, **units: int) -> dict[str, Any]:
    return {"sku": sku, "ordered": 0, "waiting": 0, "allocated": 0, "shipped": 0, "canceled": 0, **units}


async def test_lines_are_there_at_once_and_follow_what_happens(own: Caller) -> None:
    await own.post("/v1/inventory/ledger", movement("B", 50))
    await ship(own, "ord_1", B=2, A=1)

    at_once = await own.get("/v1/orders/ord_1/lines")

    assert at_once.status == 200
    assert list(at_once.json) == ["data", "has_more", "next_cursor"]
    assert [list(row) for row in at_once.json["data"]] == [list(line(""))] * 2
    assert [(row["sku"], row["ordered"]) for row in at_once.json["data"]] == [("A", 1), ("B", 2)]

    await ship(own, "ord_1", B=3)

    def is_allocated(told: Answer) -> bool:
        return {row["sku"]: row["allocated"] for row in told.json["data"] if row["allocated"]} == {"B": 3}

    told = await own.get_until("/v1/orders/ord_1/lines", is_allocated)
    assert told.json["data"] == [line("A", ordered=1, waiting=1), line("B", ordered=5, waiting=2, allocated=3)]
    order = (await own.get("/v1/orders/ord_1")).json
    assert (list(order), order["status"]) == (["id", "status", "allocations"], "partially_allocated")


async def test_lines_are_walked_by_sku_and_a_cursor_is_good_for_its_order(own: Caller) -> None:
    units = {f"S{number}": 1 for number in range(5)}
    await ship(own, "ord_1", **units)
    await ship(own, "ord_2", **units)

    rows = await walk(own, "/v1/orders/ord_1/lines")
    first = (await own.get("/v1/orders/ord_1/lines?limit=2")).json
    elsewhere = await own.get(f"/v1/orders/ord_2/lines?limit=2&cursor={first['next_cursor']}")

    assert rows == [line(sku, ordered=1, waiting=1) for sku in units]
    assert (elsewhere.status, elsewhere.code) == (400, "cursor_invalid")


async def test_an_order_that_nobody_named_has_no_lines(own: Caller) -> None:
    answer = await own.get("/v1/orders/ord_1/lines")

    assert (answer.status, answer.code) == (404, "not_found")


async def test_lines_that_an_earlier_release_did_not_keep_are_asked_for(own: Caller, stack: RunningStack) -> None:
    order_id = f"ord_{uuid4().hex[:12]}"
    await ship(own, order_id, A=2)
    before = await own.get_until(f"/v1/orders/{order_id}", lambda told: told.json["status"] == "backordered")
    async with await psycopg.AsyncConnection.connect(stack.system.stack.databases["orders"].owner) as owner:
        changed = await owner.execute(BORN_BEFORE_LINES, [order_id])

    lines = await own.get(f"/v1/orders/{order_id}/lines")

    assert changed.rowcount == 1
    assert lines.json["data"] == [line("A", ordered=2, waiting=2)]
    assert (await own.get(f"/v1/orders/{order_id}")).json == before.json
