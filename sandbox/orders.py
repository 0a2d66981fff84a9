"""What the carrier is asked for, read strictly."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from sandbox.problems import Refusal

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[!-~]+$")]


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Text
    line1: Text
    city: Text
    postal: Text
    country: Text
    line2: Text | None = None
    state: Text | None = None


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A label to sell."""

    reference: Id
    """The caller's own name of the parcel, by which it finds the label again."""
    order_id: Text
    service: Literal["sandbox_ground", "sandbox_express"]
    ship_from: Text
    ship_to: Address


class Scan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parcel was seen."""

    status: Literal["in_transit", "delivered"]


_read_order = msgspec.json.Decoder(Order).decode
_read_scan = msgspec.json.Decoder(Scan).decode


def read_order(body: bytes) -> Order:
    """Raises Refusal `malformed` or `invalid`."""
    try:
        return _read_order(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refusal(error) from error


def read_scan(body: bytes) -> Scan:
    """Raises Refusal `malformed` or `invalid`."""
    try:
        return _read_scan(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refusal(error) from error


def _refusal(error: Exception) -> Refusal:
    return Refusal("invalid" if isinstance(error, msgspec.ValidationError) else "malformed", str(error))
