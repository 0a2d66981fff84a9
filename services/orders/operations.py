"""What orders do: fold the news of shipments into their order, and tell an order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.ids import IdMaker
from services.orders import domain, events, store
from services.orders.domain import OrderStatus
from skutrail.v1 import orders_pb2, shipments_pb2


async def fold_shipments(
    tx: AsyncConnection,
    tenant_id: str,
    order_id: str,
    shipments: Sequence[shipments_pb2.Shipment],
    now: datetime,
    new_id: IdMaker,
) -> bool:
    """Takes in snapshots of an order's shipments; announces the order if they change it. False where they do not.

    The version decides what is newer, so no inbox is needed: an event may come twice, late, or after the order was
    asked for.
    """
    await store.lock_order(tx, tenant_id, order_id, now)
    before = await read_order(tx, tenant_id, order_id)
    for shipment in shipments:
        await store.save_if_newer(tx, tenant_id, order_id, events.shipment_of(shipment))
    known = await store.shipments_of(tx, tenant_id, order_id)
    order = domain.derive(known)
    after = events.order_message(order_id, order)
    if after == before:
        return False
    await store.save_status(tx, tenant_id, order_id, order.status, now)
    await outbox.add(tx, [events.order_updated(tenant_id, after, now, new_id)])
    return True


async def read_order(tx: AsyncConnection, tenant_id: str, order_id: str) -> orders_pb2.Order | None:
    """The order as its shipments make it, or None where no shipment of it is known here."""
    shipments = await store.shipments_of(tx, tenant_id, order_id)
    return events.order_message(order_id, domain.derive(shipments)) if shipments else None


async def list_orders(
    tx: AsyncConnection, tenant_id: str, *, status: OrderStatus | None, after_id: str | None, limit: int
) -> orders_pb2.ListOrdersReply:
    ids = await store.list_ids(tx, tenant_id, status=status, after_id=after_id, limit=limit + 1)
    shipments = await store.shipments_of_orders(tx, tenant_id, ids[:limit])
    orders = [events.order_message(order_id, domain.derive(shipments[order_id])) for order_id in ids[:limit]]
    return orders_pb2.ListOrdersReply(orders=orders, has_more=len(ids) > limit)
