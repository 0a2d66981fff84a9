"""News that is folded many at a time: the rows are those of one by one, and a poisoned event disturbs nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random
from typing import Any

import psycopg
import pytest

from chassis import consumer, jetstream, trace
from chassis.clock import utc_now
from chassis.consumer import Consumer
from chassis.database import Database, create_engine
from chassis.ids import new_id
from chassis.jetstream import ConsumerSpec, Nats, StreamSpec
from chassis.outbox import Relay, events_in
from cli.provision import DatabaseUrls
from services.orders import operations
from services.orders.events import shipment_of
from services.orders.listener import Listener
from services.orders.operations import News
from skutrail.v1 import events_pb2, inventory_pb2
from tests.builders import eventually
from tests.orders.lives import Moment, a_life

ORDERS, SHIPMENTS = 5, 3
BATCHES_AT_ONCE = 4
ROWS = {
    "sales_order": "SELECT id, status, created_at, updated_at FROM sales_order WHERE tenant_id = %s ORDER BY id",
    "order_shipment": """
        SELECT order_id, shipment_id, version, status, warehouses, qtys, lines_version, skus, ordered, held,
            created_at, told_at, is_hearsay
        FROM order_shipment WHERE tenant_id = %s ORDER BY order_id, shipment_id
    """,
}


@pytest.fixture(scope="module")
async def database(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    database = Database(create_engine(databases["orders"].application))
    yield database
    await database.engine.dispose()


@pytest.fixture(scope="module")
async def owner(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(databases["orders"].owner, autocommit=True) as owner:
        yield owner


def lives(seed: int, tenant_id: str) -> list[list[Moment]]:
    """Of several shipments of several orders; with the same seed they are the same for every tenant."""
    chance = Random(seed)
    return [
        a_life(chance, tenant_id=tenant_id, order_id=f"ord_{order}", shipment_id=f"shp_{order}{number}")
        for order in range(ORDERS)
        for number in range(SHIPMENTS)
    ]


def heard(seed: int, tenant_id: str) -> list[News]:
    """All that is announced, in no order and some of it twice, and answers in between."""
    chance, lived = Random(seed), lives(seed, tenant_id)
    told = [news(moment) for life in lived for moment in life if moment.is_announced]
    told += chance.sample(told, len(told) // 3)
    told += [news(chance.choice(life), is_told=False) for life in chance.sample(lived, len(lived) // 2)]
    chance.shuffle(told)
    return told


def news(moment: Moment, *, is_told: bool = True, cause: trace.Trace | None = None) -> News:
    shipment = shipment_of(moment.shipment, told_at=moment.told_at if is_told else None)
    return News(moment.tenant_id, moment.shipment.order_id, shipment, cause or trace.current())


async def fold(database: Database, batch: Sequence[News]) -> bool:
    return await database.run_pipelined(lambda pipeline: operations.fold(pipeline, batch, utc_now(), new_id))


async def rows(owner: psycopg.AsyncConnection, tenant_id: str) -> Mapping[str, Sequence[Any]]:
    return {table: await (await owner.execute(query, [tenant_id])).fetchall() for table, query in ROWS.items()}  # type: ignore[arg-type]


async def announced(owner: psycopg.AsyncConnection, tenant_id: str) -> list[events_pb2.Event]:
    found = await owner.execute("SELECT payload FROM outbox WHERE starts_with(key, %s || '/') ORDER BY id", [tenant_id])
    return [event for (payload,) in await found.fetchall() for event in events_in(payload)]


@pytest.mark.parametrize("seed", range(6))
async def test_many_at_a_time_in_any_order_give_the_rows_of_one_by_one(
    database: Database, owner: psycopg.AsyncConnection, seed: int
) -> None:
    one_by_one, batched = new_id("tenant"), new_id("tenant")
    for one in heard(seed, one_by_one):
        await fold(database, [one])

    batches, left = [], heard(seed, batched)
    while left:
        size = Random(len(left)).choice([1, 7, 50])
        batches.append(left[:size])
        left = left[size:]
    for start in range(0, len(batches), BATCHES_AT_ONCE):
        await asyncio.gather(*(fold(database, batch) for batch in batches[start : start + BATCHES_AT_ONCE]))

    # Answers stand in until their event is heard: which of them still stand depends on the order.
    for tenant_id in (one_by_one, batched):
        await fold(database, [news(m) for life in lives(seed, tenant_id) for m in life if m.is_announced])
    assert await rows(owner, batched) == await rows(owner, one_by_one)
    assert len((await rows(owner, batched))["order_shipment"]) == ORDERS * SHIPMENTS


@pytest.mark.parametrize("seed", range(3))
async def test_a_batch_is_the_same_as_its_events_one_by_one_in_that_order(
    database: Database, owner: psycopg.AsyncConnection, seed: int
) -> None:
    one_by_one, batched = new_id("tenant"), new_id("tenant")

    for one in heard(seed, one_by_one):
        await fold(database, [one])
    await fold(database, heard(seed, batched))

    assert await rows(owner, batched) == await rows(owner, one_by_one)


async def test_each_order_that_a_batch_changes_is_announced_once_as_it_is_then(
    database: Database, owner: psycopg.AsyncConnection
) -> None:
    tenant_id = new_id("tenant")
    causes = [trace.Trace(traceparent=trace.new_traceparent()) for _ in range(ORDERS)]
    told = [
        news(moment, cause=causes[int(moment.shipment.order_id[-1])])
        for life in lives(1, tenant_id)
        for moment in life
        if moment.is_announced
    ]
    Random(1).shuffle(told)

    assert await fold(database, told)
    assert not await fold(database, told)

    events = await announced(owner, tenant_id)
    assert sorted(event.key for event in events) == [f"ord_{number}" for number in range(ORDERS)]
    for event in events:
        order = await database.run(lambda tx, e=event: operations.read_order(tx, tenant_id, e.key))
        assert event.order == order
        assert event.traceparent == causes[int(event.key[-1])].traceparent


def spoil_its_status(event: events_pb2.Event) -> None:
    """It cannot be read."""
    event.shipment.status = 99  # type: ignore[assignment]


def spoil_its_line(event: events_pb2.Event) -> None:
    """It cannot be written: PostgreSQL's text takes no NUL."""
    event.shipment.line_items.append(inventory_pb2.StockLine(sku="A\0B", qty=1))


@pytest.mark.parametrize("spoil", [spoil_its_status, spoil_its_line])
async def test_a_poisoned_event_is_parked_and_its_neighbours_are_folded(
    database: Database,
    owner: psycopg.AsyncConnection,
    nats_url: str,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Any,
) -> None:
    monkeypatch.setattr(consumer, "POISON_DELIVERIES_MAX", 1)
    monkeypatch.setattr(consumer, "FETCH_S", 0.2)  # how long its stop may take
    tenant_id, name = new_id("tenant"), new_id("test")
    spec = ConsumerSpec(name, name, (f"{name}.>",))
    await jetstream.declare(nats_url, [StreamSpec(name, spec.subjects)], [spec])
    events = [life[0].event() for life in lives(1, tenant_id)]
    events[4].id = new_id("evt")
    spoil(events[4])
    nats = Nats(nats_url, "test")
    relay = Relay(database.engine, nats)
    js = await nats.jetstream()
    await js.publish(f"{name}.many", events_pb2.EventBundle(events=events[:6]).SerializeToString())
    for event in events[6:]:
        await js.publish(f"{name}.one", event.SerializeToString())

    listener = Listener(database, relay, utc_now, new_id)
    worker = Consumer(nats, spec, listener.handlers, database, listener.fold)
    running = asyncio.create_task(worker.run())
    try:
        await eventually(lambda: js.consumer_info(name, name), lambda info: not info.num_pending + info.num_ack_pending)
    finally:
        worker.stop()
        await running
        await js.delete_stream(name)
        await nats.close()

    folded = [row[1] for row in (await rows(owner, tenant_id))["order_shipment"]]
    assert folded == sorted(event.key for event in events if event is not events[4])
    parked = await owner.execute("SELECT event_id FROM parked_event WHERE consumer = %s", [name])
    assert await parked.fetchall() == [(events[4].id,)]
