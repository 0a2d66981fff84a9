"""/openapi.json: it tells every route, and what it tells is what is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from chassis.errors import ERRORS
from chassis.wire import timestamp
from gateway import openapi, openapi_events, openapi_words, sourcing
from gateway.app import ROUTES
from gateway.openapi_examples import ANSWERED, REHEARSED, SENT
from services.webhooks import events
from services.webhooks.domain import EVENT_TYPES
from skutrail.v1 import events_pb2, inventory_pb2, orders_pb2, shipments_pb2
from tests.builders import shipment
from tests.gateway.asking import Answer, Caller
from tests.gateway.conftest import Door

DOCUMENT = openapi.describe(ROUTES)
OPERATIONS = {operation["operationId"]: operation for path in DOCUMENT["paths"].values() for operation in path.values()}


def resolved(schema: Any) -> Any:
    name = schema.get("$ref", "").rpartition("/")[2]
    return DOCUMENT["components"]["schemas"][name] if name else schema


def fits(schema: Any, value: Any) -> bool:
    """Whether the value is what the schema says, with its fields in that order and no others."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return Draft202012Validator(whole).is_valid(value) and is_in_order(schema, value)


def is_in_order(schema: Any, value: Any) -> bool:
    schema = resolved(schema)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return any(fits(choice, value) for choice in choices)
    if isinstance(value, list):
        return all(is_in_order(schema["items"], item) for item in value)
    if isinstance(value, dict):
        fields = dict(fields_of(schema))
        known = [name for name in fields if name in value]
        return list(value) == known and all(is_in_order(fields[name], value[name]) for name in known)
    return True


def fields_of(schema: Any) -> Iterator[tuple[str, Any]]:
    for part in (resolved(part) for part in schema.get("allOf", [schema])):
        yield from part["properties"].items()


def assert_told(name: str, answer: Answer) -> None:
    """The answer has the status, the headers and the fields that the document tells of the call."""
    told = OPERATIONS[name]["responses"][str(answer.status)]
    media_type = answer.headers["Content-Type"].partition(";")[0]
    assert fits(told["content"][media_type]["schema"], answer.json), (name, answer.body)
    assert {*told["headers"]} - {"Idempotent-Replayed", "Retry-After"} <= {*answer.headers}, (name, answer.headers)


def test_every_route_is_told_and_nothing_else() -> None:
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}

    # To linters a slash at the end is a mistake: the one path that has it only leads to the one without.
    routes = [route for route in ROUTES if route.path != "/docs/"]
    assert told == {(route.method, re.sub(r":[^}]*}", "}", route.path)) for route in routes}
    assert len(OPERATIONS) == len(routes)


def test_every_code_is_told_where_a_route_can_meet_it() -> None:
    problems = [
        response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
        for operation in OPERATIONS.values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
    ]

    for told in problems:
        assert {ERRORS[code].http_status for code in told["code"]["enum"]} == {told["status"]["const"]}
    met_by_no_route = {"route_not_found", "method_not_allowed"}
    assert {code for told in problems for code in told["code"]["enum"]} == ERRORS.keys() - met_by_no_route


def test_a_refusal_that_is_kept_may_be_a_replayed_one() -> None:
    posts = [path["post"] for path in DOCUMENT["paths"].values() if "post" in path]
    marked = {
        (operation["operationId"], status)
        for operation in posts
        for status, response in operation["responses"].items()
        if int(status) >= 400 and "Idempotent-Replayed" in response["headers"]
    }

    ended = {(name, status) for name in ("cancel_shipment", "dispatch_shipment") for status in ("404", "409")}
    moved = {(name, "409") for name in ("record_movement", "record_batch", "record_transfer")}
    assert marked == ended | moved


def test_every_call_field_parameter_and_event_is_told_in_words() -> None:
    operations = [*OPERATIONS.values(), *(event["post"] for event in DOCUMENT["webhooks"].values())]
    parameters = [parameter for told in operations for parameter in told["parameters"] if "$ref" not in parameter]
    schemas = DOCUMENT["components"]["schemas"]
    fields = {(name, field): told for name, schema in schemas.items() for field, told in schema["properties"].items()}

    for told in (*operations, *parameters, *fields.values()):
        assert told["description"].endswith((".", ")", "`")), told
    assert {key for key in openapi_words.FIELDS if not is_in_use(key, fields)} == set()


def is_in_use(key: str, fields: Any) -> bool:
    """Whether the words are those of a field that the document has."""
    schema, _, field = key.rpartition(".")
    return any(field == name and schema in ("", owner) for owner, name in fields)


@pytest.mark.parametrize(
    ("schema", "field", "meanings"),
    [
        ("Shipment", "status", openapi_words.SHIPMENT_STATUSES),
        ("Order", "status", openapi_words.ORDER_STATUSES),
        ("Parcel", "label_status", openapi_words.LABEL_STATUSES),
        ("ShipmentInput", "allocation", openapi_words.POLICIES),
        ("AllocationPlan", "status", openapi_words.PLANNED_STATUSES),
        ("Allocation", "status", openapi_words.ALLOCATION_STATUSES),
        ("Candidate", "rule", openapi_words.SOURCING_RULES),
        ("Webhook", "status", openapi_words.WEBHOOK_STATUSES),
        ("LedgerEntry", "reason", openapi_words.REASONS),
    ],
)
def test_every_status_and_reason_is_explained(schema: str, field: str, meanings: Any) -> None:
    told = DOCUMENT["components"]["schemas"][schema]["properties"][field]

    assert told["enum"] == list(meanings)
    assert all(f"- `{value}`: " in told["description"] for value in told["enum"])


def test_every_code_has_an_example_that_is_a_problem() -> None:
    examples = DOCUMENT["components"]["examples"]

    assert list(examples) == list(ERRORS)
    for code, example in examples.items():
        assert example["value"]["code"] == code
        assert fits({"$ref": "#/components/schemas/Problem"}, example["value"]), code


def test_it_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(json.loads(openapi.render(ROUTES))).validate()


def test_every_link_leads_to_a_call_that_takes_its_parameters() -> None:
    links = [
        (name, link["operationId"], set(link["parameters"]))
        for name, operation in OPERATIONS.items()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]

    assert links
    for name, target, given in links:
        taken = {parameter.get("name") for parameter in OPERATIONS[target]["parameters"]}
        assert given <= taken, (name, target)


def test_every_reference_leads_somewhere() -> None:
    for kind, name in re.findall(r'"#/components/(\w+)/([^"]+)"', openapi.render(ROUTES).decode()):
        assert name in DOCUMENT["components"][kind], (kind, name)


def test_every_body_has_an_example() -> None:
    told = {name for name, operation in OPERATIONS.items() if "requestBody" in operation}
    answered = {name for name, operation in OPERATIONS.items() if has_json_answer(operation)}

    assert told == SENT.keys()
    assert answered == ANSWERED.keys() | {"openapi"}


def has_json_answer(operation: Any) -> bool:
    return any("application/json" in response.get("content", {}) for response in operation["responses"].values())


@pytest.mark.parametrize("name", ANSWERED)
def test_the_examples_are_what_the_document_tells(name: str) -> None:
    operation = OPERATIONS[name]
    answer = next(response for status, response in operation["responses"].items() if status.startswith("2"))
    content = answer["content"]["application/json"]

    assert content["example"] == ANSWERED[name]
    assert fits(content["schema"], ANSWERED[name])
    assert ("requestBody" in operation) == (name in SENT)
    if name in SENT:
        body = operation["requestBody"]["content"]["application/json"]
        whole = {**body["schema"], "components": DOCUMENT["components"]}
        Draft202012Validator(whole).validate(SENT[name])


@pytest.mark.parametrize("name", REHEARSED)
def test_the_examples_of_dry_runs_are_what_the_document_tells(name: str) -> None:
    content = OPERATIONS[name]["responses"]["200"]["content"]["application/json"]

    assert content["example"] == REHEARSED[name]
    assert fits(content["schema"], REHEARSED[name])


def test_every_status_of_an_allocation_is_told_in_its_word() -> None:
    statuses = [status for status in inventory_pb2.AllocationStatus.values() if status]
    told = DOCUMENT["components"]["schemas"]["Allocation"]["properties"]["status"]["enum"]

    assert {"queued", *map(sourcing.status_word, statuses)} == set(told)


def test_where_no_body_is_needed_none_is_told() -> None:
    bare = {re.sub(r"[{}]", "", route.path) for route in ROUTES if route.is_bare}

    assert bare == {"/v1/shipments/id/cancel", "/v1/shipments/id/dispatch"}
    assert not {"requestBody"} & (OPERATIONS["cancel_shipment"].keys() | OPERATIONS["dispatch_shipment"].keys())


async def test_anybody_may_read_it(door: Door) -> None:
    answer = await door.caller.by("").get("/openapi.json")

    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == DOCUMENT
    assert '<a href="/openapi.json">' in (await door.caller.by("").get("/docs")).body.decode()


async def test_the_published_calls_answer_as_told(caller: Caller) -> None:
    sku = f"SKU-{uuid4()}"
    moved = await caller.post("/v1/inventory/ledger", {**SENT["record_movement"], "sku": sku})
    asked = shipment(2, sku)
    created = await caller.post("/v1/shipments", asked)
    order = f"/v1/orders/{asked['order_id']}"

    assert_told("record_movement", moved)
    assert_told("get_balance", await caller.get(f"/v1/inventory/balance?sku={sku}&warehouse=SEA-1"))
    assert_told("create_shipment", created)
    assert_told("get_order", await caller.get_until(order, lambda told: told.json["allocations"]))
    assert_told("subscribe", await caller.post("/v1/webhooks/subscribe", SENT["subscribe"]))
    ready = await caller.get_until(created.headers["Location"], lambda told: told.json["status"] == "label_ready")
    assert_told("get_shipment", ready)


async def test_the_calls_around_them_answer_as_told(caller: Caller) -> None:
    sku, body = f"SKU-{uuid4()}", {"warehouse": "SEA-1", "qty": 5, "reason": "receipt"}
    moved = await caller.post("/v1/inventory/ledger", {"sku": sku, **body})
    lines = [{"sku": sku, **body}, {"sku": sku, **body, "qty": 50, "reason": "pick"}]
    transfer = {"sku": sku, "from_warehouse": "SEA-1", "to_warehouse": "PDX-1", "qty": 1}
    webhook = await caller.post("/v1/webhooks/subscribe", {"url": "https://your.app/x", "events": ["*"]})
    assert "secret" in webhook.json
    await caller.post("/v1/shipments", shipment(1, sku))

    assert_told("subscribe", webhook)
    assert_told("get_entry", await caller.get(f"/v1/inventory/ledger/{moved.json['id']}"))
    for atomic, sent in ((True, lines[:1]), (False, lines)):
        batch = await caller.post("/v1/inventory/ledger/batch", {"atomic": atomic, "movements": sent})
        assert_told("record_batch", batch)
    assert_told("record_transfer", await caller.post("/v1/inventory/transfers", transfer))
    assert_told("verify_chain", await caller.get(f"/v1/inventory/verify?sku={sku}&warehouse=SEA-1"))
    assert_told("get_webhook", await caller.get(webhook.headers["Location"]))
    changed = {"headers": {"Content-Type": "application/json"}, "data": b'{"status": "disabled"}'}
    assert_told("change_webhook", await caller.ask("PATCH", webhook.headers["Location"], **changed))
    for name, path in (
        ("list_entries", "/v1/inventory/ledger?limit=1"),
        ("list_levels", f"/v1/inventory/levels?sku={sku}"),
        ("list_shipments", "/v1/shipments?limit=3"),
        ("list_orders", "/v1/orders?limit=3"),
        ("list_webhooks", "/v1/webhooks?limit=1"),
        ("list_event_types", "/v1/webhooks/event-types"),
    ):
        listed = await caller.get(path)
        assert listed.json["data"], name
        assert_told(name, listed)


async def test_the_calls_about_stock_and_its_ends_answer_as_told(caller: Caller) -> None:
    sku, code = f"SKU-{uuid4()}", f"wh {uuid4()}"
    at = f"/v1/warehouses/{quote(code)}"
    undescribed = await caller.get(at)
    described = await caller.put(at, SENT["put_warehouse"])
    await caller.post("/v1/inventory/ledger", {"sku": sku, "warehouse": code, "qty": 5, "reason": "receipt"})
    dry = await caller.post("/v1/shipments?dry_run=true", shipment(2, sku))
    locations = [(await caller.post("/v1/shipments", shipment(2, sku))).headers["Location"] for _ in range(2)]
    for location in locations:
        await caller.get_until(location, lambda told: told.json["status"] == "label_ready")

    assert_told("get_warehouse", undescribed)
    assert_told("put_warehouse", described)
    assert_told("get_warehouse", await caller.get(at))
    assert_told("list_warehouses", await caller.get("/v1/warehouses?limit=1"))
    assert_told("create_shipment", dry)
    assert_told("get_allocation", await caller.get(f"{locations[0]}/allocation"))
    assert_told("cancel_shipment", await caller.post(f"{locations[0]}/cancel", b""))
    assert_told("dispatch_shipment", await caller.post(f"{locations[0]}/dispatch", b""))
    assert_told("dispatch_shipment", await caller.post(f"{locations[1]}/dispatch", b""))
    assert_told("cancel_shipment", await caller.post(f"{locations[1]}/cancel", b""))
    assert_told("cancel_shipment", await caller.post("/v1/shipments/shp_unknown/cancel", b""))


async def test_refusals_are_told(caller: Caller) -> None:
    sku = f"SKU-{uuid4()}"
    pick = {"sku": sku, "warehouse": "SEA-1", "qty": 5, "reason": "pick"}

    assert_told("record_movement", await caller.post("/v1/inventory/ledger", pick))
    assert_told("record_movement", await caller.post("/v1/inventory/ledger", {}))
    assert_told("record_movement", await caller.post("/v1/inventory/ledger", b"{"))
    assert_told("record_movement", await caller.by("").post("/v1/inventory/ledger", pick))
    assert_told("list_entries", await caller.get("/v1/inventory/ledger?cursor=x"))
    assert_told("get_order", await caller.get("/v1/orders/ord_unknown"))


NOW = timestamp(datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC))
ENTRY = inventory_pb2.LedgerEntry(id="inv_1", qty=5, reason="REASON_RECEIPT", created_at=NOW)
SHIPMENT = shipments_pb2.Shipment(
    id="shp_1",
    status="SHIPMENT_STATUS_FAILED",
    ship_to=shipments_pb2.Address(name="Ada Lovelace", line1="1 Shoreline Dr", city="Seattle", postal="98101"),
    parcels=[shipments_pb2.Parcel(warehouse="SEA-1", label_status="LABEL_STATUS_NONE")],
    error=shipments_pb2.ShipmentError(code="refused", message="No such place."),
    created_at=NOW,
    updated_at=NOW,
)
EVENTS = {
    "inventory.updated": events_pb2.Event(entry=ENTRY),
    "inventory.shortfall": events_pb2.Event(shortfall=events_pb2.Shortfall(sku="SKU-1", shipment_ids=["shp_1"])),
    "order.updated": events_pb2.Event(order=orders_pb2.Order(id="ord_1", status="ORDER_STATUS_QUEUED")),
    **{name: events_pb2.Event(shipment=SHIPMENT) for name in EVENT_TYPES if name.startswith("shipment.")},
}


@pytest.mark.parametrize(("event_type", "event"), EVENTS.items(), ids=EVENTS)
def test_every_event_is_delivered_as_told(event_type: str, event: events_pb2.Event) -> None:
    event.MergeFrom(events_pb2.Event(id="evt_1", type=event_type, occurred_at=NOW))
    told = DOCUMENT["webhooks"][event_type]["post"]["requestBody"]["content"]["application/json"]

    assert fits(told["schema"], json.loads(events.render(event)))


def test_every_event_that_is_announced_is_told() -> None:
    assert DOCUMENT["webhooks"].keys() == EVENTS.keys() == EVENT_TYPES.keys() - {"webhook.ping"}


def test_an_event_is_told_in_one_sentence_everywhere_and_says_whether_it_is_sent_yet() -> None:
    assert openapi_events.SENTENCES == EVENT_TYPES
    assert tuple(event for event, said in EVENT_TYPES.items() if "(not sent yet)" in said) == openapi_events.UNCAUSED
    assert {
        event: told["post"]["summary"] for event, told in DOCUMENT["webhooks"].items()
    }.items() <= EVENT_TYPES.items()
