"""How an order follows from its shipments. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum


class ShipmentStatus(IntEnum):
    """The values of the contract."""

    QUEUED = 1
    BACKORDERED = 2
    ALLOCATED = 3
    LABEL_READY = 4
    SHIPPED = 5
    DELIVERED = 6
    CANCELED = 7
    FAILED = 8


class OrderStatus(IntEnum):
    """The values of the contract."""

    QUEUED = 1
    BACKORDERED = 2
    PARTIALLY_ALLOCATED = 3
    ALLOCATED = 4
    PARTIALLY_SHIPPED = 5
    SHIPPED = 6
    DELIVERED = 7
    CANCELED = 8
    FAILED = 9


_ENDED_WITHOUT_GOODS = {ShipmentStatus.CANCELED, ShipmentStatus.FAILED}
_LEFT = {ShipmentStatus.SHIPPED, ShipmentStatus.DELIVERED}
_HAS_STOCK = {ShipmentStatus.ALLOCATED, ShipmentStatus.LABEL_READY, *_LEFT}


@dataclass(frozen=True, order=True)
class Share:
    """Units that one warehouse gives to one shipment, all its SKUs together."""

    shipment_id: str
    warehouse: str
    qty: int


@dataclass(frozen=True)
class Shipment:
    """What an order needs to know of a shipment: a snapshot, and how new it is."""

    id: str
    version: int
    status: ShipmentStatus
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Order:
    status: OrderStatus
    allocations: tuple[Share, ...]


def derive(shipments: Collection[Shipment]) -> Order:
    """The order that these shipments, one at least, make."""
    return Order(_status({s.status for s in shipments}), tuple(sorted(_allocations(shipments))))


def _status(statuses: set[ShipmentStatus]) -> OrderStatus:
    live = statuses - _ENDED_WITHOUT_GOODS
    if not live:
        return OrderStatus.FAILED if ShipmentStatus.FAILED in statuses else OrderStatus.CANCELED
    if live == {ShipmentStatus.DELIVERED}:
        return OrderStatus.DELIVERED
    if live & _LEFT:
        return OrderStatus.SHIPPED if live <= _LEFT else OrderStatus.PARTIALLY_SHIPPED
    if live & _HAS_STOCK:
        return OrderStatus.ALLOCATED if live <= _HAS_STOCK else OrderStatus.PARTIALLY_ALLOCATED
    return OrderStatus.BACKORDERED if ShipmentStatus.BACKORDERED in live else OrderStatus.QUEUED


def _allocations(shipments: Iterable[Shipment]) -> Iterable[Share]:
    for shipment in shipments:
        if shipment.status in _HAS_STOCK:
            yield from shipment.shares
