"""What callers may send of where stock comes from: places, how a shipment wants its stock, warehouses, and nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.clock import utc_now
from gateway import requests, validation
from tests.gateway.test_requests import NOT_WHOLE, SHIPMENT, found

PLACE = {"latitude": 47.606209, "longitude": -122.332071}


def bound_for(place: Any) -> dict[str, Any]:
    return SHIPMENT | {"ship_to": SHIPMENT["ship_to"] | {"coordinates": place}}


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(47.606209, -122.332071), (90, 180), (-90, -180), (0, 0), (-0.0, 1e-9)]
)
def test_a_place_is_a_point_of_the_earth(latitude: float, longitude: float) -> None:
    place = {"latitude": latitude, "longitude": longitude}

    assert found(requests.Shipment, bound_for(place)) == set()
    assert found(requests.Warehouse, {"coordinates": place}) == set()


@pytest.mark.parametrize(
    ("place", "faults"),
    [
        (PLACE | {"latitude": 90.000001}, {("/latitude", "out_of_range")}),
        (PLACE | {"latitude": -91}, {("/latitude", "out_of_range")}),
        (PLACE | {"longitude": 180.5}, {("/longitude", "out_of_range")}),
        (PLACE | {"longitude": float("inf")}, {("/longitude", "out_of_range")}),
        (PLACE | {"longitude": float("nan")}, {("/longitude", "out_of_range")}),
        (PLACE | {"latitude": "47.6"}, {("/latitude", "wrong_type")}),
        (PLACE | {"latitude": True}, {("/latitude", "wrong_type")}),
        (PLACE | {"latitude": None}, {("/latitude", "wrong_type")}),
        (PLACE | {"latitude": 10**400}, {("/latitude", "wrong_type")}),
        ({"latitude": 1}, {("/longitude", "required")}),
        (PLACE | {"altitude": 1}, {("/altitude", "unknown_field")}),
        ([47.6, -122.3], {("", "wrong_type")}),
    ],
)
def test_what_is_no_place_is_refused(place: Any, faults: set[tuple[str, str]]) -> None:
    at = "/ship_to/coordinates"

    assert found(requests.Shipment, bound_for(place)) == {(at + pointer, code) for pointer, code in faults}


def test_a_shipment_says_how_it_wants_its_stock() -> None:
    silent = validation.read(requests.Shipment, SHIPMENT)
    said = {"allocation": "partial", "priority": 100, "hold_expires_at": "2999-01-01T00:00:00+02:00"}
    spoken = validation.read(requests.Shipment, SHIPMENT | said)

    assert (silent.allocation, silent.priority, silent.hold_expires_at) == ("all_or_none", 0, None)
    assert (spoken.allocation, spoken.priority) == ("partial", 100)
    assert spoken.hold_expires_at == datetime(2998, 12, 31, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("allocation", "some", "unknown_value"),
        ("allocation", "Partial", "unknown_value"),
        ("allocation", None, "unknown_value"),
        ("priority", -1, "out_of_range"),
        ("priority", 101, "out_of_range"),
        *(("priority", value, "wrong_type") for value in NOT_WHOLE),
        ("hold_expires_at", "2999-01-01T00:00:00", "bad_time"),
        ("hold_expires_at", "2999-01-01", "bad_time"),
        ("hold_expires_at", "2999-02-30T00:00:00Z", "bad_time"),
        ("hold_expires_at", "tomorrow", "bad_time"),
        ("hold_expires_at", "", "bad_time"),
        ("hold_expires_at", "2026-04-22T17:04:11Z", "in_the_past"),
        ("hold_expires_at", 32472144000, "wrong_type"),
    ],
)
def test_how_it_wants_its_stock_is_held_to_its_rules(field: str, value: Any, code: str) -> None:
    assert found(requests.Shipment, SHIPMENT | {field: value}) == {(f"/{field}", code)}


def test_a_stock_hold_ends_in_the_future_or_not_at_all() -> None:
    now = utc_now()

    for expires_at, faults in (
        (now, {("/hold_expires_at", "in_the_past")}),
        (now + timedelta(minutes=1), set()),
        (None, set()),
    ):
        body = SHIPMENT | {"hold_expires_at": expires_at and expires_at.isoformat()}
        assert found(requests.Shipment, body) == faults


def test_a_warehouse_is_described_as_far_as_one_likes() -> None:
    silent = validation.read(requests.Warehouse, {})
    whole = {
        "name": "Seattle, Shoreline",
        "address": {name: text for name, text in SHIPMENT["ship_to"].items() if name != "name"},
        "coordinates": PLACE,
        "priority": 10,
        "active": False,
    }

    assert silent.model_dump() == {
        **dict.fromkeys(("name", "address", "coordinates")),
        "priority": 0,
        "active": True,
    }
    assert validation.read(requests.Warehouse, whole).model_dump(exclude_unset=True) == whole


def test_the_faults_of_a_warehouse_are_told_at_once() -> None:
    body = {"code": "SEA-1", "name": "", "active": "yes", "address": {"country": "UK"}, "coordinates": {}}

    assert found(requests.Warehouse, body) == {
        ("/code", "unknown_field"),
        ("/name", "wrong_length"),
        ("/active", "wrong_type"),
        ("/address/line1", "required"),
        ("/address/city", "required"),
        ("/address/postal", "required"),
        ("/address/country", "bad_country"),
        ("/coordinates/latitude", "required"),
        ("/coordinates/longitude", "required"),
    }


@pytest.mark.parametrize("value", [{"x": 1}, {"id": "shp_1"}, [], None, 3, ""])
def test_nothing_is_nothing_but_an_empty_object(value: Any) -> None:
    assert found(requests.Nothing, {}) == set()
    assert found(requests.Nothing, value) != set()
