"""The goods leave: what is held becomes picks, once, and the request ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from chassis.errors import Fault
from services.inventory import chain
from services.inventory.chain import Whole
from services.inventory.domain import QTY_MAX, Reason
from services.inventory.requests import Policy
from skutrail.v1 import inventory_pb2
from tests.inventory.conftest import Inventory
from tests.inventory.test_holds import CONSUMED, HELD, RELEASED, WAITING, lines
from tests.inventory.test_tampering import look

DISPATCHED = inventory_pb2.ALLOCATION_STATUS_DISPATCHED
EXPIRED = inventory_pb2.ALLOCATION_STATUS_EXPIRED


async def picks(inventory: Inventory, reference: str = "shp_1") -> list[tuple[str, str, int]]:
    rows = await inventory.ask(
        f"SELECT sku, warehouse, qty FROM ledger_entry WHERE tenant_id = :tenant AND reason = {int(Reason.PICK)}"
        f" AND reference = '{reference}' ORDER BY sku, warehouse, seq"
    )
    return [tuple(row) for row in rows]


async def assert_whole(inventory: Inventory) -> None:
    report = await look(inventory)
    assert report.is_whole, list(report.findings())
    for level in await inventory.levels():
        key = inventory.key(level.sku, level.warehouse)
        stretch = await inventory.database.run(lambda tx, key=key: chain.verify_stretch(tx, key, Whole()))  # type: ignore[misc]
        assert (stretch.first_broken_seq, stretch.is_end) == (None, True)


async def test_all_that_is_held_is_picked_with_the_requests_id_as_reference(inventory: Inventory) -> None:
    await inventory.record(
        inventory.wish(3, warehouse="A"), inventory.wish(4, warehouse="B"), inventory.wish(2, sku="X")
    )
    await inventory.allocate("shp_1", ("SKU-1", 5), ("X", 1))

    left = await inventory.dispatch("shp_1")

    assert (left.status, left.version) == (DISPATCHED, 3)  # all picked, then left
    assert lines(left) == [("SKU-1", "A", 1), ("SKU-1", "B", 4), ("X", "SEA-1", 1)]
    assert sorted(await picks(inventory)) == [("SKU-1", "A", -1), ("SKU-1", "B", -4), ("X", "SEA-1", -1)]
    assert [(level.on_hand, level.held) for level in await inventory.levels()] == [(2, 0), (0, 0), (1, 0)]
    assert [event.entry.reference for event in await inventory.events("inventory.updated")][-3:] == ["shp_1"] * 3
    [told] = [event.allocation for event in await inventory.events("allocation.changed")]
    assert told == left
    await assert_whole(inventory)


async def test_dispatched_again_it_is_told_the_same_and_nothing_moves(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 2))

    first, second = await inventory.dispatch("shp_1"), await inventory.dispatch("shp_1")

    assert first == second
    assert await picks(inventory) == [("SKU-1", "SEA-1", -2)]
    assert len(await inventory.events("allocation.changed")) == 1


async def test_what_was_picked_before_is_not_picked_again(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(5), inventory.wish(5, sku="X"))
    await inventory.allocate("shp_1", ("SKU-1", 3), ("X", 2))
    await inventory.move(2, Reason.PICK, reference="shp_1")
    await inventory.move(2, Reason.PICK, sku="X", reference="shp_1")

    left = await inventory.dispatch("shp_1")

    assert (left.status, lines(left)) == (DISPATCHED, [("SKU-1", "SEA-1", 3), ("X", "SEA-1", 2)])
    assert await picks(inventory) == [("SKU-1", "SEA-1", -2), ("SKU-1", "SEA-1", -1), ("X", "SEA-1", -2)]
    await assert_whole(inventory)


async def test_what_was_picked_whole_leaves_without_a_pick(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 3))
    await inventory.move(3, Reason.PICK, reference="shp_1")
    assert (await inventory.allocate("shp_1", ("SKU-1", 3))).status == CONSUMED

    assert (await inventory.dispatch("shp_1")).status == DISPATCHED
    assert await picks(inventory) == [("SKU-1", "SEA-1", -3)]


@pytest.mark.parametrize("policy", list(Policy))
async def test_who_waits_does_not_leave(inventory: Inventory, policy: Policy) -> None:
    await inventory.move(2)
    waits = await inventory.allocate("shp_1", ("SKU-1", 5), policy=policy)

    assert await inventory.dispatch("shp_1") == waits
    assert waits.status == WAITING
    assert await picks(inventory) == []


async def test_after_a_release_nothing_leaves_and_after_it_left_nothing_is_released(inventory: Inventory) -> None:
    await inventory.move(5)
    for name in ("shp_1", "shp_2"):
        await inventory.allocate(name, ("SKU-1", 2))

    assert (await inventory.release("shp_1")).status == RELEASED
    assert (await inventory.dispatch("shp_1")).status == RELEASED
    left = await inventory.dispatch("shp_2")
    assert await inventory.release("shp_2") == left
    assert (await inventory.stock()).on_hand == 3
    assert await picks(inventory) == []


async def test_what_was_never_heard_of_is_not_found(inventory: Inventory) -> None:
    with pytest.raises(Fault) as unknown:
        await inventory.dispatch("shp_1")
    assert unknown.value.code == "not_found"


async def test_after_a_shortfall_it_waits_and_leaves_when_it_is_held_again(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 5))
    await inventory.move(2, Reason.PICK, reference="shp_1")
    await inventory.move(-1, Reason.ADJUSTMENT)

    assert (await inventory.dispatch("shp_1")).status == WAITING
    await inventory.move(1, warehouse="B")
    assert await inventory.serve("shp_1")
    left = await inventory.dispatch("shp_1")

    assert (left.status, lines(left)) == (DISPATCHED, [("SKU-1", "B", 1), ("SKU-1", "SEA-1", 4)])
    assert sum(units for _, _, units in await picks(inventory)) == -5
    await assert_whole(inventory)


async def test_more_than_a_movement_may_carry_leaves_in_several_picks(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(QTY_MAX), inventory.wish(QTY_MAX))
    held = await inventory.allocate("shp_1", ("SKU-1", QTY_MAX), ("SKU-1", QTY_MAX - 1))
    assert (held.status, lines(held)) == (HELD, [("SKU-1", "SEA-1", 2 * QTY_MAX - 1)])

    assert (await inventory.dispatch("shp_1")).status == DISPATCHED

    assert await picks(inventory) == [("SKU-1", "SEA-1", -QTY_MAX), ("SKU-1", "SEA-1", 1 - QTY_MAX)]
    assert (await inventory.stock()).on_hand == 1
    await assert_whole(inventory)


class Running(Inventory):
    """An inventory whose clock goes on by a second whenever somebody looks."""

    now: datetime

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.mark.parametrize("looks", range(1, 9))
async def test_a_time_that_ends_meanwhile_ends_all_of_it_or_nothing(inventory: Inventory, looks: int) -> None:
    await inventory.move(5)
    running = Running(inventory.database, inventory.tenant_id)
    running.now = inventory.clock()
    ends = running.now + timedelta(hours=1)
    await running.allocate("shp_1", ("SKU-1", 5), expires_at=ends)
    running.now = ends - timedelta(seconds=looks)

    left = await running.dispatch("shp_1")

    if left.status == DISPATCHED:
        assert lines(left) == [("SKU-1", "SEA-1", 5)]
        assert await picks(inventory) == [("SKU-1", "SEA-1", -5)]
    else:
        assert (left.status, lines(left), await picks(inventory)) == (EXPIRED, [], [])
    await assert_whole(inventory)
