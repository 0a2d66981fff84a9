"""Orders and shipments, page by page."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.gateway.asking import Caller
from tests.gateway.listing import pages, walk
from tests.gateway.test_answers import new_sku, shipment
from tests.running import RunningStack

ORDERS, SHIPMENTS = "/v1/orders", "/v1/shipments"


async def ship(caller: Caller, order_id: str) -> str:
    """A shipment that waits for stock; its order is there when this returns."""
    answer = await caller.post(SHIPMENTS, shipment(new_sku(), order_id))
    assert (await caller.get(f"{ORDERS}/{order_id}")).status == 200
    return str(answer.json["id"])


@pytest.fixture
async def own(stack: RunningStack, caller: Caller) -> Caller:
    """A tenant that nobody else writes to."""
    return caller.by(await stack.create_key(f"lists-{uuid4().hex[:12]}"))


async def test_orders_are_walked_to_the_end_while_others_come(own: Caller) -> None:
    before = [f"ord_{number}" for number in range(5)]
    for order_id in before:
        await ship(own, order_id)

    seen = []
    async for data in pages(own, ORDERS):
        seen += [row["id"] for row in data]
        await ship(own, f"late_{len(seen)}")

    assert [order_id for order_id in seen if order_id in before] == before[::-1]
    assert len(seen) == len(set(seen))


async def test_orders_are_listed_by_status(own: Caller) -> None:
    await ship(own, "ord_1")
    await own.get_until(f"{ORDERS}/ord_1", lambda told: told.json["status"] == "backordered")

    rows = await walk(own, ORDERS, status="backordered")
    unknown = await own.get(f"{ORDERS}?status=lost")

    assert rows == [{"id": "ord_1", "status": "backordered", "allocations": []}]
    assert list(rows[0]) == ["id", "status", "allocations"]
    assert await walk(own, ORDERS, status="delivered") == []
    assert (unknown.status, unknown.code) == (400, "invalid_parameter")


async def test_an_empty_list_is_a_page(own: Caller) -> None:
    assert (await own.get(ORDERS)).json == {"data": [], "has_more": False, "next_cursor": None}


async def test_shipments_are_walked_to_the_end_while_others_come(own: Caller) -> None:
    before = [await ship(own, f"ord_{number % 2}") for number in range(5)]

    seen = []
    async for data in pages(own, SHIPMENTS):
        seen += data
        await ship(own, "ord_late")

    assert [row["id"] for row in seen] == before[::-1]
    assert "version" not in seen[0]
    assert list(seen[0]) == list((await own.get(f"{SHIPMENTS}/{before[0]}")).json)


async def test_shipments_are_listed_by_order_and_status(own: Caller, caller: Caller) -> None:
    first, other = await ship(own, "ord_1"), await ship(own, "ord_2")
    for shipment_id in (first, other):
        await own.get_until(f"{SHIPMENTS}/{shipment_id}", lambda told: told.json["status"] == "backordered")

    assert [row["id"] for row in await walk(own, SHIPMENTS, order_id="ord_1")] == [first]
    assert [row["id"] for row in await walk(own, SHIPMENTS, status="backordered")] == [other, first]
    assert await walk(own, SHIPMENTS, order_id="ord_1", status="failed") == []
    assert await walk(caller, SHIPMENTS, order_id="ord_1", limit=1) == []
    for query in ("status=lost", "order_id=a%20b"):
        assert (await own.get(f"{SHIPMENTS}?{query}")).code == "invalid_parameter"
