"""Strict JSON: bytes in, a value and its canonical bytes out, or `malformed_json`, or `content_too_large`.

Stricter than RFC 8259 where parsers disagree (RFC 7493, I-JSON): what two programs could read as two different
requests is refused. What the members mean belongs to requests.py.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from chassis.errors import Fault

DEPTH_MAX = 32
VALUES_MAX = 20_000  # 1,000 movements of 8 members are 9,003; so many are read in some 20 ms
DIGITS_MAX = 400  # of a whole number: more than any double has, and few enough to be read at once
_DIGITS_SAFE = 15  # so many decimal digits survive a double both ways (IEEE 754; DBL_DIG in C)
_BOM = b"\xef\xbb\xbf"

# Strings in a row (the end of one optional, so that an unfinished one is passed over once and not once per quote),
# or a mark outside of them.
_STRINGS_OR_MARK = re.compile(r'(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"?[\s:]*+)++|[\[\]{},]', re.DOTALL)


@dataclass(frozen=True)
class Body:
    """A parsed body. `canonical` is the same for every spelling of the same value: what a fingerprint is made of."""

    value: Any
    canonical: bytes


def parse(raw: bytes) -> Body:
    """Raises Fault `malformed_json`, whose detail says where and never repeats the body; `content_too_large` for a body
    of more than VALUES_MAX values, each of which would cost time and memory whatever it is."""
    if not raw:
        _refuse("The body is empty.")
    if raw.startswith(_BOM):
        _refuse("The body starts with a byte order mark; send plain UTF-8.")
    try:
        text = raw.decode("utf-8")
        _refuse_bulk(text)
        value = _DECODER.decode(text)
        return Body(value, canonical(value))
    except json.JSONDecodeError as error:
        _refuse(f"{error.msg} at line {error.lineno}, column {error.colno}.")
    except UnicodeDecodeError as error:
        _refuse(f"The body is not UTF-8: byte {error.start} cannot be read.")
    except UnicodeEncodeError:
        _refuse("A string holds half of a surrogate pair.")


def canonical(value: Any) -> bytes:
    """Sorted names, no blanks, UTF-8: member order and white space do not count, `null` differs from absent."""
    return _CANONICAL.encode(value).encode()


_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)

EMPTY_OBJECT = Body({}, canonical({}))


def _refuse(detail: str) -> NoReturn:
    raise Fault("malformed_json", detail)


def _refuse_bulk(text: str) -> None:
    # Scanned before parsing: the parser recurses, and makes an object of every value.
    openings = text.count("[") + text.count("{")
    if openings <= DEPTH_MAX and openings + text.count(",") < VALUES_MAX:
        return
    values, depth = 1, 0
    for match in _STRINGS_OR_MARK.finditer(text):
        mark = match[0]
        values += mark in "[{,"
        depth += (mark in "[{") - (mark in "]}")
        if depth > DEPTH_MAX:
            _refuse(f"The body is nested deeper than {DEPTH_MAX}.")
        if values > VALUES_MAX:
            raise Fault("content_too_large", f"A body has at most {VALUES_MAX} values.")
        if depth < 0:
            return  # no JSON: the parser ends there, and says where


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        _refuse("An object names a member twice.")
    return members


def _whole_number(literal: str) -> int:
    if len(literal) > DIGITS_MAX:
        _refuse("A number has too many digits.")
    return int(literal)


def _exact_float(literal: str) -> float:
    """A float that reads back as what was sent: 1e400 and 0.1000000000000000055 do not."""
    number = float(literal)
    is_safe = len(literal) <= _DIGITS_SAFE and 1e-300 < abs(number) < float("inf")
    if not (is_safe or repr(number) == literal or _is_same_number(literal, number)):
        _refuse("A number cannot be held exactly.")
    return number


def _is_same_number(literal: str, number: float) -> bool:
    if math.isinf(number):
        return False
    try:
        return Decimal(literal) == Decimal(repr(number))
    except ArithmeticError:  # an exponent beyond what even Decimal holds
        return False


def _no_such_number(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_members,
    parse_int=_whole_number,
    parse_float=_exact_float,
    parse_constant=_no_such_number,
)
