"""The Idempotency-Key header, and which requests count as the same."""

from __future__ import annotations

import re

import pytest

from chassis.errors import Fault
from gateway import body, idempotency

KEYS = {
    "a UUID": ("0b7a1f4e-9c3a-4f67-a5b1-8d2e4a7c9f12", "0b7a1f4e-9c3a-4f67-a5b1-8d2e4a7c9f12"),
    "one character": ("!", "!"),
    "255 characters": ("x" * 255, "x" * 255),
    "quoted": ('"abc"', "abc"),
    "255 characters, quoted": (f'"{"x" * 255}"', "x" * 255),
    "quoted, with escapes": (r'"a\"b\\c"', 'a"b\\c'),
    "a quote inside": ('a"b', 'a"b'),
}
REFUSED = {
    "empty": [""],
    "quoted nothing": ['""'],
    "a lone quote": ['"'],
    "an unfinished quote": ['"abc'],
    "a quote within quotes": ['"a"b"'],
    "a backslash that escapes nothing": ['"a\\b"'],
    "a backslash before the last quote": ['"ab\\"'],
    "256 characters": ["x" * 256],
    "a space": ["a b"],
    "a quoted space": ['"a b"'],
    "a tab": ["a\tb"],
    "not ASCII": ["ключ"],
    "DEL": ["a\x7f"],
    "sent twice": ["a", "b"],
    "sent twice the same": ["a", "a"],
    "a list": ["a, b"],
    "parameters": ['"a";b=1'],
}


@pytest.mark.parametrize(("sent", "key"), KEYS.values(), ids=KEYS.keys())
def test_a_key_is_visible_ascii_once_unquoted(sent: str, key: str) -> None:
    assert idempotency.read_key([sent]) == key


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED.keys())
def test_any_other_key_is_refused_and_never_ignored(sent: list[str]) -> None:
    with pytest.raises(Fault) as refused:
        idempotency.read_key(sent)

    assert refused.value.code == "idempotency_key_invalid"


def test_the_published_pattern_is_what_is_taken() -> None:
    assert all(re.search(idempotency.HEADER_PATTERN, sent) for sent, _ in KEYS.values())
    assert not any(re.search(idempotency.HEADER_PATTERN, sent) for sent, *more in REFUSED.values() if not more)


def test_a_request_without_a_key_gets_one_of_its_own() -> None:
    one, other = idempotency.read_key([]), idempotency.read_key([])

    assert one != other
    assert idempotency.read_key([one]) == one


REQUEST = {"route": "POST /v1/shipments", "path": "/v1/shipments", "query": "", "body": b'{"a":1}'}


@pytest.mark.parametrize(
    "changed",
    [{"route": "POST /v1/inventory/ledger"}, {"path": "/v1/shipments/x"}, {"query": "a=1"}, {"body": b'{"a":2}'}],
)
def test_route_path_query_and_body_each_make_another_request(changed: dict[str, str | bytes]) -> None:
    assert idempotency.fingerprint(**REQUEST) != idempotency.fingerprint(**(REQUEST | changed))  # type: ignore[arg-type]


def test_the_order_of_parameters_and_members_does_not() -> None:
    def made_of(query: str, raw: bytes) -> bytes:
        return idempotency.fingerprint(route="r", path="p", query=query, body=body.parse(raw).canonical)

    assert made_of("a=1&b=2", b'{"x":1,"y":2}') == made_of("b=2&a=1", b'{ "y": 2, "x": 1 }')


def test_a_fingerprint_cannot_be_shifted_between_its_parts() -> None:
    one = idempotency.fingerprint(route="r", path="p", query="a", body=b"b")
    other = idempotency.fingerprint(route="r", path="pa", query="", body=b"b")

    assert one != other
