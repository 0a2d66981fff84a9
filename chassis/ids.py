"""Identifiers: a prefix that names the kind, and a UUIDv7 (RFC 9562) in lower-case Crockford base32.

They sort by their time of birth, which keeps index pages warm, and are opaque to clients.
"""

import os
import time
from collections.abc import Callable

IdMaker = Callable[[str], str]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# 26 digits of 5 bits hold the 128 of a UUID; written two at a time.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -10, -10)


def new_id(prefix: str) -> str:
    """For example inv_01k9x3m6v8e0q8r7a2b4c6d8f0."""
    number = _uuid7()
    return prefix + "_" + "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def _uuid7() -> int:
    millis, chance = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
    return (millis << 80) | (0x7 << 76) | ((chance >> 68) << 64) | (0b10 << 62) | (chance & _LOW_62)


_LOW_62 = (1 << 62) - 1
