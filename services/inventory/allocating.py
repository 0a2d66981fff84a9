"""Holding stock for requests: allocate, release, serve those that wait, send back those that no longer fit.

A request is held whole or waits whole. Waiting needs no message to end: `serve` is asked of the state of the stock
again and again (waker.py), so nothing that frees stock can be missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.errors import Fault
from chassis.ids import IdMaker
from services.inventory import domain, events, sourcing, store
from services.inventory.domain import AllocationStatus, Hold, Stock, StockKey
from skutrail.v1 import events_pb2, inventory_pb2


async def allocate(
    tx: AsyncConnection, tenant_id: str, request_id: str, lines: Sequence[tuple[str, int]], now: datetime
) -> inventory_pb2.Allocation:
    """Holds all lines for the request, or makes it wait. Asked again, it tells how the request stands."""
    if faults := domain.line_faults(lines):
        raise Fault("validation_failed", "The allocation is not valid.", fields=faults)
    if await store.find_request(tx, tenant_id, request_id) is not None:
        return await _describe(tx, tenant_id, request_id)
    wanted = domain.summed(lines)
    stocks = await store.lock_stocks_of_skus(tx, tenant_id, wanted)
    if await store.add_request(tx, tenant_id, request_id, wanted, now):
        await _hold_if_it_fits(tx, tenant_id, request_id, wanted, stocks)
    return await _describe(tx, tenant_id, request_id)


async def release(tx: AsyncConnection, tenant_id: str, request_id: str, now: datetime) -> inventory_pb2.Allocation:
    """Gives back what is still held and ends the waiting. A request never seen is closed before it comes."""
    wanted = await store.missing_lines(tx, tenant_id, request_id)
    stocks = await store.lock_stocks_of_skus(tx, tenant_id, wanted)
    found = await store.find_request(tx, tenant_id, request_id, lock=True)
    if found is None:
        await store.add_request(tx, tenant_id, request_id, {}, now)
        await store.set_status(tx, tenant_id, request_id, AllocationStatus.RELEASED)
    elif found[0] in (AllocationStatus.WAITING, AllocationStatus.HELD):
        await _give_back(tx, tenant_id, request_id, stocks)
        await store.set_status(tx, tenant_id, request_id, AllocationStatus.RELEASED)
    return await _describe(tx, tenant_id, request_id)


async def serve(tx: AsyncConnection, tenant_id: str, request_id: str, now: datetime, new_id: IdMaker) -> bool:
    """Holds a waiting request if its stock is there now; announces it. False where it must go on waiting."""
    wanted = await store.missing_lines(tx, tenant_id, request_id)
    stocks = await store.lock_stocks_of_skus(tx, tenant_id, wanted)
    found = await store.find_request(tx, tenant_id, request_id, lock=True)
    if found is None or found[0] is not AllocationStatus.WAITING:
        return False
    # Read again under the locks: a pick may have come between.
    missing = await store.missing_lines(tx, tenant_id, request_id)
    if not await _hold_if_it_fits(tx, tenant_id, request_id, missing, stocks):
        return False
    allocation = await _describe(tx, tenant_id, request_id)
    await outbox.add(tx, [events.allocation_changed(tenant_id, allocation, now, new_id)])
    return True


async def send_back(
    tx: AsyncConnection, key: StockKey, on_hand: int, now: datetime, new_id: IdMaker
) -> list[events_pb2.Event]:
    """Makes room below `on_hand` at a key: the youngest holds that no longer fit go back to waiting, whole."""
    stock = (await store.lock_stocks(tx, [key]))[key]
    holds = await store.open_holds_youngest_first(tx, key)
    losers = domain.requests_that_no_longer_fit(replace(stock, on_hand=on_hand), holds)
    short = stock.held - on_hand
    news = [events.inventory_shortfall(key, on_hand, short, losers, now, new_id)]
    for request_id in losers:
        await _take_back(tx, key.tenant_id, request_id)
        allocation = await _describe(tx, key.tenant_id, request_id)
        news.append(events.allocation_changed(key.tenant_id, allocation, now, new_id))
    return news


async def _take_back(tx: AsyncConnection, tenant_id: str, request_id: str) -> None:
    wanted = await store.missing_lines(tx, tenant_id, request_id)
    # These locks may come out of key order. Two such adjustments can deadlock; one of them is then repeated.
    stocks = await store.lock_stocks_of_skus(tx, tenant_id, wanted)
    await store.find_request(tx, tenant_id, request_id, lock=True)
    await _give_back(tx, tenant_id, request_id, stocks)
    await store.set_status(tx, tenant_id, request_id, AllocationStatus.WAITING)


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
        holds.append(replace(before, open=before.open + placement.qty))
        after.append(replace(stocks[key], held=stocks[key].held + placement.qty))
    await store.save_holds(tx, holds)
    await store.save_stocks(tx, after)
    await store.set_status(tx, tenant_id, request_id, AllocationStatus.HELD)
    return True


async def _give_back(tx: AsyncConnection, tenant_id: str, request_id: str, stocks: Mapping[StockKey, Stock]) -> None:
    holds = [hold for hold in await store.holds_of(tx, tenant_id, request_id) if hold.open > 0]
    await store.save_holds(tx, [replace(hold, open=0) for hold in holds])
    await store.save_stocks(tx, [replace(stocks[h.key], held=stocks[h.key].held - h.open) for h in holds])


def _available(stocks: Mapping[StockKey, Stock]) -> dict[str, dict[str, int]]:
    by_warehouse: dict[str, dict[str, int]] = {}
    for key, stock in stocks.items():
        by_warehouse.setdefault(key.warehouse, {})[key.sku] = stock.available
    return by_warehouse


async def _describe(tx: AsyncConnection, tenant_id: str, request_id: str) -> inventory_pb2.Allocation:
    found = await store.find_request(tx, tenant_id, request_id)
    assert found is not None, "described only after it was stored"
    status, version = found
    return events.allocation_message(request_id, status, version, await store.holds_of(tx, tenant_id, request_id))
