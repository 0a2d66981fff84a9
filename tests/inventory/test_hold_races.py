"""Requests that meet at one moment, and crowds: the interleavings that leak or starve in other systems."""

import asyncio
import time
from datetime import timedelta

from sqlalchemy import text

from chassis.clock import utc_now
from chassis.ids import new_id
from chassis.pipeline import within
from services.inventory import allocating
from services.inventory.domain import Reason
from services.inventory.requests import StockRequest
from skutrail.v1 import inventory_pb2
from tests.inventory.conftest import Inventory
from tests.inventory.test_holds import CONSUMED, HELD, RELEASED, WAITING


async def waits_for_a_lock(inventory: Inventory) -> None:
    """Returns once a session of this database waits for a lock."""
    while True:
        async with inventory.database.transaction() as tx:
            waiting = await tx.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            if waiting.scalar_one():
                return


async def test_a_release_that_meets_the_first_allocation_leaves_nothing_held(inventory: Inventory) -> None:
    await inventory.move(5)

    async with inventory.database.transaction() as tx:
        request = StockRequest(inventory.tenant_id, "shp_1", [("SKU-1", 4)])
        [held] = await within(tx, lambda p: allocating.allocate(p, [request], utc_now, new_id))
        releasing = asyncio.create_task(inventory.release("shp_1"))
        await waits_for_a_lock(inventory)
    released = await releasing

    assert isinstance(held, inventory_pb2.Allocation)
    assert (held.status, released.status) == (HELD, RELEASED)
    assert (await inventory.stock()).held == 0


async def test_a_release_that_meets_the_waker_leaves_nothing_held(inventory: Inventory) -> None:
    assert (await inventory.allocate("shp_1", ("SKU-1", 4))).status == WAITING
    await inventory.move(5, warehouse="NEW")

    async with inventory.database.transaction() as tx:
        assert await within(tx, lambda p: allocating.serve(p, [(inventory.tenant_id, "shp_1")], utc_now, new_id))
        releasing = asyncio.create_task(inventory.release("shp_1"))
        await waits_for_a_lock(inventory)
    released = await releasing

    assert released.status == RELEASED
    assert (await inventory.stock(warehouse="NEW")).held == 0


async def test_an_adjustment_that_sends_hundreds_back_is_recorded_within_a_callers_deadline(
    inventory: Inventory,
) -> None:
    await inventory.record(inventory.wish(150), inventory.wish(150, sku="X"))
    for number in range(150):
        await inventory.allocate(f"shp_{number}", ("SKU-1", 1), ("X", 1))

    started = time.monotonic()
    outcome = await inventory.move(-140, Reason.ADJUSTMENT)

    assert time.monotonic() - started < 1.5
    assert isinstance(outcome.answer, inventory_pb2.LedgerEntry)
    assert (await inventory.stock()).held == (await inventory.stock("X")).held == 10
    assert (await inventory.allocate("shp_9", ("SKU-1", 1))).status == HELD
    assert (await inventory.allocate("shp_10", ("SKU-1", 1))).status == WAITING


async def test_a_newcomer_does_not_take_what_has_come_for_those_that_wait(inventory: Inventory) -> None:
    await inventory.allocate("shp_old", ("SKU-1", 1))
    await inventory.allocate("shp_large", ("SKU-1", 100))
    await inventory.move(1)

    assert (await inventory.allocate("shp_new", ("SKU-1", 1))).status == WAITING
    await inventory.waker.serve_waiting()

    assert (await inventory.allocate("shp_old", ("SKU-1", 1))).status == HELD
    # What could not be served anyway holds up nobody.
    await inventory.move(1)
    await inventory.waker.serve_waiting()
    assert (await inventory.allocate("shp_new", ("SKU-1", 1))).status == HELD
    await inventory.move(1)
    assert (await inventory.allocate("shp_newer", ("SKU-1", 1))).status == HELD


async def test_two_picks_of_the_last_lines_at_once_close_their_request(inventory: Inventory) -> None:
    for round_number in range(8):
        request_id = f"shp_{round_number}"
        await inventory.record(inventory.wish(1), inventory.wish(1, sku="X"))
        await inventory.allocate(request_id, ("SKU-1", 1), ("X", 1))
        barrier = asyncio.Barrier(2)

        async def pick(sku: str, request_id: str = request_id, barrier: asyncio.Barrier = barrier) -> None:
            await barrier.wait()
            await inventory.move(1, Reason.PICK, sku=sku, reference=request_id)

        await asyncio.gather(pick("SKU-1"), pick("X"))

        assert (await inventory.allocate(request_id, ("SKU-1", 1))).status == CONSUMED


async def test_stock_that_is_locked_keeps_only_its_own_requests_from_expiring(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(1), inventory.wish(1, sku="X"))
    ends = inventory.clock() + timedelta(hours=1)
    for name, sku in (("shp_locked", "SKU-1"), ("shp_free", "X")):
        await inventory.allocate(name, (sku, 1), expires_at=ends)
    inventory.ahead = timedelta(hours=1)

    async with inventory.database.transaction() as tx:
        lock = text("SELECT 1 FROM balance WHERE tenant_id = :tenant AND sku = 'SKU-1' FOR UPDATE")
        await tx.execute(lock, {"tenant": inventory.tenant_id})
        await inventory.waker.expire_due()

        assert ((await inventory.stock()).held, (await inventory.stock("X")).held) == (1, 0)


async def test_stock_that_is_locked_keeps_only_its_own_requests_waiting(inventory: Inventory) -> None:
    await inventory.allocate("shp_locked", ("SKU-1", 1))
    await inventory.allocate("shp_free", ("X", 1))
    await inventory.record(inventory.wish(1), inventory.wish(1, sku="X"))

    async with inventory.database.transaction() as tx:
        lock = text("SELECT 1 FROM balance WHERE tenant_id = :tenant AND sku = 'SKU-1' FOR UPDATE")
        await tx.execute(lock, {"tenant": inventory.tenant_id})
        await inventory.waker.serve_waiting()

        assert (await inventory.allocate("shp_free", ("X", 1))).status == HELD
        assert (await inventory.allocate("shp_locked", ("SKU-1", 1))).status == WAITING
