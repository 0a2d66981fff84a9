"""What callers may send: every rule of every field, told at once and by its pointer."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import pytest

from chassis.errors import Fault
from chassis.wire import enum_name
from gateway import fields, requests, validation
from gateway.countries import COUNTRIES
from services.webhooks import domain
from skutrail.v1 import inventory_pb2, orders_pb2, shipments_pb2, webhooks_pb2

MOVEMENT = {"sku": "SKU-0042", "warehouse": "SEA-1", "qty": 120, "reason": "receipt", "reference": "PO-2026-00814"}
SHIPMENT = {
    "order_id": "ord_5k2n9v",
    "ship_to": {
        "name": "Ada Lovelace",
        "line1": "1 Shoreline Dr",
        "city": "Seattle",
        "state": "WA",
        "postal": "98101",
        "country": "US",
    },
    "line_items": [{"sku": "SKU-0042", "qty": 2}],
    "carrier_hint": "ups_ground",
}
SUBSCRIPTION = {
    "url": "https://your.app/webhooks/skutrail",
    "events": ["shipment.created", "inventory.updated"],
    "secret": "whsec_REPLACE",
}
NOT_WHOLE = ["5", 1.5, 1.0, 1e2, True, False, None, [], {}, "", "0x10"]
NOT_PRINTABLE = [
    "a\0b",
    "a\x1fb",
    "a\x7fb",
    "a\nb",
    "a\tb",
    "\u202eb",
    "a\u200bb",
    "a\u2028b",
    "\ufeffb",
    " a",
    "a ",
    " ",
]
NOT_TEXT = [5, 1.5, True, None, [], {}]


def found(model: type[validation.Strict], value: Any) -> set[tuple[str, str]]:
    """The (pointer, code) pairs a value is refused with; none when it is accepted."""
    try:
        validation.read(model, value)
    except Fault as fault:
        return {(field.pointer, field.code) for field in fault.fields}
    return set()


@pytest.mark.parametrize(
    ("model", "value"),
    [(requests.Movement, MOVEMENT), (requests.Shipment, SHIPMENT), (requests.Subscription, SUBSCRIPTION)],
)
def test_the_bodies_of_the_preview_are_accepted_word_for_word(model: type[validation.Strict], value: Any) -> None:
    assert validation.read(model, value).model_dump(exclude_unset=True) == value


@pytest.mark.parametrize("qty", NOT_WHOLE)
def test_only_whole_numbers_are_quantities(qty: Any) -> None:
    assert found(requests.Movement, MOVEMENT | {"qty": qty}) == {("/qty", "wrong_type")}


@pytest.mark.parametrize("qty", [0, 10**9 + 1, -(10**9) - 1, 2**63, 2**64, 10**300])
def test_a_quantity_is_not_zero_and_at_most_a_thousand_million(qty: int) -> None:
    assert found(requests.Movement, MOVEMENT | {"qty": qty, "reason": "adjustment"}) == {("/qty", "out_of_range")}


@pytest.mark.parametrize(
    ("reason", "qty", "is_accepted"),
    [
        ("receipt", 1, True),
        ("receipt", -1, False),
        ("pick", 5, True),
        ("pick", -5, True),
        ("adjustment", 10**9, True),
        ("adjustment", -(10**9), True),
        ("transfer", 1, True),
        ("transfer", -1, True),
    ],
)
def test_the_reason_rules_the_sign(reason: str, qty: int, is_accepted: bool) -> None:
    refused = found(requests.Movement, MOVEMENT | {"reason": reason, "qty": qty})

    assert refused == (set() if is_accepted else {("/qty", "out_of_range")})


@pytest.mark.parametrize("reason", ["Receipt", "sale", "", 1, None, ["receipt"]])
def test_a_reason_is_one_of_four_words(reason: Any) -> None:
    assert found(requests.Movement, MOVEMENT | {"reason": reason}) == {("/reason", "unknown_value")}


@pytest.mark.parametrize("field", ["sku", "warehouse"])
@pytest.mark.parametrize(
    ("texts", "code"),
    [(NOT_PRINTABLE, "bad_characters"), (["", "x" * 65], "wrong_length"), (NOT_TEXT, "wrong_type")],
)
def test_a_sku_or_warehouse_is_1_to_64_printable_characters(field: str, texts: list[Any], code: str) -> None:
    for text in texts:
        assert found(requests.Movement, MOVEMENT | {field: text}) == {(f"/{field}", code)}, repr(text)


@pytest.mark.parametrize("sku", ["x", "x" * 64, "SKU 42", "größe-ß", "商品-７", "📦" * 64, "'; DROP TABLE x --", "Zoë"])
def test_any_printable_unicode_is_a_sku(sku: str) -> None:
    assert found(requests.Movement, MOVEMENT | {"sku": sku}) == set()


def test_a_reference_is_optional_and_0_to_128_printable_characters() -> None:
    absent = {name: value for name, value in MOVEMENT.items() if name != "reference"}

    assert found(requests.Movement, absent) == set()
    for accepted in (None, "", "x" * 128):
        assert found(requests.Movement, MOVEMENT | {"reference": accepted}) == set()
    for refused, code in (("x" * 129, "wrong_length"), ("a\0", "bad_characters"), (7, "wrong_type")):
        assert found(requests.Movement, MOVEMENT | {"reference": refused}) == {("/reference", code)}


@pytest.mark.parametrize("value", [[], "text", 3, None, True])
def test_a_body_is_an_object(value: Any) -> None:
    assert found(requests.Movement, value) == {("", "wrong_type")}


def test_every_fault_of_a_body_is_told_at_once() -> None:
    body = {"sku": "", "qty": -5, "reason": "receipt", "referance": "PO", "warehouse": 7}

    assert found(requests.Movement, body) == {
        ("/sku", "wrong_length"),
        ("/qty", "out_of_range"),
        ("/warehouse", "wrong_type"),
        ("/referance", "unknown_field"),
    }


def test_missing_fields_are_named() -> None:
    assert found(requests.Movement, {}) == {(f"/{name}", "required") for name in ("sku", "warehouse", "qty", "reason")}


def test_faults_further_in_are_named_by_their_path() -> None:
    body = SHIPMENT | {
        "line_items": [{"sku": "A", "qty": 1}, {"sku": "A", "qty": 0, "size/~": 1}],
        "ship_to": {"name": "Ada"} | {"country": "UK"},
    }

    assert found(requests.Shipment, body) == {
        ("/line_items/1/qty", "out_of_range"),
        ("/line_items/1/size~1~0", "unknown_field"),
        ("/ship_to/line1", "required"),
        ("/ship_to/city", "required"),
        ("/ship_to/postal", "required"),
        ("/ship_to/country", "bad_country"),
    }


@pytest.mark.parametrize("order_id", ["ord_5k2n9v", "A", "1001", "a.b:c-d_e", "x" * 64])
def test_an_order_id_is_the_callers(order_id: str) -> None:
    assert found(requests.Shipment, SHIPMENT | {"order_id": order_id}) == set()


@pytest.mark.parametrize(
    ("order_id", "code"),
    [
        ("", "wrong_length"),
        ("x" * 65, "wrong_length"),
        ("a b", "bad_characters"),
        ("a/b", "bad_characters"),
        ("é", "bad_characters"),
        ("٣", "bad_characters"),
        ("a\n", "bad_characters"),
        (1001, "wrong_type"),
    ],
)
def test_what_is_no_order_id_is_refused(order_id: Any, code: str) -> None:
    assert found(requests.Shipment, SHIPMENT | {"order_id": order_id}) == {("/order_id", code)}


@pytest.mark.parametrize("qty", [0, -1, 10**9 + 1])
def test_a_line_asks_for_one_unit_or_more(qty: int) -> None:
    assert found(requests.Shipment, SHIPMENT | {"line_items": [{"sku": "A", "qty": qty}]}) == {
        ("/line_items/0/qty", "out_of_range")
    }


@pytest.mark.parametrize("count", [0, 101])
def test_a_shipment_has_1_to_100_lines(count: int) -> None:
    lines = [{"sku": "A", "qty": 1}] * count

    assert found(requests.Shipment, SHIPMENT | {"line_items": lines}) == {("/line_items", "wrong_length")}


@pytest.mark.parametrize("name", ["山田　太郎", "O'Brien", "Zoë\u00a0Ångström", "نیم\u200cفاصله", "A" * 100])
def test_an_address_may_be_written_in_any_script(name: str) -> None:
    assert found(requests.Shipment, SHIPMENT | {"ship_to": SHIPMENT["ship_to"] | {"name": name}}) == set()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "wrong_length"),
        ("A" * 101, "wrong_length"),
        ("  ", "bad_characters"),
        ("a\0b", "bad_characters"),
        ("a\nb", "bad_characters"),
        (None, "wrong_type"),
    ],
)
def test_an_address_line_is_neither_blank_nor_unprintable(name: Any, code: str) -> None:
    refused = found(requests.Shipment, SHIPMENT | {"ship_to": SHIPMENT["ship_to"] | {"name": name}})

    assert refused == {("/ship_to/name", code)}


@pytest.mark.parametrize("country", ["us", "USA", "UK", "XX", "", "U"])
def test_a_country_is_a_code_of_iso_3166(country: str) -> None:
    refused = found(requests.Shipment, SHIPMENT | {"ship_to": SHIPMENT["ship_to"] | {"country": country}})

    assert refused == {("/ship_to/country", "bad_country")}


def test_the_countries_are_those_of_the_time_zone_database() -> None:
    table = resources.files("tzdata").joinpath("zoneinfo/iso3166.tab").read_text()

    assert {line[:2] for line in table.splitlines() if not line.startswith("#")} == COUNTRIES


@pytest.mark.parametrize(
    "url",
    [
        "https://your.app/webhooks/skutrail",
        "http://127.0.0.1:9000/x?y=%20",
        "https://[2606:4700::1111]/",
        "https://bücher.example",
    ],
)
def test_a_webhook_url_is_http_with_a_host(url: str) -> None:
    assert found(requests.Subscription, SUBSCRIPTION | {"url": url}) == set()


@pytest.mark.parametrize(
    "url",
    [
        "your.app/x",
        "ftp://your.app/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///x",
        "https://user@your.app/",
        "https://user:pw@your.app/",
        "https://@your.app/",
        "https://your.app/#x",
        "https://your.app/a b",
        "https://your.app/\n",
        "https://your.app:0/",
        "https://your.app:99999/",
        "https://your.app:x/",
        "https://[::1/",
        "https://your.app\\@evil.example/",
        " https://your.app/",
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    assert found(requests.Subscription, SUBSCRIPTION | {"url": url}) == {("/url", "bad_url")}


def test_a_url_is_at_most_2048_characters() -> None:
    url = "https://your.app/" + "x" * 2048

    assert found(requests.Subscription, SUBSCRIPTION | {"url": url}) == {("/url", "wrong_length")}


def test_events_are_types_of_the_catalogue_or_patterns_over_them() -> None:
    assert found(requests.Subscription, SUBSCRIPTION | {"events": ["*", "shipment.*", "order.updated"]}) == set()
    assert found(requests.Subscription, SUBSCRIPTION | {"events": []}) == {("/events", "wrong_length")}
    assert found(
        requests.Subscription, SUBSCRIPTION | {"events": ["shipment.created", "shipment.made", "allocation.changed", 3]}
    ) == {
        ("/events/1", "unknown_value"),
        ("/events/2", "unknown_value"),
        ("/events/3", "wrong_type"),
    }


def test_the_event_types_are_the_public_ones_of_the_contract() -> None:
    contract = Path("proto/skutrail/v1/events.proto").read_text()
    public = re.findall(r"^// (\w+\.\w+) +\w+ +\w+ +yes$", contract, re.MULTILINE)

    assert {*public, "webhook.ping"} == set(fields.EVENT_TYPES)


def test_the_gateway_lets_pass_exactly_the_patterns_that_the_service_knows() -> None:
    assert fields.EVENT_PATTERNS == domain.PATTERNS


@pytest.mark.parametrize("secret", ["whsec_REPLACE", "x", "p@ss word", "x" * 256])
def test_any_printable_ascii_is_a_secret(secret: str) -> None:
    assert found(requests.Subscription, SUBSCRIPTION | {"secret": secret}) == set()


@pytest.mark.parametrize(
    ("secret", "code"),
    [("", "wrong_length"), ("x" * 257, "wrong_length"), ("é", "bad_characters"), ("a\n", "bad_characters")],
)
def test_a_secret_that_cannot_be_typed_is_refused(secret: str, code: str) -> None:
    assert found(requests.Subscription, SUBSCRIPTION | {"secret": secret}) == {("/secret", code)}


def test_a_body_of_unknown_members_names_fifty_of_them_and_what_is_missing() -> None:
    with pytest.raises(Fault) as refused:
        validation.read(requests.Movement, {f"x{number}": 1 for number in range(100_000)})

    assert len(refused.value.fields) == 50
    assert refused.value.detail == "More than 50 fields are not valid; the first 50 are listed."
    assert {field.pointer for field in refused.value.fields} > {"/sku", "/warehouse", "/qty", "/reason"}


def test_known_members_are_read_however_many_unknown_ones_come_first() -> None:
    refused = found(requests.Movement, {f"x{number}": 1 for number in range(100_000)} | MOVEMENT)

    assert {code for _, code in refused} == {"unknown_field"}


def test_a_pointer_is_short_however_long_a_members_name() -> None:
    ((pointer, code),) = found(requests.Movement, MOVEMENT | {"x" * 1_000_000: 1})

    assert (len(pointer), code) == (201, "unknown_field")


@pytest.mark.parametrize(
    "model", [requests.Movement, requests.Shipment, requests.Subscription, requests.Warehouse, requests.Nothing]
)
def test_each_body_has_a_json_schema(model: type[validation.Strict]) -> None:
    assert model.model_json_schema()["additionalProperties"] is False


@pytest.mark.parametrize(
    ("words", "enum"),
    [
        (fields.Reason, inventory_pb2.Reason),
        (fields.OrderStatus, orders_pb2.OrderStatus),
        (fields.ShipmentStatus, shipments_pb2.ShipmentStatus),
        (fields.SubscriptionStatus, webhooks_pb2.SubscriptionStatus),
        (fields.AllocationPolicy, inventory_pb2.AllocationPolicy),
    ],
)
def test_a_word_of_the_reference_is_one_of_the_contract(words: Any, enum: Any) -> None:
    names = {enum_name(enum.DESCRIPTOR, number) for number in enum.values()}

    assert set(get_args(words)) == names - {"unspecified"}
