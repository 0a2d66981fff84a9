"""What is remembered: orders, and the newest snapshot of each of their shipments. Queries only."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.orders import domain
from services.orders.domain import Line, OrderStatus, Share, Shipment, ShipmentStatus

OrderKey = tuple[str, str]
"""Tenant id and order id."""
Keyed = tuple[str, str, Shipment]
"""A shipment of an order of a tenant: tenant id, order id, snapshot."""
Orders = Mapping[OrderKey, Collection[Shipment]]
"""All shipments of each order."""
Query = tuple[TextClause, Mapping[str, Any]]
"""A statement and its parameters, for whoever sends it along with others (chassis/pipeline.py)."""

_ORDERS = "unnest(CAST(:tenants AS text[]), CAST(:orders AS text[])) AS wanted (tenant_id, order_id)"

# In key order, as the locks behind it: two batches that add the same orders must not deadlock.
_ADD_ORDERS = text("""
    INSERT INTO sales_order (tenant_id, id, status, created_at, updated_at)
    SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:orders AS text[]), CAST(:statuses AS smallint[]),
        CAST(:created AS timestamptz[]), CAST(:updated AS timestamptz[]))
    ON CONFLICT DO NOTHING
""")

# LATERAL with LIMIT: one look-up by primary key per wanted row, however little the planner knows about the table.
_LOCK_ORDERS = text(f"""
    SELECT 1 FROM {_ORDERS} CROSS JOIN LATERAL (
        SELECT 1 FROM sales_order o WHERE o.tenant_id = wanted.tenant_id AND o.id = wanted.order_id LIMIT 1 FOR UPDATE
    ) o
""")  # noqa: S608 - constants

# An upsert of rows that are there, for they were added: found by the primary key, whatever the planner thinks of the
# table. What nothing tells (-infinity) stays as it is, and a row that is so already is left alone. (WHERE true: without
# it ON would begin the condition of a join.)
_CREATED = "COALESCE(NULLIF(excluded.created_at, '-infinity'), o.created_at)"
_UPDATED = "COALESCE(NULLIF(excluded.updated_at, '-infinity'), o.updated_at)"
_SAVE_ORDERS = text(f"""
    INSERT INTO sales_order AS o (tenant_id, id, status, created_at, updated_at)
    SELECT tenant_id, id, status, COALESCE(created_at, '-infinity'), COALESCE(updated_at, '-infinity')
    FROM unnest(CAST(:tenants AS text[]), CAST(:orders AS text[]), CAST(:statuses AS smallint[]),
        CAST(:created AS timestamptz[]), CAST(:updated AS timestamptz[]))
        AS new (tenant_id, id, status, created_at, updated_at)
    WHERE true
    ON CONFLICT (tenant_id, id) DO UPDATE
        SET status = excluded.status, created_at = {_CREATED}, updated_at = {_UPDATED}
        WHERE (o.status, o.created_at, o.updated_at) IS DISTINCT FROM (excluded.status, {_CREATED}, {_UPDATED})
""")  # noqa: S608 - constants

_COLUMNS = """
    version, status, warehouses, qtys, lines_version, skus, ordered, held, created_at, told_at, is_hearsay
"""
# As JSON, because unnest would make one list of the lists of all.
_SAVE = f"""
    INSERT INTO {{table}} AS s (tenant_id, order_id, shipment_id, {_COLUMNS})
    SELECT tenant_id, order_id, shipment_id, {_COLUMNS}
    FROM json_to_recordset(CAST(:shipments AS json)) AS new (
        tenant_id text, order_id text, shipment_id text, version bigint, status smallint,
        warehouses text[], qtys bigint[], lines_version bigint, skus text[], ordered bigint[], held bigint[],
        created_at timestamptz, told_at timestamptz, is_hearsay boolean
    )
    ON CONFLICT (tenant_id, order_id, shipment_id) DO UPDATE
        SET ({_COLUMNS}) = ROW (excluded.version, excluded.status, excluded.warehouses, excluded.qtys,
            excluded.lines_version, excluded.skus, excluded.ordered, excluded.held,
            excluded.created_at, excluded.told_at, excluded.is_hearsay)
"""  # noqa: S608 - constants
_SAVE_SHIPMENTS = text(_SAVE.format(table="order_shipment"))
# In the log a shipment's newest event need not be the last that is read: identity values do not commit in order.
_RETELL_SHIPMENTS = text(_SAVE.format(table="retold_shipment") + "WHERE s.version <= excluded.version")

_LIST = """
    SELECT id FROM sales_order WHERE {conditions} ORDER BY created_at DESC, id DESC LIMIT :limit
"""
_BEHIND = """(created_at, id) < (
    SELECT created_at, id FROM sales_order WHERE tenant_id = :tenant_id AND id = :after_id
)"""

_SHIPMENTS_MAX = 100_000  # per order

_SHIPMENTS_OF_ORDERS = text(f"""
    SELECT s.* FROM {_ORDERS} CROSS JOIN LATERAL (
        SELECT tenant_id, order_id, shipment_id, {_COLUMNS} FROM order_shipment s
        WHERE s.tenant_id = wanted.tenant_id AND s.order_id = wanted.order_id LIMIT {_SHIPMENTS_MAX}
    ) s
""")  # noqa: S608 - constants


def adding_orders(orders: Orders, now: datetime) -> Query:
    """Adds those of the orders that are not there, as these shipments alone make them."""
    query = _order_columns(orders)
    return _ADD_ORDERS, {
        **query,
        "created": [at or now for at in query["created"]],
        "updated": [at or now for at in query["updated"]],
    }


def locking_orders(keys: Iterable[OrderKey]) -> Query:
    """Locks the orders' rows: the shipments of one are folded in by one transaction at a time."""
    return _LOCK_ORDERS, _key_columns(keys)


def saving_orders(orders: Orders) -> Query:
    """Saves of each order what follows from its shipments."""
    return _SAVE_ORDERS, _order_columns(orders)


def saving_shipments(shipments: Iterable[Keyed]) -> Query:
    """Replaces what is known of them: the orders are locked, and whoever saves knows what is newer."""
    return _SAVE_SHIPMENTS, {"shipments": _json(shipments)}


def retelling_shipments(shipments: Iterable[Keyed]) -> Query:
    """Lays snapshots aside, the newest of each shipment, for a rebuild."""
    return _RETELL_SHIPMENTS, {"shipments": _json(shipments)}


def reading_shipments(keys: Iterable[OrderKey]) -> Query:
    """The shipments that are known of the orders; `shipments_in` takes its rows."""
    return _SHIPMENTS_OF_ORDERS, _key_columns(keys)


def shipments_in(rows: Iterable[Any]) -> dict[OrderKey, list[Shipment]]:
    """By order; none of one that is not known."""
    found: dict[OrderKey, list[Shipment]] = {}
    for row in rows:
        found.setdefault((row.tenant_id, row.order_id), []).append(shipment_in(row))
    return found


async def shipments_of(tx: AsyncConnection, tenant_id: str, order_id: str) -> list[Shipment]:
    key = tenant_id, order_id
    return (await shipments_of_orders(tx, [key])).get(key, [])


async def shipments_of_orders(tx: AsyncConnection, keys: Iterable[OrderKey]) -> dict[OrderKey, list[Shipment]]:
    return shipments_in(await tx.execute(*reading_shipments(keys)))


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


def shipment_in(row: Any) -> Shipment:
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


def _key_columns(keys: Iterable[OrderKey]) -> dict[str, list[str]]:
    ordered = sorted(keys)
    return {"tenants": [tenant_id for tenant_id, _ in ordered], "orders": [order_id for _, order_id in ordered]}


def _order_columns(orders: Orders) -> dict[str, list[Any]]:
    ordered = sorted(orders)
    times = [domain.times_of(orders[key]) for key in ordered]
    return {
        **_key_columns(ordered),
        "statuses": [int(domain.derive(orders[key]).status) for key in ordered],
        "created": [one.created_at for one in times],
        "updated": [one.updated_at for one in times],
    }


def _json(shipments: Iterable[Keyed]) -> str:
    return json.dumps([_row(*keyed) for keyed in shipments], default=datetime.isoformat)


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
