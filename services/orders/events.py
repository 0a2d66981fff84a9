"""What is announced, and how the contract's messages and the domain's values become each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from chassis import wire
from chassis.ids import IdMaker
from chassis.trace import Trace
from services.orders.domain import Line, Order, OrderLine, Share, Shipment, ShipmentStatus
from skutrail.v1 import events_pb2, orders_pb2, shipments_pb2


def shipment_of(message: shipments_pb2.Shipment, told_at: datetime | None) -> Shipment:
    """What an order needs to know of a shipment. `told_at` is when the event happened, None for an answer."""
    ordered, held, units = Counter[str](), Counter[str](), Counter[str]()
    for asked in message.line_items:
        ordered[asked.sku] += asked.qty
    for line in message.allocations:
        held[line.sku] += line.qty
        units[line.warehouse] += line.qty
    return Shipment(
        id=message.id,
        version=message.version,
        status=ShipmentStatus(message.status),
        shares=tuple(Share(message.id, warehouse, units[warehouse]) for warehouse in sorted(units)),
        lines=tuple(Line(sku, ordered[sku], held[sku]) for sku in sorted(ordered)),
        created_at=wire.moment(message.created_at),
        told_at=told_at,
        is_told=told_at is not None,
    )


def order_message(order_id: str, order: Order) -> orders_pb2.Order:
    return orders_pb2.Order(
        id=order_id,
        status=orders_pb2.OrderStatus.Name(order.status),
        allocations=[
            orders_pb2.OrderAllocation(warehouse=share.warehouse, qty=share.qty, shipment_id=share.shipment_id)
            for share in order.allocations
        ],
    )


def lines_message(lines: Sequence[OrderLine], *, has_more: bool) -> orders_pb2.OrderLines:
    return orders_pb2.OrderLines(lines=[orders_pb2.OrderLine(**vars(line)) for line in lines], has_more=has_more)


def order_updated(
    tenant_id: str, order: orders_pb2.Order, now: datetime, new_id: IdMaker, cause: Trace
) -> events_pb2.Event:
    return events_pb2.Event(
        id=new_id("evt"),
        type="order.updated",
        tenant_id=tenant_id,
        key=order.id,
        occurred_at=wire.timestamp(now),
        traceparent=cause.traceparent,
        order=order,
    )
