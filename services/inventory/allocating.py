"""Holding stock for requests: allocate, release, serve those that wait, send back those that no longer fit.

A request is held whole or waits whole. Waiting needs no message to end: `serve` is asked of the state of the stock
again and again (waker.py), so nothing that frees stock can be missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.clock import Clock
from chassis.errors import Fault
from chassis.ids import IdMaker
from services.inventory import domain, events, sourcing, store
from services.inventory.domain import AllocationStatus, Hold, Stock, StockKey
from skutrail.v1 import events_pb2, inventory_pb2

_UNDER_WAY = (AllocationStatus.WAITING, AllocationStatus.HELD)


async def allocate(
    tx: AsyncConnection, tenant_id: str, request_id: str, lines: Sequence[tuple[str, int]], now: datetime
) -> inventory_pb2.Allocation:
    """Holds all lines for the request, or makes it wait. Asked again, it tells how the request stands."""
    if faults := domain.line_faults(lines):
        raise Fault("validation_failed", "The allocation is not valid.", fields=faults)
    if await store.find_status(tx, tenant_id, request_id) is not None:
        return await _describe(tx, tenant_id, request_id)
    wanted = domain.summed(lines)
    stocks = await store.lock_stocks_of_skus(tx, tenant_id, wanted)
    # Who waits and could be served goes first: a newcomer must not take what has just come for them.
    if await store.add_request(tx, tenant_id, request_id, wanted, now) and not await store.is_somebody_before(
        tx, tenant_id, wanted, request_id
    ):
        await _hold_if_it_fits(tx, tenant_id, request_id, wanted, stocks)
    return await _describe(tx, tenant_id, request_id)


async def release(tx: AsyncConnection, tenant_id: str, request_id: str, now: datetime) -> inventory_pb2.Allocation:
    """Gives back what is still held and ends the waiting. A request never seen is closed before it comes."""
    if not await store.add_request(tx, tenant_id, request_id, {}, now, AllocationStatus.RELEASED):
        await _end_holds(tx, tenant_id, [request_id], AllocationStatus.RELEASED)
    return await _describe(tx, tenant_id, request_id)


async def serve(tx: AsyncConnection, tenant_id: str, request_id: str, clock: Clock, new_id: IdMaker) -> bool:
    """Holds a waiting request if its stock is there now; announces it. False where it must go on waiting."""
    wanted = await store.missing_lines(tx, tenant_id, request_id)
    stocks = await store.lock_stocks_of_skus(tx, tenant_id, wanted)
    statuses = await store.lock_requests(tx, tenant_id, [request_id])
    if statuses.get(request_id) is not AllocationStatus.WAITING:
        return False
    # Read again under the locks: a pick may have come between.
    missing = await store.missing_lines(tx, tenant_id, request_id)
    if not await _hold_if_it_fits(tx, tenant_id, request_id, missing, stocks):
        return False
    allocation = await _describe(tx, tenant_id, request_id)
    await outbox.add(tx, [events.allocation_changed(tenant_id, allocation, clock(), new_id)])
    return True


async def send_back(
    tx: AsyncConnection, key: StockKey, on_hand: int, now: datetime, new_id: IdMaker
) -> list[events_pb2.Event]:
    """Makes room below `on_hand` at a key that is locked: the youngest holds that no longer fit wait again, whole."""
    stock = await store.read_stock(tx, key)
    holds = await store.open_holds_youngest_first(tx, key)
    losers = domain.requests_that_no_longer_fit(stock._replace(on_hand=on_hand), holds)
    await _end_holds(tx, key.tenant_id, losers, AllocationStatus.WAITING)
    allocations = await store.describe(tx, key.tenant_id, losers)
    changes = [events.allocation_message(request_id, *allocations[request_id]) for request_id in losers]
    return [
        events.inventory_shortfall(key, on_hand, stock.held - on_hand, losers, now, new_id),
        *(events.allocation_changed(key.tenant_id, change, now, new_id) for change in changes),
    ]


async def _end_holds(tx: AsyncConnection, tenant_id: str, request_ids: Sequence[str], status: AllocationStatus) -> None:
    """Frees what the requests that are under way still hold, and gives them the status."""
    stocks = await store.lock_stocks(tx, [h.key for h in await store.open_holds_of(tx, tenant_id, request_ids)])
    statuses = await store.lock_requests(tx, tenant_id, request_ids)
    under_way = [request_id for request_id in request_ids if statuses[request_id] in _UNDER_WAY]
    holds = await store.open_holds_of(tx, tenant_id, under_way)
    # Before its lock, one that waited may have been held elsewhere. Locked out of order, hence perhaps repeated.
    stocks |= await store.lock_stocks(tx, {hold.key for hold in holds} - set(stocks))
    for hold in holds:
        stocks[hold.key] = stocks[hold.key]._replace(held=stocks[hold.key].held - hold.open)
    await store.save_holds(tx, [hold._replace(open=0) for hold in holds])
    await store.save_stocks(tx, [stocks[key] for key in sorted({hold.key for hold in holds})])
    await store.set_statuses(tx, tenant_id, under_way, status)


async def _hold_if_it_fits(
    tx: AsyncConnection, tenant_id: str, request_id: str, wanted: Mapping[str, int], stocks: Mapping[StockKey, Stock]
) -> bool:
    placements = sourcing.plan(wanted, _available(stocks))
    if placements is None:
        return False
    held = {hold.key: hold for hold in await store.holds_of(tx, tenant_id, request_id)}
    holds, after = [], []
    for placement in placements:
        key = StockKey(tenant_id, placement.sku, placement.warehouse)
        before = held.get(key, Hold(key, request_id, open=0))
        holds.append(before._replace(open=before.open + placement.qty))
        after.append(stocks[key]._replace(held=stocks[key].held + placement.qty))
    await store.save_holds(tx, holds)
    await store.save_stocks(tx, after)
    await store.set_statuses(tx, tenant_id, [request_id], AllocationStatus.HELD)
    return True


def _available(stocks: Mapping[StockKey, Stock]) -> dict[str, dict[str, int]]:
    by_warehouse: dict[str, dict[str, int]] = {}
    for key, stock in stocks.items():
        by_warehouse.setdefault(key.warehouse, {})[key.sku] = stock.available
    return by_warehouse


async def _describe(tx: AsyncConnection, tenant_id: str, request_id: str) -> inventory_pb2.Allocation:
    described = await store.describe(tx, tenant_id, [request_id])
    return events.allocation_message(request_id, *described[request_id])
