"""Tracking numbers: the same sale has the same one in every process, and no real carrier takes it for its own."""

from __future__ import annotations

from hashlib import sha256


def tracking_number(reference: str, sale: int = 1) -> str:
    """`SKT`, `T` for test, 16 digits and their Luhn digit. `sale` counts the labels sold for the reference, from 1."""
    seed = reference if sale == 1 else f"{reference}\0{sale}"
    digits = f"{int.from_bytes(sha256(seed.encode()).digest()) % 10**16:016d}"
    return f"SKTT{digits}{luhn_digit(digits)}"


def luhn_digit(digits: str) -> str:
    """The check digit of ISO/IEC 7812-1 annex B: from the right, every other digit doubled, beginning with the last."""
    doubled = [sum(divmod(int(digit) * 2, 10)) for digit in digits[::-2]]
    plain = [int(digit) for digit in digits[-2::-2]]
    return str(-(sum(doubled) + sum(plain)) % 10)
