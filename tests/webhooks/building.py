"""Events as the other services announce them."""

from datetime import UTC, datetime

from chassis import wire
from chassis.clock import utc_now
from chassis.ids import new_id
from skutrail.v1 import events_pb2, inventory_pb2, orders_pb2, shipments_pb2

AT = datetime(2026, 4, 22, 17, 4, 11, 987_654, tzinfo=UTC)


def an_event(
    event_type: str = "inventory.updated", tenant_id: str = "acc_1:test", at: datetime | None = None, **data: object
) -> events_pb2.Event:
    """It happened just now, or at another time."""
    if not data:
        data = {"entry": an_entry()}
    occurred_at = wire.timestamp(at or utc_now())
    return events_pb2.Event(
        id=new_id("evt"), type=event_type, tenant_id=tenant_id, key="k", occurred_at=occurred_at, **data
    )


def an_entry() -> inventory_pb2.LedgerEntry:
    return inventory_pb2.LedgerEntry(
        id="inv_2p7q0fxkq3r",
        sku="SKU-0042",
        warehouse="SEA-1",
        qty=120,
        balance=420,
        seq=3,
        reason=inventory_pb2.REASON_RECEIPT,
        reference="PO-2026-00814 é",
        created_at=wire.timestamp(AT),
    )


def a_shipment() -> shipments_pb2.Shipment:
    return shipments_pb2.Shipment(
        id="shp_8c4l1x",
        status=shipments_pb2.SHIPMENT_STATUS_QUEUED,
        order_id="ord_5k2n9v",
        ship_to=shipments_pb2.Address(
            name="Ada Lovelace", line1="1 Shoreline Dr", city="Seattle", state="WA", postal="98101", country="US"
        ),
        line_items=[inventory_pb2.StockLine(sku="SKU-0042", qty=2)],
        created_at=wire.timestamp(AT),
        updated_at=wire.timestamp(AT),
        version=7,
    )


def an_order() -> orders_pb2.Order:
    allocation = orders_pb2.OrderAllocation(warehouse="SEA-1", qty=2, shipment_id="shp_8c4l1x")
    return orders_pb2.Order(id="ord_5k2n9v", status=orders_pb2.ORDER_STATUS_ALLOCATED, allocations=[allocation])
