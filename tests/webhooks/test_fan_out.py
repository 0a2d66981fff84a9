"""Every event becomes one delivery per subscription that asked for it, and its body is rendered once."""

import asyncio
import json
from datetime import timedelta

import psycopg
import pytest

from chassis import consumer, jetstream
from chassis.consumer import Consumer
from chassis.ids import new_id
from chassis.jetstream import Nats
from cli.migrate import topology
from services.webhooks import events, operations
from services.webhooks.domain import CLOCKS_DIFFER_MAX, EVENT_TYPES
from services.webhooks.listener import Listener
from services.webhooks.topology import CONSUMERS
from skutrail.v1 import events_pb2
from tests.webhooks.building import AT, a_shipment, an_entry, an_event, an_order
from tests.webhooks.house import House

URL = "http://127.0.0.1:9999/hook"


@pytest.mark.parametrize(
    ("asked", "announced", "deliveries"),
    [
        (["shipment.created"], "shipment.created", 1),
        (["shipment.*"], "shipment.created", 1),
        (["*"], "shipment.created", 1),
        (["shipment.*", "*", "shipment.created", "shipment.created"], "shipment.created", 1),
        (["shipment.created"], "shipment.shipped", 0),
        (["inventory.*"], "shipment.created", 0),
    ],
)
async def test_a_subscription_gets_what_it_named(
    house: House, asked: list[str], announced: str, deliveries: int
) -> None:
    await house.subscribe(URL, *asked)

    await house.announce(an_event(announced, shipment=a_shipment()))

    assert await house.rows("SELECT count(*) FROM delivery") == [(deliveries,)]
    assert await house.rows("SELECT count(*) FROM event") == [(deliveries,)]


async def test_nobody_gets_what_another_tenant_did(house: House) -> None:
    mine = await house.subscribe(URL, tenant_id="acc_1:test")
    await house.subscribe(URL, tenant_id="acc_1:live")
    await house.subscribe(URL, tenant_id="acc_2:test")

    await house.announce(an_event(tenant_id="acc_1:test"))

    assert await house.rows("SELECT tenant_id, subscription_id FROM delivery") == [("acc_1:test", mine)]


async def test_an_event_that_comes_again_makes_no_second_delivery(house: House) -> None:
    for _ in range(2):
        await house.subscribe(URL)
    event = an_event()

    await asyncio.gather(*(house.announce(event) for _ in range(5)))

    assert await house.rows("SELECT count(*), count(DISTINCT subscription_id) FROM delivery") == [(2, 2)]
    assert await house.rows("SELECT count(*) FROM event") == [(1,)]


@pytest.mark.parametrize("has_another", [False, True])
async def test_an_event_that_comes_again_is_not_delivered_to_a_subscription_made_since(
    house: House, has_another: bool
) -> None:
    if has_another:
        await house.subscribe(URL, "inventory.shortfall")
    event = await house.announce(an_event(at=house.clock()))
    house.clock.advance(CLOCKS_DIFFER_MAX)
    await house.subscribe(URL)

    await house.announce(event)

    assert await house.rows("SELECT count(*) FROM delivery") == [(0,)]


async def test_what_happened_as_a_subscription_was_made_is_delivered_whichever_clock_is_ahead(house: House) -> None:
    await house.subscribe(URL)

    for seconds in (-50, 50):
        await house.announce(an_event(at=house.clock() + timedelta(seconds=seconds)))

    assert await house.rows("SELECT count(*) FROM delivery") == [(2,)]


async def test_a_tenant_that_was_never_told_anything_leaves_nothing_behind(house: House) -> None:
    deleted = await house.subscribe(URL, tenant_id="acc_2:test")
    await house.database.run(lambda tx: operations.delete_subscription(tx, "acc_2:test", deleted, now=house.clock()))

    for tenant_id in ("acc_1:test", "acc_2:test"):
        await house.announce(an_event(tenant_id=tenant_id))

    assert await house.rows("SELECT count(*) FROM inbox") == [(0,)]


@pytest.mark.parametrize("change", ["status = 'disabled'", "events = '{shipment.*}'"])
async def test_what_a_subscription_did_not_ask_for_is_not_delivered_when_it_asks_later(
    house: House, owner: psycopg.AsyncConnection, change: str
) -> None:
    await house.subscribe(URL)
    await owner.execute(f"UPDATE subscription SET {change}")  # type: ignore[arg-type]
    event = await house.announce(an_event())
    await owner.execute("UPDATE subscription SET status = 'active', events = '{*}'")

    await house.announce(event)

    assert await house.rows("SELECT count(*) FROM delivery") == [(0,)]


def test_an_inventory_update_says_enough_to_detect_a_gap() -> None:
    body = events.render(an_event(at=AT, entry=an_entry()))

    assert body.decode().startswith('{"id":"evt_')
    told = json.loads(body)
    assert list(told) == ["id", "type", "timestamp", "data"]
    assert told["timestamp"] == "2026-04-22T17:04:11Z"
    assert list(told["data"].items()) == [
        ("id", "inv_2p7q0fxkq3r"),
        ("sku", "SKU-0042"),
        ("warehouse", "SEA-1"),
        ("qty", 120),
        ("reason", "receipt"),
        ("reference", "PO-2026-00814 é"),
        ("balance", 420),
        ("seq", 3),
        ("created_at", "2026-04-22T17:04:11Z"),
    ]


def test_a_shipment_is_told_without_its_version() -> None:
    told = json.loads(events.render(an_event("shipment.created", shipment=a_shipment())))["data"]

    assert list(told)[:4] == ["id", "status", "label_url", "order_id"]
    assert (told["status"], told["label_url"], told["line_items"]) == ("queued", None, [{"sku": "SKU-0042", "qty": 2}])
    assert "version" not in told


def test_an_order_and_a_shortfall_are_told_whole() -> None:
    order = json.loads(events.render(an_event("order.updated", order=an_order())))["data"]
    shortfall = events_pb2.Shortfall(sku="S", warehouse="W", on_hand=1, short=2, shipment_ids=["shp_1"])
    short = json.loads(events.render(an_event("inventory.shortfall", shortfall=shortfall)))["data"]

    allocation = {"warehouse": "SEA-1", "qty": 2, "shipment_id": "shp_8c4l1x"}
    assert order == {"id": "ord_5k2n9v", "status": "allocated", "allocations": [allocation]}
    assert short == {"sku": "S", "warehouse": "W", "on_hand": 1, "short": 2, "shipment_ids": ["shp_1"]}


def test_an_event_without_data_is_not_told() -> None:
    with pytest.raises(ValueError, match="has no data"):
        events.render(events_pb2.Event(id="evt_1", type="order.updated"))


async def test_the_consumer_hears_public_events_and_nothing_between_services(
    house: House, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "FETCH_S", 0.2)  # how long its stop may take
    await house.subscribe(URL, tenant_id="acc_consumer:test")
    heard = asyncio.Event()
    listener = Listener(house.database, clock=house.clock, make_id=new_id, deliveries_written=heard.set)
    await jetstream.declare(nats_url, *topology())
    nats = Nats(nats_url, "test")
    js = await nats.jetstream()
    internal, public = (
        an_event(event_type, tenant_id="acc_consumer:test")
        for event_type in ("allocation.changed", "inventory.updated")
    )
    for event in (internal, public, public):
        await js.publish(f"skutrail.{event.type}", event.SerializeToString())

    worker = Consumer(nats, CONSUMERS[0], listener.handlers, house.database)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        await heard.wait()
    worker.stop()
    await running
    await nats.close()

    assert await house.rows("SELECT id FROM event") == [(public.id,)]
    assert await house.rows("SELECT count(*) FROM delivery") == [(1,)]
    assert "allocation.changed" not in listener.handlers
    assert set(listener.handlers) == set(EVENT_TYPES)
