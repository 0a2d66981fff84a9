"""What orders do: fold the news of shipments into their order, and tell an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.ids import IdMaker
from services.orders import domain, events, store
from services.orders.domain import OrderStatus, Shipment
from skutrail.v1 import events_pb2, orders_pb2


async def fold_shipments(
    tx: AsyncConnection,
    tenant_id: str,
    order_id: str,
    shipments: Sequence[Shipment],
    now: datetime,
    new_id: IdMaker,
) -> bool:
    """Takes in snapshots of an order's shipments; announces the order if they change it. False where they do not.

    The version decides what is newer, so no inbox is needed: an event may come twice, late, or after the order was
    asked for.
    """
    await store.lock_order(tx, tenant_id, order_id, domain.times_of(shipments).created_at or now)
    known = {shipment.id: shipment for shipment in await store.shipments_of(tx, tenant_id, order_id)}
    after = with_news(known, shipments)
    changed = [shipment for shipment in after.values() if shipment != known.get(shipment.id)]
    if not changed:
        return False
    await store.save_shipments(tx, [(tenant_id, order_id, shipment) for shipment in changed])
    await store.save_orders(tx, [(tenant_id, order_id, list(after.values()))])
    if not domain.is_news(known.values(), after.values()):
        return False
    await outbox.add(tx, [announcement(tenant_id, order_id, list(after.values()), now, new_id)])
    return True


def with_news(known: Mapping[str, Shipment], news: Sequence[Shipment]) -> dict[str, Shipment]:
    """The shipments of an order, by id, after the news."""
    after = dict(known)
    for shipment in news:
        after[shipment.id] = domain.newest(after.get(shipment.id), shipment)
    return after


def announcement(
    tenant_id: str, order_id: str, shipments: Sequence[Shipment], now: datetime, new_id: IdMaker
) -> events_pb2.Event:
    return events.order_updated(tenant_id, events.order_message(order_id, domain.derive(shipments)), now, new_id)


async def read_order(tx: AsyncConnection, tenant_id: str, order_id: str) -> orders_pb2.Order | None:
    """The order as its shipments make it, or None where no shipment of it is known here."""
    shipments = await store.shipments_of(tx, tenant_id, order_id)
    return events.order_message(order_id, domain.derive(shipments)) if shipments else None


async def read_lines(
    tx: AsyncConnection, tenant_id: str, order_id: str, *, after_sku: str, limit: int
) -> orders_pb2.OrderLines | None:
    """A page of what became of each SKU of an order; None where not all of it is known here."""
    shipments = await store.shipments_of(tx, tenant_id, order_id)
    lines = domain.lines_of(shipments)
    if not shipments or lines is None:
        return None
    behind = [line for line in lines if line.sku > after_sku]
    return events.lines_message(behind[:limit], has_more=len(behind) > limit)


async def list_orders(
    tx: AsyncConnection, tenant_id: str, *, status: OrderStatus | None, after_id: str | None, limit: int
) -> orders_pb2.ListOrdersReply:
    ids = await store.list_ids(tx, tenant_id, status=status, after_id=after_id, limit=limit + 1)
    shipments = await store.shipments_of_orders(tx, tenant_id, ids[:limit])
    orders = [events.order_message(order_id, domain.derive(shipments[order_id])) for order_id in ids[:limit]]
    return orders_pb2.ListOrdersReply(orders=orders, has_more=len(ids) > limit)
