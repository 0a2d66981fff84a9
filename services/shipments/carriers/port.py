"""What a carrier is to shipments: a purchase goes in, a label comes out, or one of three failures says what to do next.

Only the contract stands here, no adapter. Why it looks like this: docs/decisions/0005.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from services.shipments.domain import Address, Line

# What a carrier may hand us: the tables and the events of a shipment hold no more.
LABEL_BYTES_MAX = 1024 * 1024
TRACKING_NUMBER_LENGTH_MAX = 64
MESSAGE_LENGTH_MAX = 500


class Carrier(Protocol):
    """A way to buy labels. Safe to call concurrently."""

    name: str
    """Stored with the label and shown as `carrier`, e.g. "sandbox"."""

    answers_within: timedelta
    """How long a call may take. The caller gives up after it, and takes the outcome of a purchase for unknown."""

    settles_after: timedelta
    """How long after `answers_within` find_by_reference may still miss a label, sold that late or shown that late."""

    takes_keys: bool
    """Whether buying again under an attempt_key gives the same label, whatever is still under way under it."""

    def choose_service(self, carrier_hint: str | None) -> str:
        """The service to ask for, from the caller's hint. Pure: the same hint, the same service."""

    async def buy(self, purchase: Purchase) -> Label:
        """Buys one label.

        Called again with the same attempt_key only after find_by_reference found nothing, and answers_within is over -
        and settles_after too, unless it `takes_keys`: hand the key on as its idempotency key then.

        Raises CarrierRefused, CarrierUnavailable or OutcomeUnknown, and nothing else for what a carrier can do to us:
        whatever else comes out is a defect of the adapter, and is taken for an outcome that is unknown.
        """

    async def find_by_reference(self, reference: str) -> Label | None:
        """The label bought for this parcel, or None. Raises CarrierUnavailable when it cannot tell."""

    async def void(self, sold: Sold) -> None:
        """Gives a label back, for its price. Again and again does no harm.

        Raises CarrierRefused where it is not taken back, e.g. because it was used; CarrierUnavailable or OutcomeUnknown
        where it may still be.
        """

    async def track(self, sold: Sold) -> Tracking:
        """How far the parcel is, by the carrier's scans. Raises CarrierUnavailable when it cannot tell."""


@dataclass(frozen=True)
class Purchase:
    """One parcel to buy a label for."""

    attempt_key: str
    """Names this attempt and no other; stored before the carrier hears of it."""
    reference: str
    """The parcel's id, under which the carrier finds the label again."""
    order_id: str
    ship_from: str
    """The name of the warehouse."""
    ship_to: Address
    service: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Label:
    """A label that was bought. Raises OutcomeUnknown for one that could not be kept: there may be a better copy."""

    tracking_number: str
    """1 to 64 printable characters."""
    content: bytes
    """One PDF page of 4 x 6 inches, at most 1 MiB."""
    carrier: str
    service: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.content) <= LABEL_BYTES_MAX:
            raise OutcomeUnknown("The carrier's label is empty or too large.")
        if not (1 <= len(self.tracking_number) <= TRACKING_NUMBER_LENGTH_MAX and self.tracking_number.isprintable()):
            raise OutcomeUnknown("The carrier's tracking number cannot be read.")


@dataclass(frozen=True)
class Sold:
    """What names a label that was bought."""

    reference: str
    """The parcel's id, under which it was bought."""
    tracking_number: str


class Tracking(StrEnum):
    """How far a parcel is, in the order in which it gets there."""

    PRE_TRANSIT = "pre_transit"
    """No scan yet."""
    IN_TRANSIT = "in_transit"
    """The carrier has it; whatever befell it on its way, it is not there yet."""
    DELIVERED = "delivered"


class CarrierFailure(Exception):
    """A purchase that gave no label. `code` is ours and stable; `message` is for people, and cut to what is stored."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = "".join(c if c.isprintable() else " " for c in message[:MESSAGE_LENGTH_MAX])


class CarrierRefused(CarrierFailure):
    """Definitive: the carrier understood and will not. The same purchase will be refused again."""


class CarrierUnavailable(CarrierFailure):
    """Nothing was bought: the carrier was not reached, or it answered that it cannot serve now. Try later."""

    def __init__(self, message: str) -> None:
        super().__init__("carrier_unavailable", message)


class OutcomeUnknown(CarrierFailure):
    """Sent, and no readable answer came: a label may exist. Find it by reference before buying again."""

    def __init__(self, message: str) -> None:
        super().__init__("carrier_outcome_unknown", message)
