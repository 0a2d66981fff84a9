"""How an order follows from its shipments, and which snapshot of a shipment is remembered. Pure.

An order's status, by its shipments; the first row that holds is the one:

    none but canceled and failed ones, one of them failed     failed
    none but canceled ones                                    canceled
                           of the others, which go on or arrived:
    all are delivered                                         delivered
    all are shipped or delivered                              shipped
    one is                                                    partially_shipped
    all are allocated or beyond                               allocated
    one is, or waits with some of its units held              partially_allocated
    one waits for stock                                       backordered
    otherwise                                                 queued
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
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
class Line:
    """Units of one SKU in one shipment: asked for, and of those held, whichever the warehouse."""

    sku: str
    ordered: int
    held: int


@dataclass(frozen=True)
class Shipment:
    """What an order needs to know of a shipment: a snapshot, and how new it is."""

    id: str
    version: int
    status: ShipmentStatus
    shares: tuple[Share, ...] = ()
    lines: tuple[Line, ...] | None = ()
    """By SKU. None while they are not known: a release that kept none wrote this."""
    created_at: datetime | None = None
    """When the shipment was; None where its lines are not known."""
    told_at: datetime | None = None
    """When the event happened that told this; None where no event did, or a release wrote it that kept no times."""
    is_told: bool = True
    """False for an answer of shipments, which is ahead of the events."""


@dataclass(frozen=True)
class Order:
    status: OrderStatus
    allocations: tuple[Share, ...]


@dataclass(frozen=True)
class OrderLine:
    """Units of one SKU, all shipments of an order together: ordered = waiting + allocated + shipped + canceled."""

    sku: str
    ordered: int = 0
    waiting: int = 0
    allocated: int = 0
    shipped: int = 0
    canceled: int = 0

    def with_(self, status: ShipmentStatus, line: Line) -> OrderLine:
        """With the units of one more shipment. Each of them counts in one place, and there alone."""
        more = replace(self, ordered=self.ordered + line.ordered)
        if status in _ENDED_WITHOUT_GOODS:
            return replace(more, canceled=more.canceled + line.ordered)
        if status in _LEFT:
            return replace(more, shipped=more.shipped + line.ordered)
        waiting = line.ordered - line.held
        return replace(more, waiting=more.waiting + waiting, allocated=more.allocated + line.held)


@dataclass(frozen=True)
class Times:
    """When the first shipment of an order came, and when one was last heard to change; None where nothing tells."""

    created_at: datetime | None
    updated_at: datetime | None


def derive(shipments: Collection[Shipment]) -> Order:
    """The order that these shipments, one at least, make."""
    return Order(_status(shipments), tuple(sorted(_allocations(shipments))))


def lines_of(shipments: Iterable[Shipment]) -> tuple[OrderLine, ...] | None:
    """What became of each SKU, by SKU; None where the lines of one of the shipments are not known."""
    lines: dict[str, OrderLine] = {}
    for shipment in shipments:
        if shipment.lines is None:
            return None
        for line in shipment.lines:
            lines[line.sku] = lines.get(line.sku, OrderLine(line.sku)).with_(shipment.status, line)
    return tuple(lines[sku] for sku in sorted(lines))


def times_of(shipments: Collection[Shipment]) -> Times:
    """They follow from what was told, not from when it was heard: told again it gives the same times."""
    created = [shipment.created_at for shipment in shipments if shipment.created_at]
    changed = [at for shipment in shipments if (at := shipment.told_at or shipment.created_at)]
    return Times(min(created) if len(created) == len(shipments) else None, max(changed, default=None))


def is_news(before: Collection[Shipment], after: Collection[Shipment]) -> bool:
    """Whether who reads the order sees a difference: in its status, its allocations, or its lines."""
    if not before or derive(before) != derive(after):
        return True
    lines_before, lines_after = lines_of(before), lines_of(after)
    # Lines that were not known are no other lines for that.
    return None not in (lines_before, lines_after) and lines_before != lines_after


def newest(known: Shipment | None, news: Shipment) -> Shipment:
    """What to remember of a shipment: what was announced last, in whichever order it is heard of, and however often.

    An answer of shipments is ahead of the events under way, and may have a version that no event will have: not every
    change is announced. So it only stands in until an event says the same, or is newer.
    """
    if known is None:
        return news
    says_the_same = _says_the_same(known, news)
    if news.is_told:
        is_awaited = not known.is_told and says_the_same
        return news if is_awaited or news.version >= known.version else known
    if known.is_told and says_the_same:
        return replace(known, lines=news.lines, created_at=news.created_at) if known.lines is None else known
    return news if news.version > known.version else known


def _says_the_same(known: Shipment, news: Shipment) -> bool:
    is_same = (known.status, known.shares) == (news.status, news.shares)
    return is_same and known.lines in (None, news.lines)


def _status(shipments: Collection[Shipment]) -> OrderStatus:
    live = [shipment for shipment in shipments if shipment.status not in _ENDED_WITHOUT_GOODS]
    statuses = {shipment.status for shipment in live}
    if not live:
        has_failed = any(shipment.status is ShipmentStatus.FAILED for shipment in shipments)
        return OrderStatus.FAILED if has_failed else OrderStatus.CANCELED
    if statuses == {ShipmentStatus.DELIVERED}:
        return OrderStatus.DELIVERED
    if statuses & _LEFT:
        return OrderStatus.SHIPPED if statuses <= _LEFT else OrderStatus.PARTIALLY_SHIPPED
    if statuses <= _HAS_STOCK:
        return OrderStatus.ALLOCATED
    if statuses & _HAS_STOCK or any(shipment.shares for shipment in live):
        return OrderStatus.PARTIALLY_ALLOCATED
    return OrderStatus.BACKORDERED if ShipmentStatus.BACKORDERED in statuses else OrderStatus.QUEUED


def _allocations(shipments: Iterable[Shipment]) -> Iterable[Share]:
    for shipment in shipments:
        if shipment.status not in _ENDED_WITHOUT_GOODS:
            yield from shipment.shares
