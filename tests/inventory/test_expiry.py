"""What has expired is free from its instant on, for whoever needs it, with nobody sweeping; and never earlier."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from chassis.errors import Fault
from services.inventory import trail
from services.inventory.domain import Reason
from services.inventory.requests import Policy
from skutrail.v1 import inventory_pb2
from tests.inventory.conftest import Inventory
from tests.inventory.test_holds import CONSUMED, HELD, RELEASED, WAITING, lines

EXPIRED = inventory_pb2.ALLOCATION_STATUS_EXPIRED
DISPATCHED = inventory_pb2.ALLOCATION_STATUS_DISPATCHED
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)


class At(Inventory):
    """An inventory whose clock stands still."""

    now: datetime

    def clock(self) -> datetime:
        return self.now


@pytest.fixture
async def at(inventory: Inventory) -> At:
    """Five units, all held for shp_1 for an hour; `now` is the instant at which that ends."""
    at = At(inventory.database, inventory.tenant_id)
    at.now = inventory.clock()
    await at.move(5)
    assert (await at.allocate("shp_1", ("SKU-1", 5), expires_at=at.now + HOUR)).status == HELD
    at.now += HOUR
    return at


async def facts(inventory: Inventory) -> list[tuple[int, int]]:
    rows = await inventory.ask("SELECT fact, units FROM hold_fact WHERE tenant_id = :tenant ORDER BY id")
    return [tuple(row) for row in rows]


async def picks_it_itself(at: At) -> bool:
    return not isinstance((await at.move(5, Reason.PICK, reference="shp_1")).answer, Fault)


async def a_stranger_picks_it(at: At) -> bool:
    return not isinstance((await at.move(1, Reason.PICK)).answer, Fault)


async def allocates_it(at: At) -> bool:
    return (await at.allocate("shp_2", ("SKU-1", 1))).status == HELD


async def moves_it_elsewhere(at: At) -> bool:
    outcomes = await at.record(at.wish(-5, Reason.TRANSFER), at.wish(5, Reason.TRANSFER, warehouse="B"))
    return not isinstance(outcomes[0].answer, Fault)


async def plans_with_it(at: At) -> bool:
    return (await at.plan(("SKU-1", 5))).status == HELD


async def sees_it_free(at: At) -> bool:
    [level] = await at.levels()
    return level.held == 0


async def who_waits_could_be_served(at: At) -> bool:
    at.now -= HOUR
    assert (await at.allocate("shp_waiting", ("SKU-1", 5))).status == WAITING
    at.now += HOUR
    return await at.serveable() == ["shp_waiting"]


async def is_swept(at: At) -> bool:
    while await at.expire_due():
        pass
    return (await at.stock()).held == 0


USES = [
    a_stranger_picks_it, allocates_it, moves_it_elsewhere, plans_with_it, sees_it_free, who_waits_could_be_served,
    is_swept,
]  # fmt: skip


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
async def test_from_its_instant_on_it_is_free(at: At, use: Callable[[At], object]) -> None:
    assert await use(at)  # type: ignore[misc]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
async def test_a_moment_before_it_is_not(at: At, use: Callable[[At], object]) -> None:
    at.now -= TICK
    assert not await use(at)  # type: ignore[misc]
    assert lines(await at.allocate("shp_1", ("SKU-1", 5))) == [("SKU-1", "SEA-1", 5)]


async def test_its_own_pick_uses_the_hold_until_its_instant_and_free_stock_from_then_on(at: At) -> None:
    at.now -= TICK
    assert not isinstance((await at.move(2, Reason.PICK, reference="shp_1")).answer, Fault)
    at.now += TICK
    assert await facts(at) == [(1, 5), (2, 2)]

    assert not isinstance((await at.move(2, Reason.PICK, reference="shp_1")).answer, Fault)

    assert await facts(at) == [(1, 5), (2, 2), (4, 3)]
    stands = await at.allocate("shp_1", ("SKU-1", 5))
    assert (stands.status, lines(stands)) == (EXPIRED, [("SKU-1", "SEA-1", 2)])
    stock = await at.stock()
    assert (stock.on_hand, stock.held) == (1, 0)


async def test_its_own_pick_gets_nothing_of_what_others_hold_by_then(at: At) -> None:
    assert (await at.allocate("shp_2", ("SKU-1", 5))).status == HELD

    assert not await picks_it_itself(at)
    assert (await at.stock()).held == 5


async def test_an_adjustment_takes_what_has_expired_before_it_sends_anybody_back(at: At) -> None:
    at.now -= HOUR
    await at.move(4)
    await at.allocate("shp_young", ("SKU-1", 4))
    at.now += HOUR

    assert not isinstance((await at.move(-5, Reason.ADJUSTMENT)).answer, Fault)

    assert (await at.allocate("shp_young", ("SKU-1", 4))).status == HELD
    assert (await at.allocate("shp_1", ("SKU-1", 5))).status == EXPIRED
    assert await at.events("inventory.shortfall") == []


async def test_one_that_waits_expires_too_and_is_waited_for_no_more(inventory: Inventory) -> None:
    await inventory.move(2)
    ends = inventory.clock() + HOUR
    await inventory.allocate("shp_none", ("X", 5), expires_at=ends)
    await inventory.allocate("shp_part", ("SKU-1", 5), expires_at=ends, policy=Policy.PARTIAL)
    assert [level.waiting for level in await inventory.levels()] == [3]

    inventory.ahead = HOUR
    assert [(level.held, level.waiting) for level in await inventory.levels()] == [(0, 0)]
    await inventory.record(inventory.wish(9), inventory.wish(9, sku="X"))
    assert await inventory.serveable() == []
    assert not await inventory.serve("shp_none", "shp_part")
    assert (await inventory.allocate("shp_new", ("SKU-1", 11), ("X", 9))).status == HELD
    while await inventory.expire_due():
        pass
    assert (await inventory.allocate("shp_none", ("X", 5))).status == EXPIRED
    assert (await inventory.allocate("shp_part", ("SKU-1", 5))).status == EXPIRED


@pytest.mark.parametrize("sweeps", [1, 3])
async def test_it_is_told_once(at: At, sweeps: int) -> None:
    for _ in range(sweeps):
        await is_swept(at)
        await at.allocate("shp_1", ("SKU-1", 5))
        await a_stranger_picks_it(at)

    [told] = [event.allocation for event in await at.events("allocation.changed")]
    assert (told.request_id, told.status, told.version, lines(told)) == ("shp_1", EXPIRED, 2, [])
    assert await facts(at) == [(1, 5), (4, 5)]


async def test_what_was_picked_whole_or_has_left_expires_no_more(inventory: Inventory) -> None:
    await inventory.move(4)
    for name in ("shp_picked", "shp_left"):
        await inventory.allocate(name, ("SKU-1", 2), expires_at=inventory.clock() + HOUR)
    await inventory.move(2, Reason.PICK, reference="shp_picked")
    await inventory.dispatch("shp_left")
    inventory.ahead = 2 * HOUR

    while await inventory.expire_due():
        pass

    assert (await inventory.allocate("shp_picked", ("SKU-1", 2))).status == CONSUMED
    assert (await inventory.allocate("shp_left", ("SKU-1", 2))).status == DISPATCHED
    assert (await inventory.dispatch("shp_picked")).status == DISPATCHED


async def test_whoever_asks_of_one_whose_time_is_over_is_told_so(at: At) -> None:
    assert (await at.explain("shp_1")).status == EXPIRED
    assert (await at.explain("shp_1")).held == []
    assert (await at.release("shp_1")).status == EXPIRED
    assert (await at.dispatch("shp_1")).status == EXPIRED
    assert (await at.release("shp_1")).status == EXPIRED
    assert (await at.stock()).held == 0


async def test_a_moment_before_it_is_released_as_any_other(at: At) -> None:
    at.now -= TICK
    assert (await at.release("shp_1")).status == RELEASED
    at.now += TICK
    assert (await at.allocate("shp_1", ("SKU-1", 5))).status == RELEASED


async def test_levels_of_a_page_leave_out_what_has_expired_of_each(at: At) -> None:
    at.now -= HOUR
    await at.record(at.wish(3, warehouse="B"), at.wish(3, sku="A"))
    await at.allocate("shp_2", ("SKU-1", 3), ("A", 2), expires_at=at.now + 2 * HOUR)
    at.now += HOUR

    levels = await at.database.run(
        lambda tx: trail.list_levels(tx, at.tenant_id, sku=None, warehouse=None, after=None, limit=9, now=at.now)
    )

    assert [(level.sku, level.warehouse, level.on_hand, level.held) for level in levels] == [
        ("A", "SEA-1", 3, 2),
        ("SKU-1", "B", 3, 3),
        ("SKU-1", "SEA-1", 5, 0),
    ]
