"""What is remembered: orders, and the newest snapshot of each of their shipments. Queries only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.orders.domain import OrderStatus, Share, Shipment, ShipmentStatus

_ADD_ORDER = text("""
    INSERT INTO sales_order (tenant_id, id, status, created_at, updated_at)
    VALUES (:tenant_id, :order_id, :status, :now, :now) ON CONFLICT DO NOTHING
""")

_LOCK_ORDER = text("SELECT 1 FROM sales_order WHERE tenant_id = :tenant_id AND id = :order_id FOR UPDATE")

_SAVE_STATUS = text("""
    UPDATE sales_order SET status = :status, updated_at = :now WHERE tenant_id = :tenant_id AND id = :order_id
""")

_SAVE_SHIPMENT = text("""
    INSERT INTO order_shipment AS s (tenant_id, order_id, shipment_id, version, status, warehouses, qtys)
    VALUES (:tenant_id, :order_id, :shipment_id, :version, :status,
            CAST(:warehouses AS text[]), CAST(:qtys AS bigint[]))
    ON CONFLICT (tenant_id, order_id, shipment_id) DO UPDATE
        SET version = excluded.version, status = excluded.status,
            warehouses = excluded.warehouses, qtys = excluded.qtys
        WHERE s.version < excluded.version
    RETURNING 1
""")

_LIST = """
    SELECT id FROM sales_order WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :limit
"""
_BEHIND = """(created_at, id) < (
    SELECT created_at, id FROM sales_order WHERE tenant_id = :tenant_id AND id = :after_id
)"""

_SHIPMENTS_OF_ORDERS = text("""
    SELECT order_id, shipment_id, version, status, warehouses, qtys FROM order_shipment
    WHERE tenant_id = :tenant_id AND order_id = ANY(CAST(:order_ids AS text[]))
""")


async def lock_order(tx: AsyncConnection, tenant_id: str, order_id: str, now: datetime) -> None:
    """Locks the order's row, made first where it is missing: its shipments are folded in one at a time."""
    ids = {"tenant_id": tenant_id, "order_id": order_id}
    await tx.execute(_ADD_ORDER, {**ids, "status": OrderStatus.QUEUED, "now": now})
    await tx.execute(_LOCK_ORDER, ids)


async def save_status(tx: AsyncConnection, tenant_id: str, order_id: str, status: OrderStatus, now: datetime) -> None:
    await tx.execute(_SAVE_STATUS, {"tenant_id": tenant_id, "order_id": order_id, "status": status, "now": now})


async def save_if_newer(tx: AsyncConnection, tenant_id: str, order_id: str, shipment: Shipment) -> bool:
    """False where the same or a newer snapshot is known."""
    row = {
        "tenant_id": tenant_id,
        "order_id": order_id,
        "shipment_id": shipment.id,
        "version": shipment.version,
        "status": shipment.status,
        "warehouses": [share.warehouse for share in shipment.shares],
        "qtys": [share.qty for share in shipment.shares],
    }
    return (await tx.execute(_SAVE_SHIPMENT, row)).first() is not None


async def shipments_of(tx: AsyncConnection, tenant_id: str, order_id: str) -> list[Shipment]:
    return (await shipments_of_orders(tx, tenant_id, [order_id])).get(order_id, [])


async def shipments_of_orders(
    tx: AsyncConnection, tenant_id: str, order_ids: Sequence[str]
) -> dict[str, list[Shipment]]:
    """The shipments that are known, by order."""
    found: dict[str, list[Shipment]] = {}
    for row in await tx.execute(_SHIPMENTS_OF_ORDERS, {"tenant_id": tenant_id, "order_ids": list(order_ids)}):
        found.setdefault(row.order_id, []).append(_shipment(row))
    return found


async def list_ids(
    tx: AsyncConnection, tenant_id: str, *, status: OrderStatus | None, after_id: str | None, limit: int
) -> list[str]:
    """Ids of orders, the one heard of last first, by an index: a page costs the same however deep it lies."""
    given: dict[str, object] = {"tenant_id": tenant_id, "limit": limit}
    conditions = ["tenant_id = :tenant_id"]
    if status is not None:
        conditions.append("status = :status")
        given["status"] = status
    if after_id is not None:
        conditions.append(_BEHIND)
        given["after_id"] = after_id
    rows = await tx.execute(text(_LIST.format(conditions=" AND ".join(conditions))), given)
    return [row.id for row in rows]


def _shipment(row: Row) -> Shipment:  # type: ignore[type-arg]
    shares = tuple(Share(row.shipment_id, w, qty) for w, qty in zip(row.warehouses, row.qtys, strict=True))
    return Shipment(row.shipment_id, row.version, ShipmentStatus(row.status), shares)
