"""What a shipment is and how it lives. Pure: time and keys come in, new values and the events that explain them go out.

A status changes only through TRANSITIONS. Labels and stock have lives of their own and are only looked at here:
stock is inventory's (`Stock`, ordered by its version), a label is the carrier's (`Parcel`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from chassis.errors import Fault


class Status(StrEnum):
    QUEUED = "queued"
    BACKORDERED = "backordered"
    ALLOCATED = "allocated"
    LABEL_READY = "label_ready"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELED = "canceled"
    FAILED = "failed"


class Fact(StrEnum):
    """What can happen to a shipment."""

    STOCK_HELD = "stock_held"
    STOCK_WAITING = "stock_waiting"
    STOCK_FAILED = "stock_failed"
    LABELS_READY = "labels_ready"
    CARRIER_FAILED = "carrier_failed"
    CANCELED = "canceled"
    DISPATCHED = "dispatched"
    DELIVERED = "delivered"


TRANSITIONS: Mapping[Status, Mapping[Fact, Status]] = {
    Status.QUEUED: {
        Fact.STOCK_HELD: Status.ALLOCATED,
        Fact.STOCK_WAITING: Status.BACKORDERED,
        Fact.STOCK_FAILED: Status.FAILED,
        Fact.CANCELED: Status.CANCELED,
    },
    Status.BACKORDERED: {
        Fact.STOCK_HELD: Status.ALLOCATED,
        Fact.STOCK_WAITING: Status.BACKORDERED,
        Fact.STOCK_FAILED: Status.FAILED,
        Fact.CANCELED: Status.CANCELED,
    },
    Status.ALLOCATED: {
        Fact.LABELS_READY: Status.LABEL_READY,
        Fact.CARRIER_FAILED: Status.FAILED,
        Fact.CANCELED: Status.CANCELED,
        # A shortfall took the stock away; and stock held again elsewhere may be heard of before its loss is.
        Fact.STOCK_WAITING: Status.BACKORDERED,
        Fact.STOCK_HELD: Status.ALLOCATED,
        Fact.STOCK_FAILED: Status.FAILED,
    },
    Status.LABEL_READY: {
        Fact.DISPATCHED: Status.SHIPPED,
        Fact.CANCELED: Status.CANCELED,
        Fact.STOCK_WAITING: Status.BACKORDERED,
        Fact.STOCK_HELD: Status.ALLOCATED,
        Fact.STOCK_FAILED: Status.FAILED,
    },
    Status.SHIPPED: {Fact.DELIVERED: Status.DELIVERED},
    Status.DELIVERED: {},
    Status.CANCELED: {},
    Status.FAILED: {},
}

# The event that tells of a status, by the status that was entered.
EVENT_TYPES: Mapping[Status, str] = {
    Status.QUEUED: "shipment.created",
    **{status: f"shipment.{status}" for status in Status if status is not Status.QUEUED},
}

# Rows of (SKU, warehouse) that stock may be held in. An event carries the whole shipment and must stay below 1 MiB: a
# row takes up to 535 bytes and its parcel as many, all the rest 50 KiB (names of 64 characters, 4 bytes each).
HELD_LINES_MAX = 900


class LabelStatus(StrEnum):
    NONE = "none"
    PURCHASING = "purchasing"
    READY = "ready"
    UNKNOWN = "unknown"


class StockStatus(StrEnum):
    """The life of an allocation, as inventory tells it."""

    WAITING = "waiting"
    HELD = "held"
    RELEASED = "released"
    CONSUMED = "consumed"


@dataclass(frozen=True)
class Address:
    name: str
    line1: str
    line2: str | None
    city: str
    state: str | None
    postal: str
    country: str
    """ISO 3166-1 alpha-2."""


@dataclass(frozen=True)
class Line:
    sku: str
    qty: int
    """Units, 1 or more."""


@dataclass(frozen=True)
class HeldLine:
    sku: str
    warehouse: str
    qty: int


@dataclass(frozen=True)
class Stock:
    """What inventory holds for a shipment, since which change of it."""

    status: StockStatus
    version: int
    held: Sequence[HeldLine]


@dataclass(frozen=True)
class Attempt:
    """A purchase under way. Stored before the carrier hears of it."""

    key: str
    """The carrier's idempotency key: the same for every try."""
    try_id: str
    """The latest try. Whoever made an earlier one has no say any more."""
    began_at: datetime
    """Patience is counted from here: the first try, moved on by the time in which nobody tried."""
    tried_at: datetime
    """When it was last tried."""
    leased_until: datetime
    """Until then whoever made the latest try is at it, and nobody else."""
    sent_at: datetime | None
    """When the carrier was last told to sell; None while nothing can have been bought."""


@dataclass(frozen=True)
class Parcel:
    """The box that leaves one warehouse. At most one label is ever bought for it."""

    warehouse: str
    reference: str
    """Its id: the shipment's and a number that stays."""
    label_status: LabelStatus = LabelStatus.NONE
    tracking_number: str | None = None
    attempt: Attempt | None = None


@dataclass(frozen=True)
class Failure:
    code: str
    message: str


@dataclass(frozen=True)
class Shipment:
    tenant_id: str
    id: str
    order_id: str
    status: Status
    ship_to: Address
    line_items: Sequence[Line]
    carrier_hint: str | None
    created_at: datetime
    updated_at: datetime
    carrier: str | None = None
    service: str | None = None
    allocations: Sequence[HeldLine] = ()
    opened_parcels: Sequence[Parcel] = ()
    """Every parcel there ever was, in the order of their numbers: a label that was bought is never forgotten."""
    error: Failure | None = None
    version: int = 1
    """Rises by one with every change."""
    allocation_version: int = 0
    """The newest change of its stock that it has heard of."""

    @property
    def parcels(self) -> Sequence[Parcel]:
        """The parcels that stock is held for, in the order of the allocation."""
        by_warehouse = {parcel.warehouse: parcel for parcel in self.opened_parcels}
        return [by_warehouse[warehouse] for warehouse in _warehouses(self.allocations)]

    def parcel(self, warehouse: str) -> Parcel:
        return next(parcel for parcel in self.opened_parcels if parcel.warehouse == warehouse)


@dataclass(frozen=True)
class ShipmentEvent:
    """Something to announce, with the shipment as it then is."""

    type: str
    shipment: Shipment


Decision = tuple[Shipment, Sequence[ShipmentEvent]]


@dataclass(frozen=True)
class ShipmentRequest:
    """What a caller asks for."""

    tenant_id: str
    order_id: str
    ship_to: Address
    line_items: Sequence[Line]
    carrier_hint: str | None


def create(request: ShipmentRequest, *, shipment_id: str, now: datetime) -> Decision:
    """A queued shipment, of a request that was checked (requests.py)."""
    shipment = Shipment(
        tenant_id=request.tenant_id,
        id=shipment_id,
        order_id=request.order_id,
        status=Status.QUEUED,
        ship_to=request.ship_to,
        line_items=tuple(request.line_items),
        carrier_hint=request.carrier_hint,
        created_at=now,
        updated_at=now,
    )
    return shipment, [_announce(shipment)]


def follow_stock(shipment: Shipment, stock: Stock, now: datetime) -> Decision:
    """Applies what inventory holds. News older than the newest heard, or repeated, changes nothing."""
    if stock.version <= shipment.allocation_version:
        return shipment, []
    heard = replace(shipment, allocation_version=stock.version)
    error = _error_of(stock)
    fact = Fact.STOCK_FAILED if error is not None else _FACT_OF_STOCK[stock.status]
    if fact not in TRANSITIONS[shipment.status]:
        return _changed(heard, now), []  # what has ended or left is not moved by its stock any more
    if error is not None:
        return moved(shipment, replace(heard, allocations=(), error=error), fact, now)
    held = tuple(stock.held) if fact is Fact.STOCK_HELD else ()
    if held and held == tuple(shipment.allocations):
        return _changed(heard, now), []  # picked, or held again where it was: its labels stay as they are
    sourced = replace(heard, allocations=held, opened_parcels=_open_parcels(shipment, held, now))
    return moved(shipment, sourced, fact, now)


def step(status: Status, fact: Fact) -> Status:
    """The next status. Raises Fault `invalid_state` where the fact does not apply."""
    if fact not in TRANSITIONS[status]:
        raise Fault("invalid_state", f"The shipment is {status}: {fact} does not apply.", current_status=status)
    return TRANSITIONS[status][fact]


def moved(before: Shipment, after: Shipment, fact: Fact, now: datetime) -> Decision:
    """Takes the step, and announces it if a reader could see a difference."""
    after = replace(_changed(after, now), status=step(before.status, fact), version=before.version + 1)
    is_visible = (after.status, after.allocations) != (before.status, before.allocations)
    return after, [_announce(after)] if is_visible else []


def with_parcel(shipment: Shipment, parcel: Parcel, now: datetime) -> Shipment:
    """The shipment with one of its parcels changed."""
    opened = tuple(parcel if p.warehouse == parcel.warehouse else p for p in shipment.opened_parcels)
    return _changed(replace(shipment, opened_parcels=opened), now)


def _changed(shipment: Shipment, now: datetime) -> Shipment:
    # Clocks differ, and one that was read before the wait for the row is late: time never runs backwards all the same.
    return replace(shipment, version=shipment.version + 1, updated_at=max(now, shipment.updated_at))


_FACT_OF_STOCK: Mapping[StockStatus, Fact] = {
    StockStatus.WAITING: Fact.STOCK_WAITING,
    StockStatus.HELD: Fact.STOCK_HELD,
    # The warehouse was quicker than the news of the hold. What was picked still counts as held for the shipment.
    StockStatus.CONSUMED: Fact.STOCK_HELD,
}


def _error_of(stock: Stock) -> Failure | None:
    """Why a shipment that goes on cannot leave with this stock."""
    if stock.status is StockStatus.RELEASED:  # we release for what has ended alone: somebody else did it, for good
        return Failure("stock_released", "The stock of this shipment was given back.")
    if len(stock.held) > HELD_LINES_MAX:
        return Failure("stock_scattered", "The stock of this shipment lies in too many places.")
    return None


def _announce(shipment: Shipment) -> ShipmentEvent:
    return ShipmentEvent(EVENT_TYPES[shipment.status], shipment)


def _open_parcels(shipment: Shipment, held: Sequence[HeldLine], now: datetime) -> Sequence[Parcel]:
    """All parcels, with one for every warehouse of `held`. Where stock comes back to, patience begins anew."""
    back = set(_warehouses(held)) - set(_warehouses(shipment.allocations))
    opened = [_with_new_patience(p, now) if p.warehouse in back else p for p in shipment.opened_parcels]
    for warehouse in _warehouses(held):
        if warehouse not in {parcel.warehouse for parcel in opened}:
            opened.append(Parcel(warehouse, reference=f"{shipment.id}-{len(opened) + 1}"))
    return tuple(opened)


def _with_new_patience(parcel: Parcel, now: datetime) -> Parcel:
    if parcel.attempt is None:
        return parcel
    return replace(parcel, attempt=replace(parcel.attempt, began_at=now, tried_at=now))


def _warehouses(held: Sequence[HeldLine]) -> Sequence[str]:
    return list(dict.fromkeys(line.warehouse for line in held))
