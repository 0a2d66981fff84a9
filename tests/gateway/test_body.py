"""Strict JSON: every row where parsers are known to disagree, and the canonical bytes of what is accepted."""

from __future__ import annotations

import gc
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Fault
from gateway import body

REFUSED = {
    "empty body": b"",
    "blanks only": b"  \n",
    "duplicate name": b'{"qty":1,"qty":2}',
    "duplicate name, spelled with an escape": b'{"qty":1,"\\u0071ty":2}',
    "duplicate name further in": b'{"a":[{"b":1,"b":1}]}',
    "NaN": b'{"qty":NaN}',
    "Infinity": b'{"qty":Infinity}',
    "-Infinity": b'{"qty":-Infinity}',
    "number beyond double": b'{"qty":1e400}',
    "number below double": b'{"qty":1e-400}',
    "exponent beyond everything": b'{"qty":1e-99999999999999999999}',
    "fraction that does not round-trip": b'{"qty":0.1000000000000000055511151231257827}',
    "whole number as an inexact float": b'{"qty":9007199254740993.0}',
    "401 digits": b'{"qty":' + b"9" * 401 + b"}",
    "a long fraction that does not round-trip": b'{"qty":0.' + b"1" * 5000 + b"}",
    "a short number below double": b'{"qty":1.6e-323}',
    "nesting 33": b"[" * 33 + b"]" * 33,
    "nesting 100k": b"[" * 100_000,
    "nesting 100k of objects": b'{"a":' * 100_000,
    "lone high surrogate": b'{"sku":"\\ud800"}',
    "lone low surrogate": b'{"sku":"\\udc00"}',
    "surrogates in the wrong order": b'{"sku":"\\udc00\\ud800"}',
    "lone surrogate in a name": b'{"\\ud800":1}',
    "encoded surrogate": b'{"sku":"\xed\xa0\x80"}',
    "UTF-16 with a mark": '{"sku":"A"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"sku":"A"}'.encode("utf-16-le"),
    "byte order mark": b"\xef\xbb\xbf" + b'{"sku":"A"}',
    "invalid UTF-8": b'{"sku":"\xff"}',
    "overlong UTF-8": b'{"sku":"\xc0\x80"}',
    "Latin-1": '{"sku":"é"}'.encode("latin-1"),
    "control character in a string": b'{"sku":"a\nb"}',
    "unfinished string": b'{"sku":"A',
    "unfinished object": b'{"sku":"A"',
    "trailing comma": b'{"sku":"A",}',
    "trailing text": b'{"sku":"A"} x',
    "two values": b'{"a":1}{"a":1}',
    "single quotes": b"{'sku':'A'}",
    "bare name": b'{sku:"A"}',
    "comment": b'{"sku":"A" /* x */}',
    "leading zero": b'{"qty":01}',
    "plus sign": b'{"qty":+1}',
    "hex": b'{"qty":0x10}',
    "True": b'{"qty":True}',
    "bad escape": b'{"sku":"\\x41"}',
    "form feed as white space": b'{"sku":\x0c"A"}',
    "no-break space as white space": '{"sku":\u00a0"A"}'.encode(),
}

ACCEPTED = {
    "2^64 stays exact": (b'{"qty":18446744073709551616}', {"qty": 2**64}),
    "a decimal fraction": (b'{"qty":0.1}', {"qty": 0.1}),
    "an exponent": (b'{"qty":1e2}', {"qty": 100.0}),
    "a zero of many spellings": (b"[0.0,-0.0,0e9,0.000E-9]", [0.0, 0.0, 0.0, 0.0]),
    "a fraction of 17 digits": (b'{"qty":0.30000000000000004}', {"qty": 0.1 + 0.2}),
    "a long spelling of a short fraction": (b'{"qty":0.1000000000000000000000}', {"qty": 0.1}),
    "the smallest double": (b'{"qty":5e-324}', {"qty": 5e-324}),
    "NUL is the members' affair": (b'{"sku":"a\\u0000b"}', {"sku": "a\0b"}),
    "a surrogate pair": (b'{"sku":"\\ud83d\\udce6"}', {"sku": "\U0001f4e6"}),
    "nesting 32": (b"[" * 32 + b"]" * 32, json.loads("[" * 32 + "]" * 32)),
    "brackets inside a string do not nest": (b'{"sku":"' + b"[" * 99 + b'"}', {"sku": "[" * 99}),
    "brackets behind an escaped quote do not nest": (b'{"sku":"\\"' + b"[" * 99 + b'"}', {"sku": '"' + "[" * 99}),
    "many brackets side by side": (b"[" + b"[]," * 99 + b"[]]", [[]] * 100),
    "a top level that is no object": (b"3", 3),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_what_two_parsers_could_read_differently_is_malformed(raw: bytes) -> None:
    with pytest.raises(Fault) as refused:
        body.parse(raw)

    assert refused.value.code == "malformed_json"
    assert refused.value.detail.endswith(".")


@pytest.mark.parametrize(("raw", "value"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_every_parser_reads_alike_is_accepted(raw: bytes, value: object) -> None:
    assert body.parse(raw).value == value


def test_a_refusal_says_where_and_repeats_nothing() -> None:
    with pytest.raises(Fault) as refused:
        body.parse(b'{"secret":\n  whsec_something}')

    assert refused.value.detail == "Expecting value at line 2, column 3."


def test_member_order_and_white_space_do_not_change_the_canonical_bytes() -> None:
    spelled, respelled = b'{"b": [1, 2],\n "a": "\\u00e9"}', '{"a":"é","b":[1,2]}'.encode()

    assert body.parse(spelled).canonical == body.parse(respelled).canonical == respelled


@pytest.mark.parametrize(
    ("one", "other"),
    [(b'{"a":null}', b"{}"), (b'{"a":1}', b'{"a":"1"}'), (b'{"a":[1,2]}', b'{"a":[2,1]}'), (b"[]", b"{}")],
)
def test_different_values_have_different_canonical_bytes(one: bytes, other: bytes) -> None:
    assert body.parse(one).canonical != body.parse(other).canonical


@pytest.mark.parametrize(
    "raw", [b'"' + b'\\"' * 500_000, b"[" * 33 + b'"' + b"\\" * 1_000_000, b'["' * 300_000, b'{"a":1,' * 150_000]
)
def test_a_hostile_body_of_a_mebibyte_is_refused_within_a_second(raw: bytes) -> None:
    started = time.perf_counter()

    with pytest.raises(Fault):
        body.parse(raw)

    assert time.perf_counter() - started < 1


def filled(unit: bytes, *, size: int = 1_048_576, start: bytes = b'{"a":[', end: bytes = b"1]}") -> bytes:
    """A body that repeats one thing until it is full."""
    return start + unit * ((size - len(start) - len(end)) // len(unit)) + end


UNITS = [b"0.1,", b"1e9,", b"0,", b"[],", b"{},", b'{"a":1},', b'"",', b"[[]],", b"0.12345678901234567890,", b'"\\"",']


@pytest.mark.parametrize("unit", UNITS)
def test_a_mebibyte_of_many_values_is_refused_before_it_is_read(unit: bytes) -> None:
    raw = filled(unit)
    gc.collect()  # what other tests left is not this one's to pay for
    started = time.thread_time()

    with pytest.raises(Fault) as refused:
        body.parse(raw)

    assert refused.value.code == "content_too_large"
    assert time.thread_time() - started < 0.2


@pytest.mark.parametrize("unit", [b"9" * 4300 + b",", b'"" ', b"]", b'"":', b"\\u0041"])
def test_a_mebibyte_of_anything_else_holds_nobody_up(unit: bytes) -> None:
    raw = filled(unit)
    gc.collect()  # what other tests left is not this one's to pay for
    started = time.thread_time()

    with pytest.raises(Fault) as refused:
        body.parse(raw)

    assert refused.value.code == "malformed_json"
    assert time.thread_time() - started < 0.2


@pytest.mark.parametrize("literal", [b"0.1", b"1e9", b"1." + b"0" * 50, b'"a"', b"{}"])
def test_as_many_values_as_are_admitted_are_read_at_once(literal: bytes) -> None:
    raw = b"[" + b",".join([literal] * 9_999) + b"]"
    gc.collect()  # what other tests left is not this one's to pay for
    started = time.thread_time()

    assert len(body.parse(raw).value) == 9_999
    assert time.thread_time() - started < 0.2


def test_a_thousand_movements_of_eight_members_pass() -> None:
    movement = {
        "sku": "SKU, 42 [blue]",
        "warehouse": "SEA-1",
        "qty": 1,
        "reason": "receipt",
        "reference": "," * 128,
        "expected_balance": 1,
        "expected_seq": 1,
        "idempotency_key": "{" * 100,
    }
    batch = {"atomic": True, "movements": [movement] * 1000}

    assert body.parse(json.dumps(batch).encode()).value == batch


def test_commas_inside_strings_are_no_values() -> None:
    assert body.parse(b'["' + b"," * 100_000 + b'"]').value == ["," * 100_000]


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(_values)
def test_whatever_is_written_as_json_is_read_back_the_same(value: object) -> None:
    assert body.parse(json.dumps(value).encode()).value == value


@given(st.binary(max_size=200))
def test_no_bytes_end_in_anything_but_a_value_or_a_refusal(raw: bytes) -> None:
    try:
        parsed = body.parse(raw)
    except Fault:
        return

    assert body.parse(parsed.canonical).canonical == parsed.canonical
