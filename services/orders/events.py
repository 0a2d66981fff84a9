"""What is announced, and how the contract's messages and the domain's values become each other."""

from __future__ import annotations

from datetime import datetime

from chassis import outbox
from chassis.ids import IdMaker
from services.orders.domain import Order, Share, Shipment, ShipmentStatus
from skutrail.v1 import events_pb2, orders_pb2, shipments_pb2


def shipment_of(message: shipments_pb2.Shipment) -> Shipment:
    """What an order needs to know of a shipment: units per warehouse, all SKUs together."""
    units: dict[str, int] = {}
    for line in message.allocations:
        units[line.warehouse] = units.get(line.warehouse, 0) + line.qty
    shares = tuple(Share(message.id, warehouse, qty) for warehouse, qty in sorted(units.items()))
    return Shipment(message.id, message.version, ShipmentStatus(message.status), shares)


def order_message(order_id: str, order: Order) -> orders_pb2.Order:
    return orders_pb2.Order(
        id=order_id,
        status=orders_pb2.OrderStatus.Name(order.status),
        allocations=[
            orders_pb2.OrderAllocation(warehouse=share.warehouse, qty=share.qty, shipment_id=share.shipment_id)
            for share in order.allocations
        ],
    )


def order_updated(tenant_id: str, order: orders_pb2.Order, now: datetime, new_id: IdMaker) -> events_pb2.Event:
    return outbox.make_event("order.updated", tenant_id, key=order.id, at=now, new_id=new_id, order=order)
