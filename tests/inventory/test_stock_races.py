"""Those that want the same stock at one moment, from two processes: exactly one gets it, and nobody is told of a lock.

Every race starts behind a barrier, with connections that are open: without, the first would be done before the second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from chassis.database import Database, create_engine
from chassis.errors import Fault
from chassis.ids import new_id
from chassis.pipeline import within
from cli.provision import DatabaseUrls
from services.inventory import allocating
from services.inventory.domain import Reason
from services.inventory.requests import Policy, StockRequest
from services.inventory.waker import Waker
from skutrail.v1 import inventory_pb2
from tests.builders import eventually
from tests.inventory.conftest import Inventory, NoRelay
from tests.inventory.test_holds import CONSUMED, HELD, RELEASED, WAITING
from tests.inventory.test_tampering import look
from tests.shipments.conftest import warm_up

EXPIRED = inventory_pb2.ALLOCATION_STATUS_EXPIRED
DISPATCHED = inventory_pb2.ALLOCATION_STATUS_DISPATCHED
CONNECTIONS, ROUNDS = 8, 12
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
async def processes(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[list[Database]]:
    """Two, as the database sees them."""
    found = [Database(create_engine(databases["inventory"].application, pool_size=CONNECTIONS)) for _ in range(2)]
    yield found
    for database in found:
        await database.engine.dispose()


@pytest.fixture
async def near(inventory: Inventory, processes: list[Database]) -> Inventory:
    await warm_up(processes[0], CONNECTIONS)
    return Inventory(processes[0], inventory.tenant_id)


@pytest.fixture
async def far(inventory: Inventory, processes: list[Database]) -> Inventory:
    await warm_up(processes[1], CONNECTIONS)
    return Inventory(processes[1], inventory.tenant_id)


async def at_once(*races: Awaitable[object]) -> list[object]:
    barrier = asyncio.Barrier(len(races))

    async def run(race: Awaitable[object]) -> object:
        await barrier.wait()
        return await race

    return await asyncio.gather(*map(run, races))


async def assert_whole(inventory: Inventory) -> None:
    report = await look(inventory)
    assert report.is_whole, list(report.findings())


def is_recorded(outcome: object) -> bool:
    return not isinstance(outcome.answer, Fault)  # type: ignore[attr-defined]


@pytest.mark.parametrize("policy", list(Policy))
async def test_of_many_requests_for_few_units_as_many_are_held_as_there_are_units(
    near: Inventory, far: Inventory, policy: Policy
) -> None:
    for number in range(4):
        sku, names = f"SKU-{number}", [f"shp_{number}_{one}" for one in range(2 * CONNECTIONS)]
        await near.record(near.wish(7, sku=sku, warehouse="A"), near.wish(3, sku=sku, warehouse="B"))

        await at_once(
            *((near, far)[n % 2].allocate(name, (sku, 1 + n % 2), policy=policy) for n, name in enumerate(names))
        )

        held = [line.qty for name in names for line in (await near.allocate(name, (sku, 1))).held]
        assert sum(held) in ((10,) if policy is Policy.PARTIAL else (9, 10))
        assert sum(level.held for level in await near.levels(sku)) == sum(held)
    await assert_whole(near)


async def test_requests_that_cross_two_skus_never_wait_for_each_other_in_a_ring(
    near: Inventory, far: Inventory
) -> None:
    await near.record(*(near.wish(99, sku=sku, warehouse=place) for sku in "XYZ" for place in "AB"))

    lines = [("X", 1), ("Y", 1), ("Z", 1)]
    with capture_logs() as logs:
        for number in range(ROUNDS):
            names = [f"shp_{number}_{one}" for one in range(CONNECTIONS)]
            await at_once(*(near.allocate(name, *lines) for name in names[::2]),
                          *(far.allocate(name, *lines[::-1]) for name in names[1::2]))  # fmt: skip
            await at_once(*(near.dispatch(name) for name in names[1::2]), *(far.release(name) for name in names[::2]))

    assert [entry for entry in logs if entry["event"] == "transaction.repeated"] == []
    assert sum(level.held for level in await near.levels()) == 0
    await assert_whole(near)


class Looking(Waker):
    """Tells when it has looked."""

    def __init__(self, inventory: Inventory) -> None:
        super().__init__(inventory.database, NoRelay(), inventory.clock, new_id)  # type: ignore[arg-type]
        self.looked = asyncio.Event()

    async def serve_waiting(self) -> int:
        served = await super().serve_waiting()
        self.looked.set()
        return served


@asynccontextmanager
async def awake(*inventories: Inventory) -> AsyncIterator[list[Looking]]:
    """Wakers that nobody nudges."""
    wakers = [Looking(inventory) for inventory in inventories]
    running = [asyncio.create_task(waker.run()) for waker in wakers]
    try:
        yield wakers
    finally:
        for waker in wakers:
            waker.stop()
        await asyncio.gather(*running)


async def test_a_receipt_that_meets_a_request_that_just_went_short_is_not_missed(
    near: Inventory, far: Inventory
) -> None:
    """It is short and not yet committed; the receipt comes, and who wakes finds nobody; only then does it wait."""
    async with near.database.transaction() as tx:
        request = StockRequest(near.tenant_id, "shp_1", [("SKU-1", 1)])
        [short] = await within(tx, lambda p: allocating.allocate(p, [request], near.clock, new_id))
        assert is_recorded(await far.move(1))
        async with awake(far) as [waker]:
            await waker.looked.wait()
            assert await far.serveable() == []
            await tx.commit()

            await eventually(near.stock, lambda stock: stock.held == 1)
    assert isinstance(short, inventory_pb2.Allocation)
    assert short.status == WAITING


async def test_receipts_and_requests_at_once_leave_nobody_waiting(near: Inventory, far: Inventory) -> None:
    skus = [f"SKU-{number}" for number in range(12)]
    async with awake(near, far) as wakers:
        for waker in wakers:
            await waker.looked.wait()
        await at_once(
            *(near.allocate(f"shp_{sku}", (sku, 2)) for sku in skus),
            *(far.move(1, sku=sku, warehouse=warehouse) for sku in skus for warehouse in "AB"),
        )
        await eventually(near.levels, lambda levels: sum(level.held for level in levels) == 2 * len(skus))
    await assert_whole(near)


async def test_what_expires_while_it_is_picked_ends_once(near: Inventory, far: Inventory) -> None:
    """The one who picks thinks it is a moment earlier than the one who sweeps."""
    for number in range(ROUNDS):
        sku, name = f"SKU-{number}", f"shp_{number}"
        await near.move(5, sku=sku)
        ends = near.clock() + HOUR
        await near.allocate(name, (sku, 5), expires_at=ends)
        far.ahead = HOUR

        [picked, _] = await at_once(near.move(5, Reason.PICK, sku=sku, reference=name), far.expire_due())

        assert is_recorded(picked)
        stands = await near.allocate(name, (sku, 5))
        assert (stands.status, sum(line.qty for line in stands.held)) in ((CONSUMED, 5), (EXPIRED, 0))
        rows = await near.ask(f"SELECT fact FROM hold_fact WHERE tenant_id = :tenant AND request_id = '{name}'")
        assert len(rows) == 2
        assert (await near.stock(sku))[1:3] == (0, 0)
    await assert_whole(near)


@pytest.mark.parametrize("is_picked", [False, True], ids=["held", "picked"])
async def test_of_release_and_dispatch_exactly_one_wins(near: Inventory, far: Inventory, is_picked: bool) -> None:
    for number in range(ROUNDS):
        sku, name = f"SKU-{number}", f"shp_{number}"
        await near.move(5, sku=sku)
        await near.allocate(name, (sku, 2), (sku, 1))
        if is_picked:
            await near.move(3, Reason.PICK, sku=sku, reference=name)

        told = await at_once(near.release(name), far.dispatch(name), far.release(name), near.dispatch(name))

        statuses = {stands.status for stands in told}  # type: ignore[attr-defined]
        assert statuses in ({RELEASED}, {DISPATCHED})
        on_hand = 2 if is_picked or statuses == {DISPATCHED} else 5
        assert (await near.stock(sku))[1:3] == (on_hand, 0)
        changes = [e.allocation for e in await near.events("allocation.changed") if e.allocation.request_id == name]
        assert [change.status for change in changes] == list(statuses)
    await assert_whole(near)


async def test_of_shortfall_and_dispatch_exactly_one_wins(near: Inventory, far: Inventory) -> None:
    for number in range(ROUNDS):
        sku, name = f"SKU-{number}", f"shp_{number}"
        await near.move(5, sku=sku)
        await near.allocate(name, (sku, 5))

        adjusted, left = await at_once(near.move(-3, Reason.ADJUSTMENT, sku=sku), far.dispatch(name))

        assert isinstance(left, inventory_pb2.Allocation)
        on_hand, held = (await near.stock(sku))[1:3]
        assert (left.status, is_recorded(adjusted), on_hand, held) in ((DISPATCHED, False, 0, 0), (WAITING, True, 2, 0))
    await assert_whole(near)


async def test_of_two_that_ask_the_same_request_one_holds_and_both_are_told(near: Inventory, far: Inventory) -> None:
    for number in range(ROUNDS):
        name = f"shp_{number}"
        await near.move(5, sku=name)

        told = await at_once(*(who.allocate(name, (name, 3)) for who in (near, far, near, far)))

        assert {stands.status for stands in told} == {HELD}  # type: ignore[attr-defined]
        assert all(stands == told[0] for stands in told)
        assert (await near.stock(name)).held == 3
    await assert_whole(near)
