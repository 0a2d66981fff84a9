"""What a shipment is and how it lives. Pure: time and keys come in, new values and the events that explain them go out.

A status changes only through TRANSITIONS, a label only through LABEL_TRANSITIONS. Stock has a life of its own and is
only looked at here (`Stock`, ordered by its version): whether a shipment left or was canceled is decided where it lies.
How stock moves a shipment stands in following.py, what moves a label in purchasing.py and voiding.py.
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
        # Whoever asked for it, and whatever of the way there was not heard of: it has left.
        Fact.DISPATCHED: Status.SHIPPED,
    },
    Status.BACKORDERED: {
        Fact.STOCK_HELD: Status.ALLOCATED,
        Fact.STOCK_WAITING: Status.BACKORDERED,
        Fact.STOCK_FAILED: Status.FAILED,
        Fact.CANCELED: Status.CANCELED,
        Fact.DISPATCHED: Status.SHIPPED,
    },
    Status.ALLOCATED: {
        Fact.LABELS_READY: Status.LABEL_READY,
        Fact.CARRIER_FAILED: Status.FAILED,
        Fact.CANCELED: Status.CANCELED,
        # A shortfall took the stock away; and stock held again elsewhere may be heard of before its loss is.
        Fact.STOCK_WAITING: Status.BACKORDERED,
        Fact.STOCK_HELD: Status.ALLOCATED,
        Fact.STOCK_FAILED: Status.FAILED,
        Fact.DISPATCHED: Status.SHIPPED,
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

# Statuses in which goods are, or were, taken from the warehouses: only there a parcel is of use.
DRAWS = (Status.ALLOCATED, Status.LABEL_READY, Status.SHIPPED, Status.DELIVERED)
_ENDED_WITHOUT_GOODS = (Status.CANCELED, Status.FAILED)

# Rows of (SKU, warehouse) that stock may be held in. An event carries the whole shipment and must stay below 1 MiB: a
# row takes up to 535 bytes and its parcel as many, all the rest 50 KiB (names of 64 characters, 4 bytes each).
HELD_LINES_MAX = 900


class LabelStatus(StrEnum):
    NONE = "none"
    PURCHASING = "purchasing"
    READY = "ready"
    UNKNOWN = "unknown"
    VOIDING = "voiding"
    VOIDED = "voided"


class LabelFact(StrEnum):
    """What can happen to a parcel's label."""

    TO_BE_BOUGHT = "to_be_bought"
    BOUGHT = "bought"
    NOT_BOUGHT = "not_bought"
    UNCLEAR = "unclear"
    TO_BE_VOIDED = "to_be_voided"
    VOIDED = "voided"
    NOT_TAKEN_BACK = "not_taken_back"


LABEL_TRANSITIONS: Mapping[LabelStatus, Mapping[LabelFact, LabelStatus]] = {
    LabelStatus.NONE: {
        LabelFact.TO_BE_BOUGHT: LabelStatus.PURCHASING,
        LabelFact.BOUGHT: LabelStatus.READY,  # by somebody who came late, after it was given up
        LabelFact.NOT_BOUGHT: LabelStatus.NONE,  # said again, after a commit whose answer was lost
    },
    LabelStatus.PURCHASING: {
        LabelFact.TO_BE_BOUGHT: LabelStatus.PURCHASING,
        LabelFact.BOUGHT: LabelStatus.READY,
        LabelFact.NOT_BOUGHT: LabelStatus.NONE,
        LabelFact.UNCLEAR: LabelStatus.UNKNOWN,
    },
    LabelStatus.UNKNOWN: {
        LabelFact.TO_BE_BOUGHT: LabelStatus.PURCHASING,
        LabelFact.BOUGHT: LabelStatus.READY,
        LabelFact.NOT_BOUGHT: LabelStatus.NONE,
        LabelFact.UNCLEAR: LabelStatus.UNKNOWN,
    },
    LabelStatus.READY: {LabelFact.TO_BE_VOIDED: LabelStatus.VOIDING},
    LabelStatus.VOIDING: {
        LabelFact.TO_BE_VOIDED: LabelStatus.VOIDING,
        LabelFact.VOIDED: LabelStatus.VOIDED,
        LabelFact.NOT_TAKEN_BACK: LabelStatus.READY,
    },
    LabelStatus.VOIDED: {},
}


class StockStatus(StrEnum):
    """The life of an allocation, as inventory tells it."""

    WAITING = "waiting"
    HELD = "held"
    RELEASED = "released"
    CONSUMED = "consumed"
    DISPATCHED = "dispatched"
    EXPIRED = "expired"


class Policy(StrEnum):
    """What is done with stock that does not suffice."""

    ALL_OR_NONE = "all_or_none"
    PARTIAL = "partial"
    """What there is is held at once, and the rest waited for."""


@dataclass(frozen=True)
class Coordinates:
    """A place on the earth, in degrees (WGS 84)."""

    latitude: float
    longitude: float


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
    coordinates: Coordinates | None = None
    """Decides which warehouse is near."""


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
    """A purchase, or a giving back, under way. Stored before the carrier hears of it."""

    key: str
    """The carrier's idempotency key of a purchase: the same for every try."""
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
    """The box that leaves one warehouse. At most one label is ever bought for it: after a void, another opens."""

    number: int
    """1, 2, 3 … per shipment."""
    warehouse: str
    reference: str
    """Its id: the shipment's and its number."""
    label_status: LabelStatus = LabelStatus.NONE
    tracking_number: str | None = None
    attempt: Attempt | None = None
    void_refused_at: datetime | None = None
    """When the carrier would not take its label back: it is not asked again."""


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
    policy: Policy = Policy.ALL_OR_NONE
    priority: int = 0
    hold_expires_at: datetime | None = None
    """What has not left by then gives its stock back, and fails."""
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
    cancel_asked_at: datetime | None = None
    """Somebody wants it canceled, and inventory has not decided yet."""

    @property
    def current_parcels(self) -> Sequence[Parcel]:
        """The parcels that goods are taken for, in the order of the allocation: the newest of each warehouse."""
        if self.status not in DRAWS:
            return []
        newest = newest_by_warehouse(self.opened_parcels)
        return [newest[warehouse] for warehouse in warehouses(self.allocations) if warehouse in newest]

    @property
    def parcels(self) -> Sequence[Parcel]:
        """The parcels for a reader: the current ones; after an end without goods, what has become of the labels."""
        if self.status in _ENDED_WITHOUT_GOODS:
            labeled = [parcel for parcel in self.opened_parcels if parcel.label_status is not LabelStatus.NONE]
            return labeled[-HELD_LINES_MAX:]
        return self.current_parcels

    @property
    def has_labels(self) -> bool:
        """Whether there is a label document: every parcel has its page."""
        parcels = self.current_parcels
        return bool(parcels) and all(parcel.label_status is LabelStatus.READY for parcel in parcels)

    def parcel(self, number: int) -> Parcel:
        return self.opened_parcels[number - 1]


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
    policy: Policy = Policy.ALL_OR_NONE
    priority: int = 0
    hold_expires_at: datetime | None = None


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
        policy=request.policy,
        priority=request.priority,
        hold_expires_at=request.hold_expires_at,
        created_at=now,
        updated_at=now,
    )
    return shipment, [_announce(shipment)]


def deliver(shipment: Shipment, now: datetime) -> Decision:
    """Every parcel has arrived. Nothing where it is known, or where none has left."""
    if Fact.DELIVERED not in TRANSITIONS[shipment.status]:
        return shipment, []
    return moved(shipment, shipment, Fact.DELIVERED, now)


def step(status: Status, fact: Fact) -> Status:
    """The next status. Raises Fault `invalid_state` where the fact does not apply."""
    if fact not in TRANSITIONS[status]:
        raise Fault("invalid_state", f"The shipment is {status}: {fact} does not apply.", current_status=status)
    return TRANSITIONS[status][fact]


def label_step(label_status: LabelStatus, fact: LabelFact) -> LabelStatus:
    """The next state of a label. What is not in the table is a defect of ours: nobody can ask for it."""
    return LABEL_TRANSITIONS[label_status][fact]


def moved(before: Shipment, after: Shipment, fact: Fact, now: datetime) -> Decision:
    """Takes the step, and announces it if a reader could see a difference."""
    status = step(before.status, fact)
    # A wish to cancel ends where nothing can be canceled any more.
    cancel_asked_at = after.cancel_asked_at if Fact.CANCELED in TRANSITIONS[status] else None
    after = replace(changed(after, now), status=status, version=before.version + 1, cancel_asked_at=cancel_asked_at)
    is_visible = (after.status, after.allocations) != (before.status, before.allocations)
    return after, [_announce(after)] if is_visible else []


def with_parcel(shipment: Shipment, parcel: Parcel, now: datetime) -> Shipment:
    """The shipment with one of its parcels changed."""
    opened = tuple(parcel if p.number == parcel.number else p for p in shipment.opened_parcels)
    return changed(replace(shipment, opened_parcels=opened), now)


def changed(shipment: Shipment, now: datetime) -> Shipment:
    """A newer version of it."""
    # Clocks differ, and one that was read before the wait for the row is late: time never runs backwards all the same.
    return replace(shipment, version=shipment.version + 1, updated_at=max(now, shipment.updated_at))


def newest_by_warehouse(opened: Sequence[Parcel]) -> Mapping[str, Parcel]:
    """The parcel of each warehouse that is of use: the newest whose label is neither given back nor used up."""
    given_back = (LabelStatus.VOIDING, LabelStatus.VOIDED)
    # What a carrier would not take back may have been used: under that label no other goods may leave.
    of_use = (p for p in opened if p.label_status not in given_back and p.void_refused_at is None)
    return {parcel.warehouse: parcel for parcel in of_use}


def warehouses(held: Sequence[HeldLine]) -> Sequence[str]:
    """Each once, in their order."""
    return list(dict.fromkeys(line.warehouse for line in held))


def _announce(shipment: Shipment) -> ShipmentEvent:
    return ShipmentEvent(EVENT_TYPES[shipment.status], shipment)
