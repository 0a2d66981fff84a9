"""The rules of single fields, as types that the models of requests.py are made of.

A field is what its rule says, whichever body or query it is in. Each also tells the document of itself (`Told`).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from chassis.clock import utc_now
from gateway.countries import COUNTRIES
from gateway.idempotency import KEY_LENGTH_MAX, is_key
from gateway.validation import Told

QTY_MAX = 1_000_000_000
URL_LENGTH_MAX = 2048
PAGE_MAX = 100
PRIORITY_MAX = 100

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,4000}", re.ASCII)  # int() reads no more than 4,300 digits
_CHAIN_PLACE_FORM = re.compile(r"[1-9][0-9]{0,17}\.[0-9a-f]{64}", re.ASCII)
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)
_TIME_FORM = "Must be RFC 3339 with a zone, such as 2026-04-22T17:04:11Z"

EVENT_TYPES = (
    "inventory.updated",
    "inventory.shortfall",
    "shipment.created",
    "shipment.allocated",
    "shipment.backordered",
    "shipment.label_ready",
    "shipment.shipped",
    "shipment.delivered",
    "shipment.canceled",
    "shipment.failed",
    "order.updated",
    "webhook.ping",
)
# A type, its family, or all of them.
EVENT_PATTERNS = frozenset({*EVENT_TYPES, *(f"{name.partition('.')[0]}.*" for name in EVENT_TYPES), "*"})


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise PydanticCustomError("bad_characters", "Must be printable characters, without white space at either end.")
    return text


def _writable(text: str) -> str:
    """An address: printable, or a space or joiner of any script, and not blank."""
    if not text.strip() or not (text.isprintable() or all(map(_is_writable, text))):
        raise PydanticCustomError("bad_characters", "Must be printable characters, and not blank.")
    return text


def _is_writable(character: str) -> bool:
    return character.isprintable() or character in "\u200c\u200d" or unicodedata.category(character) == "Zs"


def _printable_ascii(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise PydanticCustomError("bad_characters", "Must be printable ASCII.")
    return text


def _order_id(text: str) -> str:
    if not all(character.isascii() and (character.isalnum() or character in "_.:-") for character in text):
        raise PydanticCustomError("bad_characters", "Must be of A-Z, a-z, 0-9 and _ . : -")
    return text


def _country(code: str) -> str:
    if code not in COUNTRIES:
        raise PydanticCustomError("bad_country", "Must be a country code of ISO 3166-1 alpha-2, such as US.")
    return code


def _idempotency_key(key: str) -> str:
    if not is_key(key):
        raise PydanticCustomError("bad_characters", f"Must be 1 to {KEY_LENGTH_MAX} visible ASCII characters.")
    return key


def _webhook_url(url: str) -> str:
    if not _is_webhook_url(url):
        raise PydanticCustomError("bad_url", "Must be an http or https URL with a host, without user or fragment.")
    return url


def _is_webhook_url(url: str) -> bool:
    if not url.isprintable() or any(character in " \\#" for character in url):
        return False
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that cannot be read
        return False
    return parts.scheme in ("http", "https") and has_place and "@" not in parts.netloc


def _event_pattern(name: str) -> str:
    if name not in EVENT_PATTERNS:
        raise PydanticCustomError("unknown_value", "Must be an event type, a family of them such as shipment.*, or *.")
    return name


def _limit(text: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(text):
        raise PydanticCustomError("wrong_type", "Must be a whole number.")
    if int(text) < 1:
        raise PydanticCustomError("out_of_range", "Must be at least 1.")
    return min(int(text), PAGE_MAX)


def _instant(text: str) -> datetime:
    """Of a query, where everything is text."""
    instant = _read_instant(text)
    if instant is None:
        raise PydanticCustomError("bad_time", f"{_TIME_FORM}; a + is sent as %2B.")
    return instant


def _deadline(value: object) -> datetime:
    """Of a body."""
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", "Must be a string.")
    deadline = _read_instant(value)
    if deadline is None:
        raise PydanticCustomError("bad_time", f"{_TIME_FORM}.")
    if deadline <= utc_now():
        raise PydanticCustomError("in_the_past", "Must be in the future.")
    return deadline


def _read_instant(text: str) -> datetime | None:
    try:
        if _INSTANT.fullmatch(text.upper()):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day or hour, or none in UTC
        pass
    return None


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise PydanticCustomError("wrong_type", "Must be true or false.")
    return text == "true"


def _chain_place(text: str) -> str:
    if not _CHAIN_PLACE_FORM.fullmatch(text):
        raise PydanticCustomError("bad_characters", "Must be entries.head_hash, such as 7.09af... with 64 of 0-9a-f.")
    return text


# What the document tells of each rule. Where no pattern that every language reads can say it, a format names it.
_PRINTABLE = Told(format="printable", description="Printable characters, without white space at either end.")
_WRITABLE = Told(format="address-line", description="Printable characters or spaces of any script, and not blank.")
_ORDER_ID = Told(pattern="^[A-Za-z0-9_.:-]+$")
_COUNTRY = Told(format="country-code", description="A code of ISO 3166-1 alpha-2, such as US.")
_URL = Told(format="url", description="http or https, with a host, without user or fragment, to a public address.")
_EVENT_PATTERN = Told(enum=sorted(EVENT_PATTERNS), description="An event type, a family of them, or all.")
_PRINTABLE_ASCII = Told(pattern="^[ -~]+$")
_CHAIN_PLACE = Told(pattern=r"^[1-9][0-9]{0,17}\.[0-9a-f]{64}$")
_VISIBLE_ASCII = Told(pattern="^[!-~]+$", minLength=1, maxLength=KEY_LENGTH_MAX)
_DEADLINE = Told(description="RFC 3339 with a zone, and in the future.")

Code = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable), _PRINTABLE]
Reference = Annotated[str, Field(max_length=128), AfterValidator(_printable), _PRINTABLE]
OrderId = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_order_id), _ORDER_ID]
AddressLine = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_writable), _WRITABLE]
Postal = Annotated[str, Field(min_length=1, max_length=20), AfterValidator(_writable), _WRITABLE]
Country = Annotated[str, AfterValidator(_country), _COUNTRY]
WebhookUrl = Annotated[str, Field(min_length=1, max_length=URL_LENGTH_MAX), AfterValidator(_webhook_url), _URL]
EventPattern = Annotated[str, AfterValidator(_event_pattern), _EVENT_PATTERN]
EventPatterns = Annotated[list[EventPattern], Field(min_length=1, max_length=len(EVENT_PATTERNS))]
Secret = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable_ascii), _PRINTABLE_ASCII]
Description = Annotated[str, Field(max_length=256), AfterValidator(_printable), _PRINTABLE]
IdempotencyKey = Annotated[str, AfterValidator(_idempotency_key), _VISIBLE_ASCII]
Token = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_printable_ascii), _PRINTABLE_ASCII]
Priority = Annotated[int, Field(ge=0, le=PRIORITY_MAX)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Deadline = Annotated[datetime, BeforeValidator(_deadline), _DEADLINE]
AllocationPolicy = Literal["all_or_none", "partial"]
Reason = Literal["receipt", "pick", "adjustment", "transfer"]
OrderStatus = Literal[
    "queued",
    "backordered",
    "partially_allocated",
    "allocated",
    "partially_shipped",
    "shipped",
    "delivered",
    "canceled",
    "failed",
]
ShipmentStatus = Literal[
    "queued", "backordered", "allocated", "label_ready", "shipped", "delivered", "canceled", "failed"
]
SubscriptionStatus = Literal["active", "disabled"]
# In a query, where everything is text.
Limit = Annotated[int, BeforeValidator(_limit)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
Flag = Annotated[bool, BeforeValidator(_flag)]
ChainPlace = Annotated[str, AfterValidator(_chain_place), _CHAIN_PLACE]
