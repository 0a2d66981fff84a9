"""Strict JSON: bytes in, a value and its canonical bytes out, or `malformed_json`.

Stricter than RFC 8259 where parsers disagree (RFC 7493, I-JSON): what two programs could read as two different
requests is refused. What the members mean belongs to requests.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from chassis.errors import Fault

DEPTH_MAX = 32
_BOM = b"\xef\xbb\xbf"

# A string (its end optional, so that an unfinished one is passed over once and not once per quote) or a bracket.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class Body:
    """A parsed body. `canonical` is the same for every spelling of the same value: what a fingerprint is made of."""

    value: Any
    canonical: bytes


def parse(raw: bytes) -> Body:
    """Raises Fault `malformed_json`; the detail says where, and never repeats the body."""
    if not raw:
        _refuse("The body is empty.")
    if raw.startswith(_BOM):
        _refuse("The body starts with a byte order mark; send plain UTF-8.")
    try:
        text = raw.decode("utf-8")
        _refuse_depth(text)
        value = _DECODER.decode(text)
        return Body(value, canonical(value))
    except json.JSONDecodeError as error:
        _refuse(f"{error.msg} at line {error.lineno}, column {error.colno}.")
    except UnicodeDecodeError as error:
        _refuse(f"The body is not UTF-8: byte {error.start} cannot be read.")
    except UnicodeEncodeError:
        _refuse("A string holds half of a surrogate pair.")
    except ValueError:  # Python's own bound on the digits of a whole number
        _refuse("A number has too many digits.")


def canonical(value: Any) -> bytes:
    """Sorted names, no blanks, UTF-8: member order and white space do not count, `null` differs from absent."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _refuse(detail: str) -> NoReturn:
    raise Fault("malformed_json", detail)


def _refuse_depth(text: str) -> None:
    # Scanned before parsing: the parser recurses, and a deep body would end it by RecursionError.
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
        if depth > DEPTH_MAX:
            _refuse(f"The body is nested deeper than {DEPTH_MAX}.")


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        _refuse("An object names a member twice.")
    return members


def _exact_float(literal: str) -> float:
    """A float that reads back as what was sent: 1e400 and 0.1000000000000000055 do not."""
    number = float(literal)
    if number in (float("inf"), float("-inf")) or not _is_same_number(literal, number):
        _refuse("A number cannot be held exactly.")
    return number


def _is_same_number(literal: str, number: float) -> bool:
    try:
        return Decimal(literal) == Decimal(repr(number))
    except ArithmeticError:  # an exponent beyond what even Decimal holds
        return False


def _no_such_number(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON.")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_members, parse_float=_exact_float, parse_constant=_no_such_number)
