"""Identifiers: a prefix that names the kind, and a UUIDv7 (RFC 9562) in lower-case Crockford base32.

They sort by their time of birth, which keeps index pages warm, and are opaque to clients.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

IdMaker = Callable[[str], str]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# 26 digits of 5 bits hold the 128 of a UUID; written two at a time.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -10, -10)
_LOW_62 = (1 << 62) - 1
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
    millis, chance = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
    return (millis << 80) | (0x7 << 76) | ((chance >> 68) << 64) | (0b10 << 62) | (chance & _LOW_62)


def _base32(number: int) -> str:
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])
