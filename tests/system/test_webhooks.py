"""What happens is told: signed, at least once, under an id that tells a repetition, and in the published shape."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web

from tests.builders import Tenant, movement, without
from tests.system.subscriber import SECRET, Subscriber, signs_raw, subscriber

PUBLISHED = "whsec_REPLACE"

ENTRY = ["id", "sku", "warehouse", "qty", "reason", "reference", "balance", "seq", "created_at"]
SHIPMENT = [
    *("id", "status", "label_url", "order_id", "ship_to", "line_items", "carrier_hint", "carrier", "service"),
    *("allocations", "parcels", "error", "created_at", "updated_at"),
]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(params=[SECRET, PUBLISHED])
async def receiver(request: pytest.FixtureRequest) -> AsyncIterator[Subscriber]:
    """Whichever form the secret has, a library for Standard Webhooks verifies what arrives."""
    async with subscriber(request.param) as receiver:
        yield receiver


async def test_every_movement_arrives_signed_with_its_place_in_the_chain(tenant: Tenant, receiver: Subscriber) -> None:
    await tenant.subscribe(receiver.url, "inventory.updated", secret=receiver.secret)

    received = await tenant.record(5, reference="PO-1")
    picked = await tenant.record(2, reason="pick")
    refused = await tenant.record(9, reason="pick")
    adjusted = await tenant.record(-1, reason="adjustment")
    assert refused.status == 409
    events = await receiver.events_until(lambda events: len(events) == 3)

    entries = sorted((event["data"] for event in events), key=lambda entry: entry["seq"])
    assert [list(entry) for entry in entries] == [ENTRY] * 3
    assert [without(entry, "reason", "reference", "seq") for entry in entries] == [
        answer.json for answer in (received, picked, adjusted)
    ]
    assert [(entry["seq"], entry["reason"], entry["reference"]) for entry in entries] == [
        (1, "receipt", "PO-1"),
        (2, "pick", None),
        (3, "adjustment", None),
    ]


async def test_every_step_of_a_shipment_arrives_signed_with_the_whole_shipment(
    tenant: Tenant, receiver: Subscriber
) -> None:
    await tenant.subscribe(receiver.url, "shipment.*", secret=receiver.secret)

    shipment_id = await tenant.ship(2)
    await tenant.shipment_that_is(shipment_id, "backordered")
    await tenant.receive(2)
    shipment = await tenant.shipment_that_is(shipment_id, "label_ready")
    events = await receiver.events_until(lambda events: len(events) == 4)

    by_status = {event["type"]: event["data"] for event in events}
    assert set(by_status) == {f"shipment.{step}" for step in ("created", "backordered", "allocated", "label_ready")}
    assert {(tuple(data), data["id"]) for data in by_status.values()} == {(tuple(SHIPMENT), shipment_id)}
    assert by_status["shipment.created"]["status"] == "queued"
    assert by_status["shipment.allocated"]["allocations"] == [{"sku": "SKU-1", "warehouse": "SEA-1", "qty": 2}]
    ready = by_status["shipment.label_ready"]
    assert without(ready, "label_url") == without(shipment, "label_url")
    label = await tenant.api.by("").get(ready["label_url"].removeprefix(tenant.api.base_url))
    assert (label.status, label.body[:5]) == (200, b"%PDF-")


async def test_an_event_tells_when_it_happened_and_a_delivery_when_it_was_sent(
    tenant: Tenant, receiver: Subscriber
) -> None:
    await tenant.subscribe(receiver.url, "*", secret=receiver.secret)

    entry = await tenant.receive(1)
    (event,) = await receiver.events_until(lambda events: len(events) == 1)

    assert event["id"].startswith("evt_")
    assert event["timestamp"] == entry["created_at"]
    assert TIME.fullmatch(event["timestamp"])
    headers = receiver.deliveries[0].headers
    assert headers["content-type"] == "application/json"
    assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 10


async def test_the_published_secret_also_verifies_as_the_raw_string(tenant: Tenant) -> None:
    async with subscriber(PUBLISHED) as receiver:
        await tenant.subscribe(receiver.url, "inventory.updated", secret=PUBLISHED)

        await tenant.receive(1)
        await receiver.events_until(lambda events: len(events) == 1)

        assert signs_raw(PUBLISHED, receiver.deliveries[0])


async def test_an_order_tells_its_status_whenever_a_shipment_moves_it(tenant: Tenant) -> None:
    async with subscriber(SECRET) as receiver:
        await tenant.subscribe(receiver.url, "order.updated", secret=SECRET)
        await tenant.receive(3)

        shipment_id = await tenant.ship(3, order_id="ord-7")
        events = await receiver.events_until(lambda events: any(e["data"]["allocations"] for e in events))

        told = next(event["data"] for event in events if event["data"]["allocations"])
        assert told == {
            "id": "ord-7",
            "status": "allocated",
            "allocations": [{"warehouse": "SEA-1", "qty": 3, "shipment_id": shipment_id}],
        }


async def test_what_a_receiver_refuses_comes_again_after_five_seconds_under_the_same_id(tenant: Tenant) -> None:
    """The second step of the published schedule. The steps after it are tested with a clock that is moved."""
    async with subscriber(SECRET) as receiver:
        receiver.receiver.answer = refuse_first
        await tenant.subscribe(receiver.url, "inventory.updated", secret=SECRET)

        await tenant.receive(1)
        await receiver.events_until(lambda _: len(receiver.deliveries) == 2, within_s=12)

        first, second = receiver.deliveries
        assert (second.headers["webhook-id"], second.body) == (first.headers["webhook-id"], first.body)
        waited_s = int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"])
        assert 5 <= waited_s <= 9, "5 s and up to a fifth more, a second of polling, whole seconds"
        assert len(receiver.events()) == 1


async def test_a_replayed_write_is_not_told_again(tenant: Tenant) -> None:
    async with subscriber(SECRET) as receiver:
        await tenant.subscribe(receiver.url, "inventory.updated", secret=SECRET)

        first = await tenant.record(1, key="the-key")
        assert (await tenant.record(1, key="the-key")).body == first.body
        await tenant.record(10)
        events = await receiver.events_until(lambda events: 11 in [event["data"]["balance"] for event in events])

        assert sorted(event["data"]["seq"] for event in events) == [1, 2]


async def test_a_subscription_hears_only_what_it_named(tenant: Tenant) -> None:
    async with subscriber(SECRET) as receiver:
        await tenant.subscribe(receiver.url, "shipment.created", "shipment.label_ready", secret=SECRET)

        await tenant.api.post("/v1/inventory/ledger", movement(1))
        shipment_id = await tenant.ship(1)
        events = await receiver.events_until(lambda events: "shipment.label_ready" in [e["type"] for e in events])

        assert sorted((event["type"], event["data"]["id"]) for event in events) == [
            ("shipment.created", shipment_id),
            ("shipment.label_ready", shipment_id),
        ]


async def refuse_first(request: web.Request) -> web.Response:
    """500 for the first delivery of this receiver, 204 for every other."""
    is_first = request.app.setdefault("refused", request.headers["webhook-timestamp"])
    return web.Response(status=500 if is_first == request.headers["webhook-timestamp"] else 204)
