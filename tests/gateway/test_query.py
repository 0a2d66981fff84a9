"""Parameters: known ones, each once, well spelled."""

from __future__ import annotations

import pytest

from chassis.errors import Fault
from gateway import query, requests

REFUSED = {
    "unknown parameter": ("sku=A&warehouse=W&colour=red", [("colour", "unknown_parameter")]),
    "repeated parameter": ("sku=A&sku=A&warehouse=W", [("sku", "repeated")]),
    "missing parameter": ("sku=A", [("warehouse", "required")]),
    "empty parameter": ("sku=&warehouse=W", [("sku", "wrong_length")]),
    "two at once": ("sku=&warehouse=" + "w" * 65, [("sku", "wrong_length"), ("warehouse", "wrong_length")]),
    "NUL": ("sku=%00&warehouse=W", [("sku", "bad_characters")]),
    "control character": ("sku=a%0ab&warehouse=W", [("sku", "bad_characters")]),
    "blank at the end": ("sku=a+&warehouse=W", [("sku", "bad_characters")]),
    "escapes that are not UTF-8": ("sku=%ff&warehouse=W", []),
    "encoded surrogate": ("sku=%ed%a0%80&warehouse=W", []),
    "parameter without a value": ("sku&warehouse=W", []),
    "empty parameter between": ("sku=A&&warehouse=W", []),
    "a thousand parameters": ("&".join(f"a{number}=1" for number in range(1000)), []),
}


@pytest.mark.parametrize(("raw", "faults"), REFUSED.values(), ids=REFUSED.keys())
def test_a_parameter_that_is_not_expected_exactly_is_refused(raw: str, faults: list[tuple[str, str]]) -> None:
    with pytest.raises(Fault) as refused:
        query.read(requests.BalanceQuery, raw)

    assert refused.value.code == "invalid_parameter"
    assert [(fault.pointer, fault.code) for fault in refused.value.fields] == faults


@pytest.mark.parametrize(
    ("raw", "sku"),
    [
        ("sku=SKU-0042&warehouse=W", "SKU-0042"),
        ("warehouse=W&sku=a+b", "a b"),
        ("sku=a%20b&warehouse=W", "a b"),
        ("sku=%E5%95%86&warehouse=W", "商"),
        ("sku=a%26b%3Dc&warehouse=W", "a&b=c"),
        ("sku=a%2Bb&warehouse=W", "a+b"),
        ("sku=%25ff&warehouse=W", "%ff"),
    ],
)
def test_a_value_is_decoded_once(raw: str, sku: str) -> None:
    assert query.read(requests.BalanceQuery, raw).sku == sku


def test_a_route_without_parameters_takes_none() -> None:
    assert query.read(requests.NoQuery, "") == requests.NoQuery()
    with pytest.raises(Fault):
        query.read(requests.NoQuery, "pretty=1")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("SEA-1", "SEA-1"),
        ("SEA%201%2fA", "SEA 1/A"),
        ("a+b", "a+b"),
        ("%25ff", "%ff"),
        ("%E5%95%86", "商"),
        ("..", ".."),
    ],
)
def test_a_part_of_a_path_is_decoded_once_and_a_plus_stays_one(sent: str, code: str) -> None:
    assert query.read_path(requests.WarehousePath, code=sent).code == code


@pytest.mark.parametrize("sent", ["%ff", "%00", "%20a", "x" * 65, "a\udcff"])
def test_a_part_of_a_path_is_held_to_the_rules_of_its_field(sent: str) -> None:
    with pytest.raises(Fault) as refused:
        query.read_path(requests.WarehousePath, code=sent)

    assert refused.value.code == "invalid_parameter"
    assert [fault.pointer for fault in refused.value.fields] == ["code"]
