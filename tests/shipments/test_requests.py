"""What may be asked for: whoever calls past the gateway is held to its rules."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chassis.errors import Fault
from gateway import requests as of_gateway
from gateway import validation
from services.shipments import requests
from services.shipments.domain import Address, Line, ShipmentRequest

BODY = {
    "order_id": "ord_1",
    "ship_to": {"name": "Ada", "line1": "1 Shoreline Dr", "city": "Seattle", "postal": "98101", "country": "US"},
    "line_items": [{"sku": "SKU-1", "qty": 2}],
    "carrier_hint": "ups_ground",
}
FIELDS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "/order_id": lambda text: {**BODY, "order_id": text},
    "/carrier_hint": lambda text: {**BODY, "carrier_hint": text},
    "/line_items/0/sku": lambda text: {**BODY, "line_items": [{"sku": text, "qty": 2}]},
    "/line_items/0/qty": lambda qty: {**BODY, "line_items": [{"sku": "SKU-1", "qty": qty}]},
    "/line_items": lambda count: {**BODY, "line_items": [{"sku": "SKU-1", "qty": 2}] * count},
    **{
        f"/ship_to/{name}": lambda text, name=name: {**BODY, "ship_to": {**BODY["ship_to"], name: text}}  # type: ignore[dict-item,misc]
        for name in ("name", "line1", "line2", "city", "state", "postal")
    },
}
TEXTS = [pointer for pointer in FIELDS if pointer not in ("/line_items", "/line_items/0/qty")]


def requested(body: Mapping[str, Any]) -> ShipmentRequest:
    ship_to = Address(**{"line2": None, "state": None, **body["ship_to"]})
    lines = [Line(**line) for line in body["line_items"]]
    return ShipmentRequest("acc_1:test", body["order_id"], ship_to, lines, body["carrier_hint"])


def faults_of(check: Callable[[], object]) -> list[tuple[str, str]]:
    try:
        check()
    except Fault as fault:
        return [(field.pointer, field.code) for field in fault.fields]
    return []


@given(
    pointer=st.sampled_from(TEXTS),
    text=st.text(max_size=110)
    | st.text(alphabet="aZ0_.:- \t\0\u00a0\u2003\u200d\u202e\u2028é漢📦", max_size=8)
    | st.integers(18, 101).map("x".__mul__),
)
@example("/line_items/0/sku", "BAD\x01")
@example("/order_id", "")
@example("/ship_to/name", " ")
def test_the_service_refuses_the_texts_that_the_gateway_refuses(pointer: str, text: str) -> None:
    body = FIELDS[pointer](text)

    by_service = faults_of(lambda: requests.check(requested(body)))

    assert by_service == faults_of(lambda: validation.read(of_gateway.Shipment, body))
    assert {found for found, _ in by_service} <= {pointer}


@pytest.mark.parametrize(
    ("pointer", "number", "is_valid"),
    [
        *(("/line_items/0/qty", qty, 1 <= qty <= 10**9) for qty in (-1, 0, 1, 10**9, 10**9 + 1)),
        *(("/line_items", count, 1 <= count <= 100) for count in (0, 1, 100, 101)),
    ],
)
def test_the_service_refuses_the_numbers_that_the_gateway_refuses(pointer: str, number: int, is_valid: bool) -> None:
    body = FIELDS[pointer](number)

    by_service = faults_of(lambda: requests.check(requested(body)))

    assert by_service == faults_of(lambda: validation.read(of_gateway.Shipment, body))
    assert by_service == [] if is_valid else [found for found, _ in by_service] == [pointer]


@pytest.mark.parametrize(("country", "is_valid"), [("US", True), ("us", False), ("USA", False), ("", False)])
def test_a_country_is_two_letters(country: str, is_valid: bool) -> None:
    body = {**BODY, "ship_to": {**BODY["ship_to"], "country": country}}  # type: ignore[dict-item]

    found = faults_of(lambda: requests.check(requested(body)))

    assert found == ([] if is_valid else [("/ship_to/country", "bad_country")])


def test_every_fault_is_told_at_once() -> None:
    body = {**BODY, "order_id": "a b", "line_items": [{"sku": " ", "qty": 0}]}

    found = faults_of(lambda: requests.check(requested(body)))

    assert sorted(pointer for pointer, _ in found) == ["/line_items/0/qty", "/line_items/0/sku", "/order_id"]
