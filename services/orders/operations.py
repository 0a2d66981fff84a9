"""What orders do: fold the news of shipments into their order, and tell an order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox, trace
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline, within
from chassis.trace import Trace
from services.orders import domain, events, store
from services.orders.domain import OrderStatus, Shipment
from services.orders.store import OrderKey
from skutrail.v1 import events_pb2, orders_pb2


class News(NamedTuple):
    """A snapshot of a shipment of an order, and the request that made it so."""

    tenant_id: str
    order_id: str
    shipment: Shipment
    cause: Trace


async def fold(pipeline: Pipeline, news: Sequence[News], now: datetime, new_id: IdMaker) -> bool:
    """Takes in snapshots of shipments of any orders, each once or often, in any order; announces the orders that they
    change, each once, as it is then. False where they change none.

    The version decides what is newer, so no inbox is needed: an event may come twice, late, or after the order was
    asked for.
    """
    heard = _by_order(news)
    # Most orders that are new have one shipment: they are added as they stay.
    alone = {key: with_news({}, (one.shipment for one in of_one)) for key, of_one in heard.items()}
    pipeline.tell(*store.adding_orders({key: list(one.values()) for key, one in alone.items()}, now))
    _, rows = await pipeline.ask(store.locking_orders(heard), store.reading_shipments(heard))
    known = store.shipments_in(rows)
    folded = [_Folded(key, known.get(key, []), of_one) for key, of_one in heard.items()]
    changed = [order for order in folded if order.changed]
    if changed:
        pipeline.tell(*store.saving_shipments((*order.key, one) for order in changed for one in order.changed))
        pipeline.tell(*store.saving_orders({order.key: order.after for order in changed}))
    differing = [order for order in changed if domain.is_news(order.before, order.after)]
    announced = [announcement(*order.key, order.after, now, new_id, order.cause) for order in differing]
    outbox.tell(pipeline, announced)
    return bool(announced)


async def fold_shipments(
    tx: AsyncConnection,
    tenant_id: str,
    order_id: str,
    shipments: Sequence[Shipment],
    now: datetime,
    new_id: IdMaker,
) -> bool:
    """The same for snapshots of the shipments of one order."""
    news = [News(tenant_id, order_id, shipment, trace.current()) for shipment in shipments]
    return await within(tx, lambda pipeline: fold(pipeline, news, now, new_id))


class _Folded:
    """An order before and after the news of it."""

    def __init__(self, key: OrderKey, before: Collection[Shipment], news: Sequence[News]) -> None:
        known = {shipment.id: shipment for shipment in before}
        self.key = key
        self.before = before
        self.after = list(with_news(known, (one.shipment for one in news)).values())
        self.changed = [shipment for shipment in self.after if shipment != known.get(shipment.id)]
        # Of several requests that made it what it is, the last that brought something new.
        kept = [one.cause for one in news if one.shipment in self.changed]
        self.cause = kept[-1] if kept else news[-1].cause


def _by_order(news: Iterable[News]) -> dict[OrderKey, list[News]]:
    by_order: dict[OrderKey, list[News]] = {}
    for one in news:
        by_order.setdefault((one.tenant_id, one.order_id), []).append(one)
    return by_order


def with_news(known: Mapping[str, Shipment], news: Iterable[Shipment]) -> dict[str, Shipment]:
    """The shipments of an order, by id, after the news."""
    after = dict(known)
    for shipment in news:
        after[shipment.id] = domain.newest(after.get(shipment.id), shipment)
    return after


def announcement(
    tenant_id: str, order_id: str, shipments: Collection[Shipment], now: datetime, new_id: IdMaker, cause: Trace
) -> events_pb2.Event:
    order = events.order_message(order_id, domain.derive(shipments))
    return events.order_updated(tenant_id, order, now, new_id, cause)


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
    shipments = await store.shipments_of_orders(tx, [(tenant_id, order_id) for order_id in ids[:limit]])
    orders = [events.order_message(order_id, domain.derive(shipments[tenant_id, order_id])) for order_id in ids[:limit]]
    return orders_pb2.ListOrdersReply(orders=orders, has_more=len(ids) > limit)
