"""Requests that hold at once what there is, and wait for the rest."""

from __future__ import annotations

import pytest

from chassis.errors import Fault
from services.inventory.domain import Reason
from services.inventory.requests import Policy
from tests.inventory.conftest import Inventory
from tests.inventory.test_holds import CONSUMED, HELD, RELEASED, WAITING, lines

PARTIAL = Policy.PARTIAL


async def waiting_units(inventory: Inventory, sku: str = "SKU-1") -> int:
    levels = await inventory.levels(sku)
    return levels[0].waiting


async def test_what_is_there_is_held_at_once_and_the_rest_waited_for(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(3, warehouse="A"), inventory.wish(1, sku="X", warehouse="B"))

    held = await inventory.allocate("shp_1", ("SKU-1", 5), ("X", 1), ("NEW", 1), policy=PARTIAL)

    assert held.status == WAITING
    assert lines(held) == [("SKU-1", "A", 3), ("X", "B", 1)]
    assert await waiting_units(inventory) == 2
    assert await waiting_units(inventory, "X") == 0


async def test_all_of_it_at_once_is_held(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(3, warehouse="A"), inventory.wish(3, warehouse="B"))

    held = await inventory.allocate("shp_1", ("SKU-1", 2), ("SKU-1", 3), policy=PARTIAL)

    assert held.status == HELD
    assert lines(held) == [("SKU-1", "A", 3), ("SKU-1", "B", 2)]


async def test_nothing_at_all_waits_for_all(inventory: Inventory) -> None:
    waits = await inventory.allocate("shp_1", ("SKU-1", 5), policy=PARTIAL)

    assert (waits.status, lines(waits)) == (WAITING, [])
    await inventory.move(1)
    assert await waiting_units(inventory) == 5


async def test_each_arrival_is_taken_until_it_has_all(inventory: Inventory) -> None:
    versions = [(await inventory.allocate("shp_1", ("SKU-1", 5), ("X", 2), policy=PARTIAL)).version]
    for sku, units, warehouse in (("SKU-1", 2, "A"), ("X", 1, "A"), ("SKU-1", 2, "B"), ("X", 4, "B")):
        await inventory.move(units, sku=sku, warehouse=warehouse)
        assert await inventory.serve("shp_1")
        assert not await inventory.serve("shp_1")
        stands = await inventory.allocate("shp_1", ("SKU-1", 5))
        assert stands.status == WAITING
        versions.append(stands.version)
    await inventory.move(9, warehouse="C")
    assert await inventory.serve("shp_1")

    stands = await inventory.allocate("shp_1", ("SKU-1", 5))

    assert stands.status == HELD
    assert lines(stands) == [
        ("SKU-1", "A", 2), ("SKU-1", "B", 2), ("SKU-1", "C", 1), ("X", "A", 1), ("X", "B", 1),
    ]  # fmt: skip
    assert versions == sorted(set(versions))
    assert (await inventory.stock(warehouse="C")).held == 1
    assert await inventory.serveable() == []


async def test_what_it_holds_nobody_else_gets(inventory: Inventory) -> None:
    await inventory.move(3)
    await inventory.allocate("shp_1", ("SKU-1", 5), policy=PARTIAL)

    assert (await inventory.allocate("shp_2", ("SKU-1", 1))).status == WAITING
    assert isinstance((await inventory.move(1, Reason.PICK)).answer, Fault)


async def test_what_it_holds_can_be_picked_while_it_waits_and_it_ends_with_the_last_unit(inventory: Inventory) -> None:
    await inventory.move(3)
    await inventory.allocate("shp_1", ("SKU-1", 5), policy=PARTIAL)

    await inventory.move(3, Reason.PICK, reference="shp_1")
    picked = await inventory.allocate("shp_1", ("SKU-1", 5))
    await inventory.move(2)
    await inventory.serve("shp_1")
    await inventory.move(2, Reason.PICK, reference="shp_1")

    assert (picked.status, lines(picked)) == (WAITING, [("SKU-1", "SEA-1", 3)])
    assert (await inventory.allocate("shp_1", ("SKU-1", 5))).status == CONSUMED


async def test_a_release_gives_back_what_it_holds_and_ends_its_waiting(inventory: Inventory) -> None:
    await inventory.move(3)
    await inventory.allocate("shp_1", ("SKU-1", 5), policy=PARTIAL)

    released = await inventory.release("shp_1")
    await inventory.move(9)

    assert (released.status, lines(released)) == (RELEASED, [])
    assert (await inventory.stock()).held == 0
    assert await waiting_units(inventory) == 0
    assert await inventory.serveable() == []


@pytest.mark.parametrize("after", [2, 0])
async def test_a_shortfall_takes_from_one_that_still_waits_too(inventory: Inventory, after: int) -> None:
    await inventory.record(inventory.wish(3), inventory.wish(2, sku="X"))
    before = await inventory.allocate("shp_1", ("SKU-1", 5), ("X", 2), policy=PARTIAL)

    outcome = await inventory.move(after - 3, Reason.ADJUSTMENT)

    assert not isinstance(outcome.answer, Fault)
    stands = await inventory.allocate("shp_1", ("SKU-1", 5))
    assert (stands.status, lines(stands)) == (WAITING, [])
    assert stands.version > before.version
    assert ((await inventory.stock()).held, (await inventory.stock("X")).held) == (0, 0)
    await inventory.move(1)
    assert await waiting_units(inventory) == 5
    assert await inventory.serve("shp_1")
    assert (await inventory.stock()).held == after + 1


async def test_several_share_what_comes_by_rank(inventory: Inventory) -> None:
    await inventory.allocate("shp_old", ("SKU-1", 3), policy=PARTIAL)
    await inventory.allocate("shp_young", ("SKU-1", 3), policy=PARTIAL)
    await inventory.allocate("shp_first", ("SKU-1", 3), policy=PARTIAL, priority=1)
    await inventory.move(5)

    assert await inventory.serveable() == ["shp_first", "shp_old", "shp_young"]
    assert await inventory.serve("shp_young", "shp_old", "shp_first") == 2

    held = {name: lines(await inventory.allocate(name, ("SKU-1", 3))) for name in ("shp_first", "shp_old", "shp_young")}
    assert held == {"shp_first": [("SKU-1", "SEA-1", 3)], "shp_old": [("SKU-1", "SEA-1", 2)], "shp_young": []}
