"""Holding stock for requests, on a real PostgreSQL."""

import asyncio

from chassis.errors import Fault
from services.inventory.domain import Reason
from skutrail.v1 import inventory_pb2
from tests.inventory.conftest import Inventory

WAITING = inventory_pb2.ALLOCATION_STATUS_WAITING
HELD = inventory_pb2.ALLOCATION_STATUS_HELD
RELEASED = inventory_pb2.ALLOCATION_STATUS_RELEASED
CONSUMED = inventory_pb2.ALLOCATION_STATUS_CONSUMED


def lines(allocation: inventory_pb2.Allocation) -> list[tuple[str, str, int]]:
    return [(line.sku, line.warehouse, line.qty) for line in allocation.held]


async def test_a_request_is_held_from_one_warehouse_where_one_can_serve(inventory: Inventory) -> None:
    await inventory.record(
        inventory.wish(3, warehouse="A"), inventory.wish(5, warehouse="B"), inventory.wish(9, sku="X", warehouse="B")
    )

    allocation = await inventory.allocate("shp_1", ("SKU-1", 2), ("X", 4), ("SKU-1", 2))

    assert allocation.status == HELD
    assert lines(allocation) == [("SKU-1", "B", 4), ("X", "B", 4)]
    assert (await inventory.stock(warehouse="B")).held == 4


async def test_a_request_is_split_when_no_warehouse_can_serve_it(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(3, warehouse="A"), inventory.wish(3, warehouse="B"))

    allocation = await inventory.allocate("shp_1", ("SKU-1", 5))

    assert lines(allocation) == [("SKU-1", "A", 3), ("SKU-1", "B", 2)]


async def test_a_second_allocation_cannot_take_the_same_stock(inventory: Inventory) -> None:
    await inventory.move(5)

    first = await inventory.allocate("shp_1", ("SKU-1", 4))
    second = await inventory.allocate("shp_2", ("SKU-1", 2))
    again = await inventory.allocate("shp_1", ("SKU-1", 4))

    assert (first.status, second.status) == (HELD, WAITING)
    assert again == first
    assert (await inventory.stock()).held == 4


async def test_held_stock_cannot_be_picked_by_others_but_by_its_request(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 4))

    stranger = await inventory.move(2, Reason.PICK)
    transfer = await inventory.move(-2, Reason.TRANSFER)
    partial = await inventory.move(3, Reason.PICK, reference="shp_1")

    assert isinstance(stranger.answer, Fault)
    assert stranger.answer.facts == {"requested": 2, "available": 1}
    assert isinstance(transfer.answer, Fault)
    assert not isinstance(partial.answer, Fault)
    stock = await inventory.stock()
    assert (stock.on_hand, stock.held) == (2, 1)


async def test_a_hold_picked_in_full_is_consumed_and_ends_once(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 4))

    await inventory.record(
        inventory.wish(1, Reason.PICK, reference="shp_1"), inventory.wish(3, Reason.PICK, reference="shp_1")
    )
    assert (await inventory.allocate("shp_1", ("SKU-1", 4))).status == CONSUMED
    assert (await inventory.release("shp_1")).status == RELEASED
    stock = await inventory.stock()
    assert (stock.on_hand, stock.held) == (1, 0)


async def test_a_released_hold_is_free_and_release_is_repeatable(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 4))

    first, second = await inventory.release("shp_1"), await inventory.release("shp_1")

    assert first == second
    assert first.status == RELEASED
    assert (await inventory.stock()).held == 0


async def test_a_request_released_before_it_came_never_holds(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.release("shp_1")

    allocation = await inventory.allocate("shp_1", ("SKU-1", 4))

    assert allocation.status == RELEASED
    assert (await inventory.stock()).held == 0


async def test_a_waiting_request_is_served_once_its_stock_is_there(inventory: Inventory) -> None:
    await inventory.move(3)
    assert (await inventory.allocate("shp_1", ("SKU-1", 5), ("NEW", 1))).status == WAITING
    await inventory.move(2, warehouse="B")
    assert "shp_1" not in await inventory.serveable()
    assert not await inventory.serve("shp_1")

    await inventory.move(1, sku="NEW")

    assert "shp_1" in await inventory.serveable()
    assert await inventory.serve("shp_1")
    assert not await inventory.serve("shp_1")
    assert (await inventory.stock()).held == 3


async def test_an_adjustment_below_what_is_held_sends_the_youngest_back(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(10), inventory.wish(5, sku="X"))
    await inventory.allocate("shp_old", ("SKU-1", 4))
    await inventory.allocate("shp_young", ("SKU-1", 5), ("X", 5))

    outcome = await inventory.move(-3, Reason.ADJUSTMENT)

    assert not isinstance(outcome.answer, Fault)
    assert outcome.answer.balance == 7
    assert (await inventory.allocate("shp_old", ("SKU-1", 4))).status == HELD
    assert (await inventory.allocate("shp_young", ("SKU-1", 5))).status == WAITING
    assert (await inventory.stock()).held == 4
    assert (await inventory.stock(sku="X")).held == 0


async def test_an_adjustment_never_takes_more_than_is_on_hand(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 5))

    refused = await inventory.move(-6, Reason.ADJUSTMENT)
    emptied = await inventory.move(-5, Reason.ADJUSTMENT)

    assert isinstance(refused.answer, Fault)
    assert refused.answer.facts == {"requested": 6, "available": 5}
    assert not isinstance(emptied.answer, Fault)
    assert (await inventory.stock()).held == 0


async def test_a_request_sent_back_after_a_partial_pick_waits_for_the_rest(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 5))
    await inventory.move(2, Reason.PICK, reference="shp_1")
    await inventory.move(-3, Reason.ADJUSTMENT)

    await inventory.move(3, warehouse="B")
    assert await inventory.serve("shp_1")

    allocation = await inventory.allocate("shp_1", ("SKU-1", 5))
    assert lines(allocation) == [("SKU-1", "B", 3), ("SKU-1", "SEA-1", 2)]


async def test_many_requests_at_once_never_hold_more_than_there_is(inventory: Inventory) -> None:
    await inventory.record(
        inventory.wish(7, warehouse="A"), inventory.wish(5, warehouse="B"), inventory.wish(9, sku="X")
    )
    await asyncio.gather(*(inventory.stock() for _ in range(10)))
    barrier = asyncio.Barrier(12)

    async def allocate(number: int) -> int:
        wanted = [("SKU-1", 2), ("X", 1)] if number % 2 else [("X", 1), ("SKU-1", 2)]
        await barrier.wait()
        return (await inventory.allocate(f"shp_{number}", *wanted)).status

    statuses = await asyncio.gather(*map(allocate, range(12)))

    assert statuses.count(HELD) == 6
    held = [(await inventory.stock(warehouse=w)).held for w in ("A", "B")]
    assert sum(held) == 12
