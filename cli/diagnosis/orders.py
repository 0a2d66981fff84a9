"""Orders whose stored status is not what their shipments make it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import text

from cli.diagnosis.check import FOUND_MAX, PAGE, Check, Finding, Sources
from services.orders import domain, store
from services.orders.domain import OrderStatus

_ORDERS = text("""
    SELECT tenant_id, id, status FROM sales_order
    WHERE (tenant_id, id) > (:tenant_id, :id) ORDER BY tenant_id, id LIMIT :limit
""")


async def misjudged(sources: Sources) -> Sequence[Finding]:
    found: list[Finding] = []
    tenant_id = order_id = ""
    while len(found) < FOUND_MAX:
        async with sources.read("orders") as tx:
            page = (await tx.execute(_ORDERS, {"tenant_id": tenant_id, "id": order_id, "limit": PAGE})).all()
            stored = {(row.tenant_id, row.id): OrderStatus(row.status) for row in page}
            found += _differing(stored, await store.shipments_of_orders(tx, stored))
        if len(page) < PAGE:
            break
        tenant_id, order_id = page[-1].tenant_id, page[-1].id
    return found[:FOUND_MAX]


def _differing(
    stored: Mapping[store.OrderKey, OrderStatus], shipments: Mapping[store.OrderKey, Sequence[domain.Shipment]]
) -> Iterator[Finding]:
    for key, status in stored.items():
        if _status(shipments.get(key, ())) is not status:
            yield _finding(*key, status, shipments.get(key, ()))


def _status(shipments: Sequence[domain.Shipment]) -> OrderStatus | None:
    """None for an order without shipments, which there should not be."""
    return domain.derive(shipments).status if shipments else None


def _finding(tenant_id: str, order_id: str, stored: OrderStatus, shipments: Sequence[domain.Shipment]) -> Finding:
    status = _status(shipments)
    made = status.name.lower() if status is not None else "nothing: it has none"
    text = f"stored as {stored.name.lower()}, its shipments make it {made} ({tenant_id})"
    return Finding(order_id, text, "Run skutrail rebuild orders (docs/operations.md)")


CHECKS = (Check("orders: misjudged", misjudged),)
