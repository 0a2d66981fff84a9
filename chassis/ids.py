"""Identifiers: a prefix that names the kind, and a UUIDv7 (RFC 9562) in lower-case Crockford base32.

They sort by their time of birth, which keeps index pages warm, and are opaque to clients.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

IdMaker = Callable[[str], str]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26  # 130 bits hold the 128 of a UUID
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


def new_id(prefix: str) -> str:
    """For example inv_01k9x3m6v8e0q8r7a2b4c6d8f0."""
    return f"{prefix}_{_base32(_uuid7())}"


def earliest_id(prefix: str, at: datetime, shifted: timedelta = timedelta()) -> str:
    """The lowest id that can be born at an instant, moved by `shifted`: a bound for ids, never an id."""
    millis = (at - _EPOCH) // _MILLISECOND + shifted // _MILLISECOND  # not at + shifted, which may lie outside of time
    return f"{prefix}_{_base32(max(millis, 0) << 80)}"


def _uuid7() -> int:
    millis = time.time_ns() // 1_000_000
    return (millis << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)


def _base32(number: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range((_LENGTH - 1) * 5, -5, -5))
