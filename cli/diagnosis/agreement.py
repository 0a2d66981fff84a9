"""What two databases say of the same shipment. Each is walked by pages; what is found counts if it stays so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import TextClause, text

from cli.diagnosis.check import FOUND_MAX, PAGE, Check, Finding, Sources
from services.orders.domain import ShipmentStatus

SETTLED_AFTER = timedelta(minutes=5)  # the news of a shipment and its effect elsewhere
_ENDED = ("shipped", "delivered", "canceled", "failed")

# Walks: rows behind the last one of the page before.
_HOLDERS = text("""
    SELECT DISTINCT h.tenant_id, h.request_id AS id FROM hold h
    WHERE h.open > 0 AND (h.tenant_id, h.request_id) > (:tenant_id, :id)
    ORDER BY 1, 2 LIMIT :limit
""")
_NEED_STOCK = text("""
    SELECT tenant_id, id, status FROM shipment
    WHERE status IN ('allocated', 'label_ready') AND updated_at < now() - CAST(:settled AS interval)
        AND (tenant_id, id) > (:tenant_id, :id)
    ORDER BY 1, 2 LIMIT :limit
""")
_SETTLED = text("""
    SELECT tenant_id, id, order_id, status FROM shipment
    WHERE updated_at < now() - CAST(:settled AS interval) AND (tenant_id, id) > (:tenant_id, :id)
    ORDER BY 1, 2 LIMIT :limit
""")

_SHIPMENTS = text("""
    SELECT s.tenant_id, s.id, s.status, s.updated_at < now() - CAST(:settled AS interval) AS is_settled
    FROM unnest(CAST(:tenants AS text[]), CAST(:ids AS text[])) AS w (tenant_id, id)
    JOIN shipment s USING (tenant_id, id)
""")
_UNITS = text("""
    SELECT h.tenant_id, h.request_id AS id, sum(h.open + h.consumed) AS units
    FROM hold h JOIN unnest(CAST(:tenants AS text[]), CAST(:ids AS text[])) AS w (tenant_id, id)
        ON h.tenant_id = w.tenant_id AND h.request_id = w.id
    GROUP BY 1, 2
""")
_KNOWN = text("""
    SELECT s.tenant_id, s.shipment_id AS id, s.status
    FROM unnest(CAST(:tenants AS text[]), CAST(:orders AS text[]), CAST(:ids AS text[])) AS w (tenant_id, order_id, id)
    JOIN order_shipment s
        ON s.tenant_id = w.tenant_id AND s.order_id = w.order_id AND s.shipment_id = w.id
""")


async def orphan_holds(sources: Sources) -> Sequence[Finding]:
    found: list[Finding] = []
    async for page in _walk(sources, "inventory", _HOLDERS):
        shipments = await _looked_up(sources, "shipments", _SHIPMENTS, page, settled=SETTLED_AFTER)
        for row in page:
            shipment = shipments.get((row.tenant_id, row.id))
            if shipment is None or (shipment.status in _ENDED and shipment.is_settled):
                state = "is not there" if shipment is None else f"is {shipment.status}"
                found.append(
                    Finding(
                        row.id,
                        f"stock is held for it, and the shipment {state} ({row.tenant_id})",
                        "Give it back by inventory's Release of this request, once it is sure that nobody waits for it",
                    )
                )
        if len(found) >= FOUND_MAX:
            break
    return found[:FOUND_MAX]


async def without_stock(sources: Sources) -> Sequence[Finding]:
    found: list[Finding] = []
    async for page in _walk(sources, "shipments", _NEED_STOCK, settled=SETTLED_AFTER):
        units = await _looked_up(sources, "inventory", _UNITS, page)
        for row in page:
            if (row.tenant_id, row.id) not in units or not units[row.tenant_id, row.id].units:
                found.append(
                    Finding(
                        row.id,
                        f"{row.status}, and inventory holds nothing for it ({row.tenant_id})",
                        "Do not send it. shipments asks inventory again within 15 minutes; if it stays so, cancel it",
                    )
                )
        if len(found) >= FOUND_MAX:
            break
    return found[:FOUND_MAX]


async def orders_behind(sources: Sources) -> Sequence[Finding]:
    """Shipments whose status orders does not know, long after it was announced."""
    found: list[Finding] = []
    async for page in _walk(sources, "shipments", _SETTLED, settled=SETTLED_AFTER):
        known = await _looked_up(sources, "orders", _KNOWN, page, orders=[row.order_id for row in page])
        for row in page:
            seen = known.get((row.tenant_id, row.id))
            if seen is None or seen.status != ShipmentStatus[row.status.upper()]:
                believed = "does not know it" if seen is None else f"has {ShipmentStatus(seen.status).name.lower()}"
                found.append(
                    Finding(
                        row.id,
                        f"{row.status}, and its order {row.order_id} {believed} ({row.tenant_id})",
                        "GET /v1/orders/{id} catches up; for many: skutrail republish --since TIME --service shipments",
                    )
                )
        if len(found) >= FOUND_MAX:
            break
    return found[:FOUND_MAX]


async def _walk(sources: Sources, service: str, query: TextClause, **asked: object) -> AsyncIterator[Sequence[Any]]:
    tenant_id = shipment_id = ""
    while True:
        async with sources.read(service) as tx:
            given = {"tenant_id": tenant_id, "id": shipment_id, "limit": PAGE, **asked}
            page = (await tx.execute(query, given)).all()
        if page:
            yield page
        if len(page) < PAGE:
            return
        tenant_id, shipment_id = page[-1].tenant_id, page[-1].id


async def _looked_up(
    sources: Sources, service: str, query: TextClause, page: Sequence[Any], **asked: object
) -> dict[tuple[str, str], Any]:
    given = {"tenants": [row.tenant_id for row in page], "ids": [row.id for row in page], **asked}
    async with sources.read(service) as tx:
        return {(row.tenant_id, row.id): row for row in await tx.execute(query, given)}


CHECKS = (
    Check("inventory: orphan holds", orphan_holds),
    Check("shipments: without stock", without_stock),
    Check("orders: behind", orders_behind),
)
