"""What may be asked for: whoever calls past the gateway is held to its rules."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chassis.errors import Fault
from gateway import requests as of_gateway
from gateway import validation
from services.shipments import requests
from services.shipments.domain import Address, Coordinates, Line, ShipmentRequest

NOW = datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC)
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

    by_service = faults_of(lambda: requests.check(requested(body), NOW))

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

    by_service = faults_of(lambda: requests.check(requested(body), NOW))

    assert by_service == faults_of(lambda: validation.read(of_gateway.Shipment, body))
    assert by_service == [] if is_valid else [found for found, _ in by_service] == [pointer]


@pytest.mark.parametrize(("country", "is_valid"), [("US", True), ("us", False), ("USA", False), ("", False)])
def test_a_country_is_two_letters(country: str, is_valid: bool) -> None:
    body = {**BODY, "ship_to": {**BODY["ship_to"], "country": country}}  # type: ignore[dict-item]

    found = faults_of(lambda: requests.check(requested(body), NOW))

    assert found == ([] if is_valid else [("/ship_to/country", "bad_country")])


def test_every_fault_is_told_at_once() -> None:
    body = {**BODY, "order_id": "a b", "line_items": [{"sku": " ", "qty": 0}]}

    found = faults_of(lambda: requests.check(requested(body), NOW))

    assert sorted(pointer for pointer, _ in found) == ["/line_items/0/qty", "/line_items/0/sku", "/order_id"]


@pytest.mark.parametrize(("priority", "is_valid"), [(-1, False), (0, True), (100, True), (101, False)])
def test_a_priority_is_0_to_100(priority: int, is_valid: bool) -> None:
    wanted = replace(requested(BODY), priority=priority)

    found = faults_of(lambda: requests.check(wanted, NOW))

    assert found == ([] if is_valid else [("/priority", "out_of_range")])


@pytest.mark.parametrize(("seconds", "is_valid"), [(-1, False), (0, False), (1, True)])
def test_a_hold_expires_in_the_future(seconds: int, is_valid: bool) -> None:
    wanted = replace(requested(BODY), hold_expires_at=NOW + timedelta(seconds=seconds))

    found = faults_of(lambda: requests.check(wanted, NOW))

    assert found == ([] if is_valid else [("/hold_expires_at", "in_the_past")])


@pytest.mark.parametrize(
    ("latitude", "longitude", "wrong"),
    [
        (90.0, -180.0, []),
        (-90.5, 180.5, ["latitude", "longitude"]),
        (float("nan"), 0.0, ["latitude"]),
        (0.0, float("inf"), ["longitude"]),
    ],
)
def test_coordinates_are_on_the_earth(latitude: float, longitude: float, wrong: list[str]) -> None:
    wanted = requested(BODY)
    wanted = replace(wanted, ship_to=replace(wanted.ship_to, coordinates=Coordinates(latitude, longitude)))

    found = faults_of(lambda: requests.check(wanted, NOW))

    assert found == [(f"/ship_to/coordinates/{name}", "out_of_range") for name in wrong]
