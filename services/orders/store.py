"""What is remembered: orders, and the newest snapshot of each of their shipments. Queries only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.orders import domain
from services.orders.domain import Line, OrderStatus, Share, Shipment, ShipmentStatus

Keyed = tuple[str, str, Shipment]
"""A shipment of an order of a tenant: tenant id, order id, snapshot."""

_ADD_ORDER = text("""
    INSERT INTO sales_order (tenant_id, id, status, created_at, updated_at)
    VALUES (:tenant_id, :order_id, :status, :at, :at) ON CONFLICT DO NOTHING
""")

_LOCK_ORDER = text("SELECT 1 FROM sales_order WHERE tenant_id = :tenant_id AND id = :order_id FOR UPDATE")

# What nothing tells stays as it is, and a row that is so already is left alone.
_SAVE_ORDER = text("""
    UPDATE sales_order AS o
    SET status = new.status, created_at = new.created_at, updated_at = new.updated_at
    FROM (
        SELECT tenant_id, id, CAST(:status AS smallint) AS status,
            COALESCE(CAST(:created_at AS timestamptz), created_at) AS created_at,
            COALESCE(CAST(:updated_at AS timestamptz), updated_at) AS updated_at
        FROM sales_order WHERE tenant_id = :tenant_id AND id = :order_id
    ) AS new
    WHERE (o.tenant_id, o.id) = (new.tenant_id, new.id)
        AND (o.status, o.created_at, o.updated_at) IS DISTINCT FROM (new.status, new.created_at, new.updated_at)
""")

_COLUMNS = """
    version, status, warehouses, qtys, lines_version, skus, ordered, held, created_at, told_at, is_hearsay
"""
_SAVE = f"""
    INSERT INTO {{table}} AS s (tenant_id, order_id, shipment_id, {_COLUMNS})
    VALUES (:tenant_id, :order_id, :shipment_id, :version, :status,
            CAST(:warehouses AS text[]), CAST(:qtys AS bigint[]), :lines_version,
            CAST(:skus AS text[]), CAST(:ordered AS bigint[]), CAST(:held AS bigint[]),
            :created_at, :told_at, :is_hearsay)
    ON CONFLICT (tenant_id, order_id, shipment_id) DO UPDATE
        SET ({_COLUMNS}) = ROW (excluded.version, excluded.status, excluded.warehouses, excluded.qtys,
            excluded.lines_version, excluded.skus, excluded.ordered, excluded.held,
            excluded.created_at, excluded.told_at, excluded.is_hearsay)
"""  # noqa: S608 - constants
_SAVE_SHIPMENT = text(_SAVE.format(table="order_shipment"))
# In the log a shipment's newest event need not be the last that is read: identity values do not commit in order.
_RETELL_SHIPMENT = text(_SAVE.format(table="retold_shipment") + "WHERE s.version < excluded.version")

_LIST = """
    SELECT id FROM sales_order WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :limit
"""
_BEHIND = """(created_at, id) < (
    SELECT created_at, id FROM sales_order WHERE tenant_id = :tenant_id AND id = :after_id
)"""

_SHIPMENTS_OF_ORDERS = text(f"""
    SELECT order_id, shipment_id, {_COLUMNS} FROM order_shipment
    WHERE tenant_id = :tenant_id AND order_id = ANY(CAST(:order_ids AS text[]))
""")  # noqa: S608 - constants


async def lock_order(tx: AsyncConnection, tenant_id: str, order_id: str, at: datetime) -> None:
    """Locks the order's row, made first where it is missing: its shipments are folded in one at a time."""
    ids = {"tenant_id": tenant_id, "order_id": order_id}
    await tx.execute(_ADD_ORDER, {**ids, "status": OrderStatus.QUEUED, "at": at})
    await tx.execute(_LOCK_ORDER, ids)


async def save_orders(tx: AsyncConnection, orders: Sequence[tuple[str, str, Sequence[Shipment]]]) -> None:
    """Of each order, named by tenant and id, what follows from its shipments."""
    rows = [
        {
            "tenant_id": tenant_id,
            "order_id": order_id,
            "status": domain.derive(shipments).status,
            **vars(domain.times_of(shipments)),
        }
        for tenant_id, order_id, shipments in orders
    ]
    if rows:
        await tx.execute(_SAVE_ORDER, rows)


async def save_shipments(tx: AsyncConnection, shipments: Sequence[Keyed]) -> None:
    """Replaces what is known of them: the order is locked, and whoever calls knows what is newer."""
    if shipments:
        await tx.execute(_SAVE_SHIPMENT, [_row(*keyed) for keyed in shipments])


async def retell_shipments(tx: AsyncConnection, shipments: Sequence[Keyed]) -> None:
    """Lays snapshots aside, the newest of each shipment, for a rebuild."""
    if shipments:
        await tx.execute(_RETELL_SHIPMENT, [_row(*keyed) for keyed in shipments])


async def shipments_of(tx: AsyncConnection, tenant_id: str, order_id: str) -> list[Shipment]:
    return (await shipments_of_orders(tx, tenant_id, [order_id])).get(order_id, [])


async def shipments_of_orders(
    tx: AsyncConnection, tenant_id: str, order_ids: Sequence[str]
) -> dict[str, list[Shipment]]:
    """The shipments that are known, by order."""
    found: dict[str, list[Shipment]] = {}
    for row in await tx.execute(_SHIPMENTS_OF_ORDERS, {"tenant_id": tenant_id, "order_ids": list(order_ids)}):
        found.setdefault(row.order_id, []).append(shipment_in(row))
    return found


async def list_ids(
    tx: AsyncConnection, tenant_id: str, *, status: OrderStatus | None, after_id: str | None, limit: int
) -> list[str]:
    """Ids of orders, newest first, by an index: a page costs the same however deep it lies."""
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


def shipment_in(row: Row) -> Shipment:  # type: ignore[type-arg]
    """The snapshot in a row of order_shipment, or of one like it."""
    # A release that kept no lines still runs during an upgrade: what it wrote last, it wrote around them.
    is_whole = row.lines_version == row.version
    return Shipment(
        id=row.shipment_id,
        version=row.version,
        status=ShipmentStatus(row.status),
        shares=tuple(Share(row.shipment_id, w, qty) for w, qty in zip(row.warehouses, row.qtys, strict=True)),
        lines=tuple(map(Line, row.skus, row.ordered, row.held)) if is_whole else None,
        created_at=row.created_at,
        told_at=row.told_at if is_whole else None,
        is_told=not (row.is_hearsay and is_whole),
    )


def _row(tenant_id: str, order_id: str, shipment: Shipment) -> dict[str, object]:
    lines = shipment.lines or ()
    return {
        "tenant_id": tenant_id,
        "order_id": order_id,
        "shipment_id": shipment.id,
        "version": shipment.version,
        "status": shipment.status,
        "warehouses": [share.warehouse for share in shipment.shares],
        "qtys": [share.qty for share in shipment.shares],
        "lines_version": None if shipment.lines is None else shipment.version,
        "skus": [line.sku for line in lines],
        "ordered": [line.ordered for line in lines],
        "held": [line.held for line in lines],
        "created_at": shipment.created_at,
        "told_at": shipment.told_at,
        "is_hearsay": not shipment.is_told,
    }
