"""What a plan says before, and an explanation after: both are the decision that is made, told of and never another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from random import Random

import pytest

from chassis import wire
from chassis.errors import Fault
from chassis.ids import new_id
from gateway import openapi_words
from services.inventory import events
from services.inventory.allocating import EXPLAINED_LOOK_UPS_MAX, EXPLAINED_MAX, EXPLAINED_SKUS_MAX
from services.inventory.domain import Reason
from services.inventory.requests import OVERTAKEN_FOR, AllocationStatus, Policy, StockRequest
from services.inventory.sourcing import Coordinates
from skutrail.v1 import inventory_pb2
from tests.inventory.conftest import Inventory
from tests.inventory.test_holds import HELD, WAITING, lines

EXPIRED = inventory_pb2.ALLOCATION_STATUS_EXPIRED
SEATTLE, NEWARK = Coordinates(47.6062, -122.3321), Coordinates(40.7357, -74.1724)
STATES = 30


def rules(plan: inventory_pb2.AllocationPlan) -> list[tuple[str, bool, str]]:
    prefix = len("SOURCING_RULE_")
    return [(c.warehouse, c.chosen, inventory_pb2.SourcingRule.Name(c.rule)[prefix:]) for c in plan.candidates]


def held(told: inventory_pb2.AllocationPlan | inventory_pb2.Allocation) -> list[tuple[str, str, int]]:
    return [(line.sku, line.warehouse, line.qty) for line in told.held]


async def test_a_plan_tells_what_would_be_held_and_changes_nothing(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(3, warehouse="A"), inventory.wish(5, warehouse="B"))

    plan = await inventory.plan(("SKU-1", 4))

    assert (plan.status, held(plan), list(plan.missing)) == (HELD, [("SKU-1", "B", 4)], [])
    assert rules(plan) == [("B", True, "ONLY_CHOICE"), ("A", False, "FEWEST_WAREHOUSES")]
    assert [(s.sku, s.available, s.taken) for c in plan.candidates for s in c.stock] == [
        ("SKU-1", 5, 4),
        ("SKU-1", 3, 0),
    ]
    assert [level.held for level in await inventory.levels()] == [0, 0]
    with pytest.raises(Fault, match="no such request"):
        await inventory.explain("shp_new")


async def test_a_plan_for_what_is_not_valid_names_what_is_wrong(inventory: Inventory) -> None:
    with pytest.raises(Fault) as refused:
        await inventory.plan(("SKU-1", 0), ("", 1), priority=101, destination=Coordinates(91, float("nan")))

    assert [field.pointer for field in refused.value.fields] == [
        "/lines/0/qty", "/lines/1/sku", "/priority", "/destination",
    ]  # fmt: skip


async def test_every_rule_is_told_where_it_decides(inventory: Inventory) -> None:
    await inventory.put_warehouse("FAR", priority=5, coordinates=NEWARK)
    await inventory.put_warehouse("NEAR", priority=5, coordinates=SEATTLE)
    await inventory.put_warehouse("NEAR-FULL", priority=5, coordinates=SEATTLE)
    await inventory.put_warehouse("NEAR-TOO", priority=5, coordinates=SEATTLE)
    await inventory.put_warehouse("OFF", priority=9, active=False)
    for warehouse, units in (
        ("FAR", 9), ("NEAR", 5), ("NEAR-FULL", 7), ("NEAR-TOO", 7), ("OFF", 9), ("SMALL", 1), ("UNKNOWN", 9),
    ):  # fmt: skip
        await inventory.move(units, warehouse=warehouse)
    await inventory.record(inventory.wish(1, warehouse="GONE"), inventory.wish(1, Reason.PICK, warehouse="GONE"))

    plan = await inventory.plan(("SKU-1", 5), destination=SEATTLE)

    assert rules(plan) == [
        ("NEAR-FULL", True, "NAME"),
        ("NEAR-TOO", False, "NAME"),
        ("NEAR", False, "MOST_STOCK"),
        ("FAR", False, "NEARNESS"),
        ("UNKNOWN", False, "PRIORITY"),
        ("SMALL", False, "FEWEST_WAREHOUSES"),
        ("GONE", False, "NO_STOCK"),
        ("OFF", False, "INACTIVE"),
    ]
    distances = {c.warehouse: c.distance_km for c in plan.candidates if c.HasField("distance_km")}
    assert {name: round(km) for name, km in distances.items()} == {
        "NEAR": 0, "NEAR-FULL": 0, "NEAR-TOO": 0, "FAR": 3852,
    }  # fmt: skip
    assert {c.warehouse: c.priority for c in plan.candidates}["OFF"] == 9


async def test_where_stock_is_short_every_warehouse_is_told_to_be(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(1, warehouse="A"), inventory.wish(1, warehouse="B"))

    plan = await inventory.plan(("SKU-1", 3), ("X", 1))
    await inventory.allocate("shp_1", ("SKU-1", 3), ("X", 1))
    explained = await inventory.explain("shp_1")

    for told in (plan, explained):
        assert (told.status, held(told)) == (WAITING, [])
        assert [(line.sku, line.qty) for line in told.missing] == [("SKU-1", 3), ("X", 1)]
        assert rules(told) == [("A", False, "SHORT"), ("B", False, "SHORT")]


async def test_a_hundred_warehouses_are_told_and_what_is_taken_from_all(inventory: Inventory) -> None:
    await inventory.record(*(inventory.wish(1, warehouse=f"W-{number:03}") for number in range(130)))

    plan = await inventory.plan(("SKU-1", 120))

    assert [candidate.chosen for candidate in plan.candidates] == [True] * events.CANDIDATES_MAX
    assert len(held(plan)) == 120
    assert f"at most {events.CANDIDATES_MAX}," in openapi_words.FIELDS["candidates"]


async def test_of_many_skus_fewer_warehouses_are_told_but_those_that_were_chosen(inventory: Inventory) -> None:
    """A hundred SKUs, one in each of thirty warehouses and seventy in one; thirty more could have given the last."""
    skus = [f"SKU-{number:03}" for number in range(100)]
    chosen = [("LARGE", sku) for sku in skus[30:]] + [(f"W-{number:02}", sku) for number, sku in enumerate(skus[:30])]
    others = [(f"X-{number:02}", skus[-1]) for number in range(30)]
    await inventory.record(*(inventory.wish(1, sku=sku, warehouse=place) for place, sku in chosen + others))

    plan = await inventory.plan(*((sku, 1) for sku in skus))

    assert [candidate.chosen for candidate in plan.candidates] == [True] * 31
    assert {line.warehouse for line in plan.held} == {place for place, _ in chosen}


async def test_an_explanation_follows_the_request_and_keeps_the_decision(inventory: Inventory) -> None:
    await inventory.move(2, warehouse="A")
    await inventory.allocate("shp_1", ("SKU-1", 3), policy=Policy.PARTIAL)
    first = await inventory.explain("shp_1")
    await inventory.move(4, warehouse="B")
    await inventory.serve("shp_1")
    second = await inventory.explain("shp_1")
    await inventory.move(9, warehouse="C")
    await inventory.move(2, Reason.PICK, warehouse="A", reference="shp_1")

    assert (first.status, held(first), rules(first)) == (WAITING, [("SKU-1", "A", 2)], [("A", True, "ONLY_CHOICE")])
    assert held(second) == [("SKU-1", "A", 2), ("SKU-1", "B", 1)]
    assert rules(second) == [("B", True, "ONLY_CHOICE"), ("A", False, "NO_STOCK")]
    assert await inventory.explain("shp_1") == second
    released = await inventory.release("shp_1")
    assert (await inventory.explain("shp_1")).status == released.status
    with pytest.raises(Fault):
        await Inventory(inventory.database, "tenant_of_another").explain("shp_1")


async def test_after_a_shortfall_the_explanation_is_why_it_waits(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(3, warehouse="A"), inventory.wish(2, warehouse="B"))
    await inventory.record(inventory.wish(1, sku="X", warehouse="A"))
    await inventory.allocate("shp_old", ("X", 1))
    await inventory.allocate("shp_1", ("SKU-1", 3))
    inventory.ahead = timedelta(minutes=1)

    await inventory.move(-2, Reason.ADJUSTMENT, warehouse="A")
    told = await inventory.explain("shp_1")

    assert (told.status, held(told)) == (WAITING, [])
    assert [(line.sku, line.qty) for line in told.missing] == [("SKU-1", 3)]
    assert [(c.warehouse, c.chosen, [(s.available, s.taken) for s in c.stock]) for c in told.candidates] == [
        ("B", False, [(2, 0)]),
        ("A", False, [(1, 0)]),
    ]
    assert wire.moment(told.decided_at) > inventory.clock() - timedelta(seconds=30)
    assert (await inventory.explain("shp_old")).status == HELD


async def test_after_a_shortfall_of_what_was_picked_in_part_only_the_rest_is_explained(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(2, warehouse="A"), inventory.wish(4, sku="X", warehouse="B"))
    await inventory.allocate("shp_1", ("SKU-1", 2), ("X", 3), policy=Policy.PARTIAL)
    await inventory.move(2, Reason.PICK, warehouse="A", reference="shp_1")

    await inventory.move(-4, Reason.ADJUSTMENT, sku="X", warehouse="B")
    told = await inventory.explain("shp_1")

    assert (told.status, held(told)) == (WAITING, [("SKU-1", "A", 2)])
    assert rules(told) == [("B", False, "NO_STOCK")]
    assert [(s.sku, s.available, s.taken) for c in told.candidates for s in c.stock] == [("X", 0, 0)]


async def test_of_many_that_a_shortfall_sends_back_the_others_are_undecided(inventory: Inventory) -> None:
    """Stock is locked while it is told why they wait."""
    await inventory.move(EXPLAINED_MAX + 2)
    losers = [f"shp_{number:02}" for number in range(EXPLAINED_MAX + 2)]
    await inventory.allocate_all(*(StockRequest(inventory.tenant_id, loser, [("SKU-1", 1)]) for loser in losers))
    await inventory.move(1, warehouse="B")

    await inventory.move(-len(losers), Reason.ADJUSTMENT)
    told = [await inventory.explain(loser) for loser in reversed(losers)]

    assert {(one.status, *held(one), *((line.sku, line.qty) for line in one.missing)) for one in told} == {
        (WAITING, ("SKU-1", 1))
    }
    assert [rules(one) for one in told] == [[("B", False, "SHORT"), ("SEA-1", False, "NO_STOCK")]] * EXPLAINED_MAX + [
        [],
        [],
    ]
    assert [one.HasField("decided_at") for one in told] == [True] * EXPLAINED_MAX + [False, False]

    await inventory.serve(losers[0])
    assert rules(await inventory.explain(losers[0])) == [("B", True, "ONLY_CHOICE"), ("SEA-1", False, "NO_STOCK")]


async def explained(inventory: Inventory, *shipments: Sequence[str], warehouses: int) -> list[bool]:
    """Whether it was decided anew of each, of the youngest first, when a shortfall took what they had in common."""
    await inventory.move(len(shipments), sku="COMMON")
    for number, skus in enumerate(shipments):
        wanted = [("COMMON", 1), *((sku, 1) for sku in skus)]
        place = Coordinates(number, 0)
        await inventory.allocate(f"shp_{number}", *wanted, policy=Policy.PARTIAL, destination=place)
    await inventory.record(*(inventory.wish(1, sku="X-0", warehouse=f"W-{n}") for n in range(warehouses)))

    await inventory.move(-len(shipments), Reason.ADJUSTMENT, sku="COMMON")
    told = [await inventory.explain(f"shp_{number}") for number in reversed(range(len(shipments)))]

    assert {one.status for one in told} == {WAITING}
    return [one.HasField("decided_at") for one in told]


async def test_after_a_shortfall_so_many_are_decided_as_their_skus_allow(inventory: Inventory) -> None:
    many = EXPLAINED_SKUS_MAX - 1
    own = [[f"{letter}-{number}" for number in range(many)] for letter in "XYX"]

    assert await explained(inventory, own[0], warehouses=0) == [True]
    assert await explained(Inventory(inventory.database, new_id("tenant")), *own, warehouses=0) == [True, False, False]


async def test_after_a_shortfall_so_many_are_decided_as_their_warehouses_allow(inventory: Inventory) -> None:
    """Each cost as many look-ups as it has lines and there are warehouses: here two thirds of what all may."""
    lines_each = 50
    warehouses = 2 * EXPLAINED_LOOK_UPS_MAX // 3 // lines_each
    skus = [f"X-{number}" for number in range(lines_each - 1)]

    assert await explained(inventory, skus, skus, warehouses=warehouses) == [True, False]


async def test_a_plan_for_a_time_that_is_over_is_over(inventory: Inventory) -> None:
    await inventory.move(5)
    now = inventory.clock()

    plan = await inventory.plan(("SKU-1", 1), expires_at=now)

    assert (plan.status, held(plan), list(plan.missing)) == (EXPIRED, [], [])
    assert (await inventory.allocate("shp_1", ("SKU-1", 1), expires_at=now)).status == EXPIRED


async def test_a_plan_yields_to_who_waits_for_what_has_expired(inventory: Inventory) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_over", ("SKU-1", 5), expires_at=inventory.clock() + timedelta(minutes=1))
    await inventory.allocate("shp_waiting", ("SKU-1", 5))
    inventory.ahead = timedelta(minutes=1)

    plan = await inventory.plan(("SKU-1", 5))

    assert plan.status == WAITING
    assert (await inventory.allocate("shp_new", ("SKU-1", 5))).status == WAITING


@pytest.mark.parametrize("seed", range(STATES))
async def test_what_a_plan_says_is_what_an_allocation_does(inventory: Inventory, seed: int) -> None:
    random = Random(seed)
    await _any_state(inventory, random)
    request = _any_request(inventory, random, "shp_new")
    options = {name: getattr(request, name) for name in ("policy", "priority", "expires_at", "destination")}

    plan = await inventory.plan(*request.lines, **options)
    [done] = await inventory.allocate_all(request)

    assert isinstance(done, inventory_pb2.Allocation)
    assert (plan.status, held(plan)) == (done.status, held(done))
    explained = await inventory.explain("shp_new")
    assert (plan.missing, plan.candidates) == (explained.missing, explained.candidates)
    for sku, wanted in request.wanted.items():
        taken = sum(units for one, _, units in held(plan) if one == sku)
        missing = sum(line.qty for line in plan.missing if line.sku == sku)
        assert plan.status == EXPIRED or taken + missing == wanted


async def _any_state(inventory: Inventory, random: Random) -> None:
    for code in "ABCD":
        if random.random() < 0.5:
            place = random.choice([None, SEATTLE, NEWARK])
            await inventory.put_warehouse(
                code, priority=random.randrange(3), coordinates=place, active=random.random() < 0.8
            )
        await inventory.record(*(inventory.wish(random.randint(1, 6), sku=sku, warehouse=code) for sku in "XYZ"))
    for number in range(random.randrange(12)):
        await inventory.allocate_all(_any_request(inventory, random, f"shp_{number}"))
        if random.random() < 0.3:
            inventory.ahead += random.choice([timedelta(seconds=40), OVERTAKEN_FOR])
        if random.random() < 0.3:
            await inventory.release(f"shp_{random.randrange(number + 1)}")
        if random.random() < 0.3:
            await inventory.move(random.randint(1, 4), sku=random.choice("XYZ"), warehouse=random.choice("ABCD"))


def _any_request(inventory: Inventory, random: Random, request_id: str) -> StockRequest:
    return StockRequest(
        inventory.tenant_id,
        request_id,
        [(random.choice("XYZ"), random.randint(1, 9)) for _ in range(random.randint(1, 3))],
        policy=random.choice(list(Policy)),
        priority=random.randrange(2),
        expires_at=inventory.clock() + timedelta(minutes=random.randint(0, 2)) if random.random() < 0.4 else None,
        destination=random.choice([None, SEATTLE]),
    )


def test_the_statuses_and_rules_of_the_contract_are_ours() -> None:
    from services.inventory.sourcing import Rule

    for ours, theirs, prefix in (
        (AllocationStatus, inventory_pb2.AllocationStatus, "ALLOCATION_STATUS_"),
        (Rule, inventory_pb2.SourcingRule, "SOURCING_RULE_"),
        (Policy, inventory_pb2.AllocationPolicy, "ALLOCATION_POLICY_"),
    ):
        told = {name.removeprefix(prefix): number for name, number in theirs.items() if number}
        assert {one.name: int(one) for one in ours} == told


async def test_plans_of_many_at_once_lock_nothing(inventory: Inventory) -> None:
    await inventory.move(5)
    async with inventory.database.transaction():
        plans = await asyncio.gather(*(inventory.plan(("SKU-1", 5)) for _ in range(5)))
    assert {plan.status for plan in plans} == {HELD}
    assert lines(await inventory.allocate("shp_1", ("SKU-1", 5))) == [("SKU-1", "SEA-1", 5)]
