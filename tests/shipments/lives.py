"""Shipments at points of their life, made by the domain alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.shipments import domain, following, purchasing
from services.shipments.domain import Address, Failure, HeldLine, Line, Shipment, ShipmentRequest, Stock, StockStatus

NOW = datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
LEASE = timedelta(seconds=10)
ADA = Address("Ada Lovelace", "1 Shoreline Dr", None, "Seattle", "WA", "98101", "US")
REQUEST = ShipmentRequest("acc_1:test", "ord_1", ADA, (Line("SKU-0042", 2),), "ups_ground")
LOST = Failure("carrier_unavailable", "down")


def held(version: int, *warehouses: str, status: StockStatus = StockStatus.HELD) -> Stock:
    return Stock(status, version, [HeldLine("SKU-0042", warehouse, 1) for warehouse in warehouses])


def waiting(version: int, *warehouses: str) -> Stock:
    return held(version, *warehouses, status=StockStatus.WAITING)


def queued() -> Shipment:
    return domain.create(REQUEST, shipment_id="shp_1", now=NOW)[0]


def short() -> Shipment:
    return following.follow_stock(queued(), waiting(1), NOW)[0]


def allocated(*warehouses: str) -> Shipment:
    return following.follow_stock(queued(), held(1, *warehouses or ("SEA-1",)), NOW)[0]


def buying(shipment: Shipment, number: int = 1, *, try_id: str = "att_1", now: datetime = NOW) -> Shipment:
    return purchasing.begin_purchase(shipment, number, try_id=try_id, leased_until=now + LEASE, now=now)


def labeled(shipment: Shipment, *numbers: int) -> Shipment:
    for number in numbers or (1,):
        shipment = buying(shipment, number)
        shipment = purchasing.keep_label(
            shipment, number, tracking_number=f"T-{number}", carrier="sandbox", service="ground", now=NOW
        )[0]
    return shipment


def types(events: Sequence[domain.ShipmentEvent]) -> list[str]:
    return [event.type for event in events]
