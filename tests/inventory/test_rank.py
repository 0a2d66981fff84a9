"""Who is served first of those that wait: the higher priority, of equals the older; and how long one may be passed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from services.inventory.domain import Reason
from services.inventory.requests import OVERTAKEN_FOR, Policy, StockRequest
from tests.inventory.conftest import Inventory
from tests.inventory.test_holds import HELD, WAITING, lines

SECOND = timedelta(seconds=1)


async def wake(inventory: Inventory) -> None:
    """What the waker does by itself, until there is nothing left to do."""
    while await inventory.waker.serve_waiting():
        pass


async def held(inventory: Inventory, *request_ids: str) -> set[str]:
    """Those of the requests that are held."""
    stands = [(name, await inventory.allocate(name, ("SKU-1", 1))) for name in request_ids]
    return {name for name, allocation in stands if allocation.status == HELD}


async def test_the_higher_priority_is_served_first_of_equals_the_older(inventory: Inventory) -> None:
    for name, priority in (("old", 1), ("low", 0), ("young", 1), ("high", 100)):
        await inventory.allocate(name, ("SKU-1", 2), priority=priority)

    served = []
    for _ in range(4):
        await inventory.move(2)
        served += await inventory.serveable()
        before = await held(inventory, "old", "low", "young", "high")
        await wake(inventory)
        served.append(next(iter(await held(inventory, "old", "low", "young", "high") - before)))

    assert [name for place, name in enumerate(served) if served.index(name) == place] == ["high", "old", "young", "low"]
    assert served[-1] == "low"


async def test_a_newcomer_of_higher_priority_passes_those_that_wait(inventory: Inventory) -> None:
    await inventory.allocate("shp_old", ("SKU-1", 2))
    await inventory.move(2)

    assert (await inventory.allocate("shp_equal", ("SKU-1", 2))).status == WAITING
    assert (await inventory.allocate("shp_high", ("SKU-1", 2), priority=1)).status == HELD
    await wake(inventory)
    assert await held(inventory, "shp_old", "shp_equal") == set()


async def test_of_newcomers_that_come_together_the_first_is_asked_first(inventory: Inventory) -> None:
    await inventory.move(3)

    told = await inventory.allocate_all(
        *(StockRequest(inventory.tenant_id, name, [("SKU-1", 2)], priority=n) for n, name in enumerate(("a", "b")))
    )

    assert [one.status for one in told] == [HELD, WAITING]  # type: ignore[union-attr]


@pytest.mark.parametrize("passes", ["waker", "newcomer"])
@pytest.mark.parametrize(("waited", "is_passed"), [(OVERTAKEN_FOR - SECOND, True), (OVERTAKEN_FOR + SECOND, False)])
async def test_who_has_waited_an_hour_is_passed_no_more(
    inventory: Inventory, passes: str, waited: timedelta, is_passed: bool
) -> None:
    await inventory.allocate("shp_large", ("SKU-1", 10))
    inventory.ahead = waited - SECOND / 2
    if passes == "waker":
        await inventory.allocate("shp_small", ("SKU-1", 4))
    await inventory.move(6)

    await inventory.allocate("shp_small", ("SKU-1", 4))
    await wake(inventory)

    assert bool(await held(inventory, "shp_small")) == is_passed
    await inventory.move(10)
    await wake(inventory)
    assert "shp_large" in await held(inventory, "shp_large")


async def test_what_one_misses_is_kept_and_nothing_beyond_that(inventory: Inventory) -> None:
    """Ten wanted; eight are there, and three more come: one unit is left over, and no more."""
    await inventory.allocate("shp_large", ("SKU-1", 10), ("X", 1))
    inventory.ahead = OVERTAKEN_FOR + SECOND
    await inventory.record(inventory.wish(8, warehouse="A"), inventory.wish(5, sku="Y"))

    assert (await inventory.allocate("shp_one", ("SKU-1", 1))).status == WAITING
    assert (await inventory.allocate("shp_other_sku", ("Y", 5))).status == HELD
    await inventory.move(3, warehouse="B")
    assert (await inventory.allocate("shp_two", ("SKU-1", 2))).status == WAITING
    await wake(inventory)
    assert await held(inventory, "shp_one", "shp_two", "shp_large") == {"shp_one"}

    await inventory.move(1, sku="X")
    await wake(inventory)
    assert await held(inventory, "shp_one", "shp_two", "shp_large") == {"shp_one", "shp_large"}


async def test_what_is_kept_is_less_by_what_it_holds_already(inventory: Inventory) -> None:
    await inventory.move(7)
    await inventory.allocate("shp_part", ("SKU-1", 10), policy=Policy.PARTIAL)
    inventory.ahead = OVERTAKEN_FOR + SECOND

    await inventory.move(5)
    assert (await inventory.allocate("shp_three", ("SKU-1", 3))).status == WAITING
    assert (await inventory.allocate("shp_two", ("SKU-1", 2))).status == WAITING  # shp_part is served by the waker
    await wake(inventory)
    assert await held(inventory, "shp_part", "shp_two", "shp_three") == {"shp_part", "shp_two"}


async def test_a_part_of_what_is_left_over_goes_to_who_takes_parts(inventory: Inventory) -> None:
    await inventory.allocate("shp_large", ("SKU-1", 10), ("X", 1))
    inventory.ahead = OVERTAKEN_FOR + SECOND
    await inventory.move(12)

    taken = await inventory.allocate("shp_part", ("SKU-1", 5), policy=Policy.PARTIAL)

    assert (taken.status, lines(taken)) == (WAITING, [("SKU-1", "SEA-1", 2)])


async def test_nobody_passes_one_that_could_be_served_because_another_before_it_could_not(inventory: Inventory) -> None:
    """In one pass: what the first takes, the second misses; the third has its stock, and comes before the fourth."""
    await inventory.allocate("shp_first", ("SKU-1", 3))
    await inventory.allocate("shp_second", ("SKU-1", 5))
    await inventory.allocate("shp_third", ("SKU-1", 2), ("X", 1))
    await inventory.allocate("shp_fourth", ("X", 1))
    await inventory.record(inventory.wish(5), inventory.wish(1, sku="X"))

    await wake(inventory)

    names = ("shp_first", "shp_second", "shp_third", "shp_fourth")
    assert await held(inventory, *names) == {"shp_first", "shp_third"}


async def test_a_higher_priority_passes_however_long_the_other_has_waited(inventory: Inventory) -> None:
    await inventory.allocate("shp_large", ("SKU-1", 10))
    inventory.ahead = 9 * OVERTAKEN_FOR
    await inventory.move(6)

    assert (await inventory.allocate("shp_high", ("SKU-1", 6), priority=1)).status == HELD


async def test_two_that_have_waited_long_keep_for_both_in_their_order(inventory: Inventory) -> None:
    await inventory.allocate("shp_a", ("SKU-1", 5), ("X", 1))
    await inventory.allocate("shp_b", ("SKU-1", 5), ("Y", 1))
    inventory.ahead = OVERTAKEN_FOR + SECOND
    await inventory.record(inventory.wish(9), inventory.wish(1, sku="Y"))

    await wake(inventory)
    assert await held(inventory, "shp_b") == set()  # four are left over for it
    await inventory.move(1)
    await wake(inventory)
    assert await held(inventory, "shp_b") == {"shp_b"}
    assert (await inventory.allocate("shp_new", ("SKU-1", 1))).status == WAITING
    await inventory.release("shp_a")
    await wake(inventory)
    assert await held(inventory, "shp_new") == {"shp_new"}


@pytest.mark.parametrize("how", ["receipt", "release", "adjustment", "transfer", "expiry"])
async def test_whatever_frees_stock_serves_those_that_wait(inventory: Inventory, how: str) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_holder", ("SKU-1", 5), expires_at=inventory.clock() + timedelta(minutes=1))
    await inventory.allocate("shp_waiting", ("SKU-1", 5))
    assert await inventory.serveable() == []

    match how:
        case "receipt":
            await inventory.move(5, warehouse="B")
        case "release":
            await inventory.release("shp_holder")
        case "adjustment":
            await inventory.move(5, Reason.ADJUSTMENT)
        case "transfer":  # into a warehouse that gives, from one that does not
            await inventory.put_warehouse("OFF", active=False)
            await inventory.move(5, warehouse="OFF")
            assert await inventory.serveable() == []
            await inventory.record(
                inventory.wish(-5, Reason.TRANSFER, warehouse="OFF"), inventory.wish(5, Reason.TRANSFER)
            )
        case "expiry":
            inventory.ahead = timedelta(minutes=2)
    await wake(inventory)

    assert await held(inventory, "shp_waiting") == {"shp_waiting"}


async def test_what_an_ended_request_seems_to_miss_is_waited_for_by_nobody(inventory: Inventory) -> None:
    """A process of an older version ends a request and knows nothing of what its lines miss."""
    await inventory.allocate("shp_ended", ("SKU-1", 5), priority=1)
    inventory.ahead = OVERTAKEN_FOR + SECOND
    async with inventory.database.transaction() as tx:
        ended = "UPDATE allocation SET status = 3 WHERE tenant_id = :tenant AND request_id = 'shp_ended'"
        await tx.execute(text(ended), {"tenant": inventory.tenant_id})

    await inventory.move(5)
    assert [level.waiting for level in await inventory.levels()] == [0]
    assert await inventory.serveable() == []
    assert await inventory.serve("shp_ended") == 0
    assert (await inventory.allocate("shp_new", ("SKU-1", 5))).status == HELD
