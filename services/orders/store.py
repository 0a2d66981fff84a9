"""What is remembered: orders, and the newest snapshot of each of their shipments. Queries only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
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

_SHIPMENTS = text("""
    SELECT shipment_id, version, status, warehouses, qtys FROM order_shipment
    WHERE tenant_id = :tenant_id AND order_id = :order_id
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
    rows = await tx.execute(_SHIPMENTS, {"tenant_id": tenant_id, "order_id": order_id})
    return [
        Shipment(
            row.shipment_id,
            row.version,
            ShipmentStatus(row.status),
            tuple(Share(row.shipment_id, w, qty) for w, qty in zip(row.warehouses, row.qtys, strict=True)),
        )
        for row in rows
    ]
