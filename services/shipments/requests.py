"""What may be asked for: the rules of a request's fields. Pure.

The gateway has the same rules and says the same codes; who calls past it is held to them here. Only that a country
exists is for the gateway alone: here it is two letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from unicodedata import category

from chassis.errors import Fault, FieldFault
from services.shipments.domain import ShipmentRequest

# What inventory takes in one request: what it would refuse must not be queued.
LINES_MAX = 100
QTY_MAX = 1_000_000_000
PRIORITY_MAX = 100


def check(request: ShipmentRequest, now: datetime) -> None:
    """Raises Fault `validation_failed` with every fault."""
    faults = [*_line_faults(request), *_text_faults(request), *_wish_faults(request, now)]
    if faults:
        raise Fault("validation_failed", "The shipment is not valid.", fields=faults)


@dataclass(frozen=True)
class _Rule:
    """1 to so many characters, and what they may be."""

    length_max: int
    allows: Callable[[str], bool]
    sentence: str

    def faults(self, pointer: str, text: str) -> Iterator[FieldFault]:
        if not 1 <= len(text) <= self.length_max:
            yield FieldFault(pointer, "wrong_length", f"Must have 1 to {self.length_max} characters.")
        elif not self.allows(text):
            yield FieldFault(pointer, "bad_characters", self.sentence)


def _line_faults(request: ShipmentRequest) -> Iterator[FieldFault]:
    if not 1 <= len(request.line_items) <= LINES_MAX:
        yield FieldFault("/line_items", "wrong_length", f"Must have 1 to {LINES_MAX} lines.")
    for position, line in enumerate(request.line_items[:LINES_MAX]):
        yield from _CODE.faults(f"/line_items/{position}/sku", line.sku)
        if not 1 <= line.qty <= QTY_MAX:
            yield FieldFault(f"/line_items/{position}/qty", "out_of_range", f"Must be 1 to {QTY_MAX}.")


def _text_faults(request: ShipmentRequest) -> Iterator[FieldFault]:
    yield from _ORDER_ID.faults("/order_id", request.order_id)
    if request.carrier_hint is not None:
        yield from _CODE.faults("/carrier_hint", request.carrier_hint)
    if not _is_country(request.ship_to.country):
        yield FieldFault("/ship_to/country", "bad_country", "Must be a country code of two letters, such as US.")
    for name, text in vars(request.ship_to).items():
        if text is not None and name not in ("country", "coordinates"):
            yield from (_POSTAL if name == "postal" else _ADDRESS_LINE).faults(f"/ship_to/{name}", text)


def _wish_faults(request: ShipmentRequest, now: datetime) -> Iterator[FieldFault]:
    if not 0 <= request.priority <= PRIORITY_MAX:
        yield FieldFault("/priority", "out_of_range", f"Must be 0 to {PRIORITY_MAX}.")
    if request.hold_expires_at is not None and request.hold_expires_at <= now:
        yield FieldFault("/hold_expires_at", "in_the_past", "Must be in the future.")
    place = request.ship_to.coordinates
    # What is not a number is in no range.
    if place is not None and not -90 <= place.latitude <= 90:
        yield FieldFault("/ship_to/coordinates/latitude", "out_of_range", "Must be -90 to 90.")
    if place is not None and not -180 <= place.longitude <= 180:
        yield FieldFault("/ship_to/coordinates/longitude", "out_of_range", "Must be -180 to 180.")


def _is_printable(text: str) -> bool:
    return text.isprintable() and text == text.strip()


def _is_writable(text: str) -> bool:
    """Not blank, and printable but for spaces and joiners of any script."""
    return bool(text.strip()) and all(c.isprintable() or c in "\u200c\u200d" or category(c) == "Zs" for c in text)


def _is_order_id(text: str) -> bool:
    return text.isascii() and all(c.isalnum() or c in "_.:-" for c in text)


def _is_country(text: str) -> bool:
    return len(text) == 2 and text.isascii() and text.isalpha() and text.isupper()


_CODE = _Rule(64, _is_printable, "Must be printable characters, without white space at either end.")
_ORDER_ID = _Rule(64, _is_order_id, "Must be of A-Z, a-z, 0-9 and _ . : -")
_ADDRESS_LINE = _Rule(100, _is_writable, "Must be printable characters, and not blank.")
_POSTAL = _Rule(20, _is_writable, "Must be printable characters, and not blank.")
