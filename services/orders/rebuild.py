"""The projection, built again from the events that the outbox of shipments still has: `skutrail rebuild orders`.

What is told again is laid aside first (retold_shipment). Then, under a lock that no fold passes, every order is held
against it, by the rule of domain.newest that folds news all the time. So the projection becomes what a listener would
have made of all these events, and what they no longer tell stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import event_log, outbox, trace, wire
from chassis.database import Database
from chassis.ids import IdMaker
from services.orders import domain, operations, store
from services.orders.domain import Shipment
from services.orders.events import shipment_of
from services.orders.store import OrderKey
from skutrail.v1 import events_pb2

ORDERS_MAX = 200  # at once

# It takes what time it takes, and waits for the folds under way. The planner knows nothing of a table just filled, and
# would read all of it for every batch.
_PATIENCE = text("""
    SELECT set_config('statement_timeout', '0', true), set_config('transaction_timeout', '0', true),
        set_config('idle_in_transaction_session_timeout', '60s', true), set_config('lock_timeout', '30s', true),
        set_config('enable_seqscan', 'off', true)
""")
_CLEAR = text("TRUNCATE retold_shipment")  # and waits for another rebuild to end
# A fold begins by adding its order. Those who read go on.
_LOCK = text("LOCK TABLE sales_order IN SHARE ROW EXCLUSIVE MODE")
_ADD_ORDERS = text("""
    INSERT INTO sales_order (tenant_id, id, status, created_at, updated_at)
    SELECT tenant_id, order_id, 1, min(created_at), min(created_at) FROM retold_shipment GROUP BY 1, 2
    ON CONFLICT DO NOTHING
""")
_NEXT_ORDERS = text("""
    SELECT tenant_id, id FROM sales_order WHERE (tenant_id, id) > (:tenant_id, :order_id)
    ORDER BY tenant_id, id LIMIT :limit
""")
_SHIPMENTS = """
    SELECT * FROM {table}
    WHERE (tenant_id, order_id) >= (:first_tenant, :first) AND (tenant_id, order_id) <= (:last_tenant, :last)
    ORDER BY tenant_id, order_id
"""
_KNOWN = text(_SHIPMENTS.format(table="order_shipment"))
_RETOLD = text(_SHIPMENTS.format(table="retold_shipment"))


@dataclass
class Rebuilt:
    """What a rebuild came across."""

    events: int = 0
    orders: int = 0
    changed: int = 0
    """Shipments of which something else was remembered, or nothing."""
    kept: int = 0
    """Shipments whose newest event is no longer kept: they stay as they were remembered."""
    announced: int = 0
    """Orders of which readers see something else than before."""


async def rebuild(tx: AsyncConnection, shipments: Database, now: datetime, new_id: IdMaker) -> Rebuilt:
    """All or nothing. `tx` is of the orders' database; of shipments' only the outbox is read.

    Raises ValueError for an event that cannot be read.
    """
    await tx.execute(_PATIENCE)
    await tx.execute(_CLEAR)
    done = Rebuilt(events=await _lay_aside(tx, shipments))
    # What was folded before the lock is newer than what was read, or is in it.
    await tx.execute(_LOCK)
    await tx.execute(_ADD_ORDERS)
    keys = await _orders_behind(tx, ("", ""))
    while keys:
        await _hold_against_it(tx, keys, done, now, new_id)
        keys = await _orders_behind(tx, keys[-1])
    await tx.execute(_CLEAR)
    return done


async def _lay_aside(tx: AsyncConnection, shipments: Database) -> int:
    count = 0
    async for events in event_log.kept(shipments, "shipment"):
        newest: dict[tuple[str, str], store.Keyed] = {}
        for event in events:
            snapshot = shipment_of(event.shipment, told_at=wire.moment(event.occurred_at))
            before = newest.get((event.tenant_id, snapshot.id))
            # Of two with one version, which an earlier release could tell, the later counts, as where they are folded.
            if before is None or before[2].version <= snapshot.version:
                newest[event.tenant_id, snapshot.id] = (event.tenant_id, event.shipment.order_id, snapshot)
        await tx.execute(*store.retelling_shipments(newest.values()))
        count += len(events)
    return count


async def _hold_against_it(
    tx: AsyncConnection, keys: Sequence[OrderKey], done: Rebuilt, now: datetime, new_id: IdMaker
) -> None:
    known, retold = await _by_order(tx, _KNOWN, keys), await _by_order(tx, _RETOLD, keys)
    orders: dict[OrderKey, list[Shipment]] = {}
    changed: list[store.Keyed] = []
    for key in keys:
        before = {shipment.id: shipment for shipment in known.get(key, ())}
        after = operations.with_news(before, retold.get(key, ()))
        changed += [(*key, shipment) for shipment in after.values() if shipment != before.get(shipment.id)]
        if after:
            orders[key] = list(after.values())
        told = {shipment.id: shipment.version for shipment in retold.get(key, ())}
        done.kept += sum(told.get(shipment.id) != shipment.version for shipment in after.values())
    await tx.execute(*store.saving_shipments(changed))
    await tx.execute(*store.saving_orders(orders))
    news = await _news(tx, known, orders, now, new_id)
    await outbox.add(tx, news)
    done.orders += len(orders)
    done.changed += len(changed)
    done.announced += len(news)


async def _news(
    tx: AsyncConnection,
    before: dict[OrderKey, list[Shipment]],
    after: dict[OrderKey, list[Shipment]],
    now: datetime,
    new_id: IdMaker,
) -> Sequence[events_pb2.Event]:
    """The orders that differ. Of one that was not there, our own outbox may know that it was told just so."""
    differ = [key for key, shipments in after.items() if domain.is_news(before.get(key, ()), shipments)]
    lost = [key for key in differ if key not in before]
    told = await event_log.last_told(tx, "order.updated", lost) if lost else {}
    events = [operations.announcement(*key, after[key], now, new_id, trace.current()) for key in differ]
    return [
        event for key, event in zip(differ, events, strict=True) if key not in told or told[key].order != event.order
    ]


async def _orders_behind(tx: AsyncConnection, key: OrderKey) -> Sequence[OrderKey]:
    rows = await tx.execute(_NEXT_ORDERS, {"tenant_id": key[0], "order_id": key[1], "limit": ORDERS_MAX})
    return [(row.tenant_id, row.id) for row in rows]


async def _by_order(tx: AsyncConnection, query: Any, keys: Sequence[OrderKey]) -> dict[OrderKey, list[Shipment]]:
    """The shipments of these orders, which follow each other."""
    (first_tenant, first), (last_tenant, last) = keys[0], keys[-1]
    span = {"first_tenant": first_tenant, "first": first, "last_tenant": last_tenant, "last": last}
    rows = (await tx.execute(query, span)).all()
    grouped = groupby(rows, key=lambda row: (row.tenant_id, row.order_id))
    return {key: [store.shipment_in(row) for row in group] for key, group in grouped}
