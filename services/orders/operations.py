"""What orders do: fold a shipment's news into its order, and tell an order."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.ids import IdMaker
from services.orders import domain, events, store
from skutrail.v1 import orders_pb2, shipments_pb2


async def fold_shipment(
    tx: AsyncConnection, tenant_id: str, message: shipments_pb2.Shipment, now: datetime, new_id: IdMaker
) -> bool:
    """Takes in a shipment's snapshot. False, and nothing told, where it is not newer than what is known.

    The version decides, so no inbox is needed: an event may come twice, late, or after the order was asked for.
    """
    await store.lock_order(tx, tenant_id, message.order_id, now)
    if not await store.save_if_newer(tx, tenant_id, message.order_id, events.shipment_of(message)):
        return False
    order = domain.derive(await store.shipments_of(tx, tenant_id, message.order_id))
    await store.save_status(tx, tenant_id, message.order_id, order.status, now)
    news = events.order_updated(tenant_id, events.order_message(message.order_id, order), now, new_id)
    await outbox.add(tx, [news])
    return True


async def read_order(tx: AsyncConnection, tenant_id: str, order_id: str) -> orders_pb2.Order | None:
    """The order as its shipments make it, or None where no shipment of it is known here."""
    shipments = await store.shipments_of(tx, tenant_id, order_id)
    return events.order_message(order_id, domain.derive(shipments)) if shipments else None
