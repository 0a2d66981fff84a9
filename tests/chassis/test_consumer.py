"""Taking events: acked after the effect, kept for as long as it takes, and never in a neighbour's way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import nats.errors
import pytest
import sqlalchemy
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import inbox, trace
from chassis.consumer import (
    POISON_DELIVERIES_MAX,
    WORKERS,
    Consumer,
    Handler,
    RetryLater,
)
from chassis.database import Database
from chassis.errors import Fault
from chassis.jetstream import ConsumerSpec, Nats
from skutrail.v1 import events_pb2
from tests.chassis.conftest import Lane, OwnNats
from tests.chassis.probes import Admin, an_event, until

SOON = timedelta(seconds=1)


@dataclass
class Reader:
    """Remembers what it was handed, and does with it what the test says."""

    then: Handler | None = None
    seen: list[str] = field(default_factory=list)

    async def __call__(self, event: events_pb2.Event) -> None:
        self.seen.append(event.id)
        if self.then is not None:
            await self.then(event)

    def has_seen(self, *events: events_pb2.Event) -> bool:
        return {event.id for event in events} <= set(self.seen)


def raising(make_error: Callable[[], Exception]) -> Handler:
    async def fail(_: events_pb2.Event) -> None:
        raise make_error()

    return fail


def broken() -> Exception:
    return ZeroDivisionError("no number")


@asynccontextmanager
async def consuming(
    nats_url: str, spec: ConsumerSpec, handlers: Mapping[str, Handler], database: Database
) -> AsyncIterator[Nats]:
    """A consumer that runs, on the connection it is given. At the end it is cut off, as a process that dies is."""
    connection = Nats(nats_url, spec.name)
    running = asyncio.create_task(Consumer(connection, spec, handlers, database).run())
    try:
        yield connection
    finally:
        running.cancel()
        await asyncio.wait([running])
        await connection.close()


async def all_acked(lane: Lane, spec: ConsumerSpec) -> bool:
    info = await lane.consumer_info(spec)
    return info.num_pending == 0 and info.num_ack_pending == 0


async def deliver_in_vain(lane: Lane, spec: ConsumerSpec, times: int) -> None:
    """As if the event at the head had been tried so often already."""
    subscription = await lane.js.pull_subscribe_bind(spec.name, spec.stream)
    for _ in range(times):
        [message] = await subscription.fetch(1, timeout=5)
        await message.nak()
    await subscription.unsubscribe()


async def parked(admin: Admin) -> list[tuple[object, ...]]:
    return await admin.rows("SELECT consumer, event_id, subject, error FROM parked_event ORDER BY event_id")


async def test_each_event_goes_to_the_handler_of_its_type_and_the_rest_is_acked_unseen(
    database: Database, lane: Lane
) -> None:
    reader, spec = Reader(), lane.consumer()
    await lane.declare(spec)
    wanted = [an_event(lane.type("wanted")) for _ in range(WORKERS + 2)]
    await lane.publish(an_event(lane.type("other")), *wanted)

    async with consuming(lane.nats_url, spec, {lane.type("wanted"): reader}, database):
        await until(lambda: all_acked(lane, spec))

    assert sorted(reader.seen) == sorted(event.id for event in wanted)


async def test_a_handler_works_under_the_trace_of_the_request_that_caused_the_event(
    database: Database, lane: Lane
) -> None:
    traces: list[str] = []

    async def tell(_: events_pb2.Event) -> None:
        traces.append(trace.current().traceparent)

    spec, event = lane.consumer(), an_event(lane.type())
    event.traceparent = trace.new_traceparent()
    await lane.declare(spec)
    await lane.publish(event)

    async with consuming(lane.nats_url, spec, {event.type: tell}, database):
        await until(lambda: traces)  # type: ignore[arg-type, return-value]

    assert traces == [event.traceparent]


async def test_an_event_whose_handler_was_killed_midway_comes_again(database: Database, lane: Lane) -> None:
    spec, event = lane.consumer(ack_wait=SOON), an_event(lane.type())
    await lane.declare(spec)
    await lane.publish(event)
    hanging, finishing = Reader(then=lambda _: asyncio.Event().wait()), Reader()  # type: ignore[arg-type, return-value]

    async with consuming(lane.nats_url, spec, {event.type: hanging}, database):
        await until(lambda: hanging.has_seen(event))
    async with consuming(lane.nats_url, spec, {event.type: finishing}, database):
        await until(lambda: all_acked(lane, spec))

    assert finishing.seen == [event.id]


async def test_an_event_that_comes_twice_has_its_effect_once(database: Database, lane: Lane, admin: Admin) -> None:
    spec, event = lane.consumer(), an_event(lane.type())

    async def count(tx: AsyncConnection) -> None:
        if await inbox.claim(tx, spec.name, event.id):
            await tx.execute(sqlalchemy.text("INSERT INTO account VALUES ('effects', 1)"))

    reader = Reader(then=lambda _: database.run(count))
    await lane.declare(spec)
    # Without a message id JetStream knows no duplicate: as after its window, or after a stream was published anew.
    await lane.publish_raw(event.SerializeToString())
    await lane.publish_raw(event.SerializeToString())

    async with consuming(lane.nats_url, spec, {event.type: reader}, database):
        await until(lambda: all_acked(lane, spec))

    assert reader.seen == [event.id, event.id]
    assert await admin.rows("SELECT name, amount FROM account") == [("effects", 1)]


TROUBLES = [lambda: RetryLater("a carrier is away"), lambda: Fault("unavailable", "away"), TimeoutError]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_time_heals_is_never_parked(
    database: Database, lane: Lane, admin: Admin, trouble: Callable[[], Exception]
) -> None:
    spec, event, reader = lane.consumer(), an_event(lane.type()), Reader(then=raising(trouble))
    await lane.declare(spec)
    await lane.publish(event)
    await deliver_in_vain(lane, spec, POISON_DELIVERIES_MAX)

    async with consuming(lane.nats_url, spec, {event.type: reader}, database):
        await until(lambda: reader.seen)  # type: ignore[arg-type, return-value]

    assert (await lane.consumer_info(spec)).num_ack_pending == 1
    assert await parked(admin) == []


async def test_an_event_that_breaks_its_handler_every_time_is_parked_and_its_neighbours_do_not_wait(
    database: Database, lane: Lane, admin: Admin
) -> None:
    spec, reader = lane.consumer(), Reader()
    breaking = Reader(then=raising(broken))
    poison = [an_event(lane.type("poison")) for _ in range(100)]
    neighbour = an_event(lane.type("neighbour"))
    await lane.declare(spec)
    await lane.publish(*poison, neighbour)

    handlers = {lane.type("poison"): breaking, lane.type("neighbour"): reader}
    async with consuming(lane.nats_url, spec, handlers, database):
        await until(lambda: reader.has_seen(neighbour))
        assert await parked(admin) == []  # it overtook them all

        await until(lambda: all_acked(lane, spec), within_s=30)

    assert len(breaking.seen) == len(poison) * POISON_DELIVERIES_MAX
    assert await parked(admin) == sorted(
        (spec.name, event.id, f"skutrail.{event.type}", "ZeroDivisionError: no number") for event in poison
    )


async def test_what_cannot_be_read_is_parked_as_it_came(database: Database, lane: Lane, admin: Admin) -> None:
    spec = lane.consumer()
    await lane.declare(spec)
    await lane.publish_raw(b"\xff not protobuf")
    await deliver_in_vain(lane, spec, POISON_DELIVERIES_MAX - 1)

    async with consuming(lane.nats_url, spec, {}, database):
        await until(lambda: all_acked(lane, spec))

    [(consumer, event_id, _, error)] = await parked(admin)
    assert (consumer, event_id) == (spec.name, "seq-1")
    assert str(error).startswith("DecodeError")
    assert await admin.rows("SELECT payload FROM parked_event") == [(b"\xff not protobuf",)]


async def test_whatever_an_error_says_the_event_is_parked(database: Database, lane: Lane, admin: Admin) -> None:
    spec, event = lane.consumer(), an_event(lane.type())
    breaking = Reader(then=raising(lambda: ValueError("nul \0, half \ud800, long " + "x" * 10_000)))
    await lane.declare(spec)
    await lane.publish(event)
    await deliver_in_vain(lane, spec, POISON_DELIVERIES_MAX - 1)

    async with consuming(lane.nats_url, spec, {event.type: breaking}, database):
        await until(lambda: all_acked(lane, spec))

    [(_, event_id, _, error)] = await parked(admin)
    assert event_id == event.id
    assert str(error).startswith(r"ValueError: nul \0, half \ud800, long xxx")


async def test_an_event_that_cannot_even_be_parked_stays_in_the_stream(
    database: Database, lane: Lane, admin: Admin
) -> None:
    spec, event, breaking = lane.consumer(), an_event(lane.type()), Reader(then=raising(broken))
    await lane.declare(spec)
    await lane.publish(event)
    await deliver_in_vain(lane, spec, POISON_DELIVERIES_MAX - 1)

    await admin.shut()
    try:
        with structlog.testing.capture_logs() as lines:
            async with consuming(lane.nats_url, spec, {event.type: breaking}, database):
                await until(lambda: "event.not_parked" in [line["event"] for line in lines])
    finally:
        await admin.open()

    assert (await lane.consumer_info(spec)).num_ack_pending == 1
    assert await parked(admin) == []


async def test_a_cancellation_that_escapes_a_handler_costs_no_worker(database: Database, lane: Lane) -> None:
    async def give_up_once(event: events_pb2.Event) -> None:
        if reader.seen.count(event.id) == 1:
            raise asyncio.CancelledError

    spec, reader = lane.consumer(), Reader(then=give_up_once)
    await lane.declare(spec)
    await lane.publish(*(an_event(lane.type()) for _ in range(WORKERS)))

    async with consuming(lane.nats_url, spec, {lane.type(): reader}, database):
        await until(lambda: all_acked(lane, spec))

    assert len(reader.seen) == 2 * WORKERS


async def test_a_consumer_that_is_stopped_finishes_what_is_under_way_and_takes_nothing_new(
    database: Database, nats_connection: Nats, lane: Lane
) -> None:
    release = asyncio.Event()
    reader, spec = Reader(then=lambda _: release.wait()), lane.consumer()  # type: ignore[arg-type, return-value]
    under_way = [an_event(lane.type()) for _ in range(WORKERS)]
    await lane.declare(spec)
    await lane.publish(*under_way)
    consumer = Consumer(nats_connection, spec, {lane.type(): reader}, database)
    running = asyncio.create_task(consumer.run())
    await until(lambda: reader.has_seen(*under_way))

    consumer.stop()
    await lane.publish(an_event(lane.type()))
    release.set()
    await running

    assert len(reader.seen) == WORKERS
    await until(lambda: _is_left(lane, spec, pending=1))


async def test_a_consumer_survives_the_restart_of_the_nats_server(
    database: Database, own_nats: OwnNats, lane: Lane
) -> None:
    there = replace(lane, js=await (await own_nats.connect()).jetstream(), nats_url=own_nats.url)
    spec, reader = there.consumer(), Reader()
    before, after = an_event(lane.type()), an_event(lane.type())
    await there.declare(spec)
    await there.publish(before)

    async with consuming(own_nats.url, spec, {lane.type(): reader}, database) as connection:
        await until(lambda: all_acked(there, spec))
        await own_nats.stop()
        await until(lambda: not connection.is_up())
        await own_nats.start()
        await until(lambda: _is_published(there, after))
        await until(lambda: reader.has_seen(after))

    assert reader.seen == [before.id, after.id]


async def test_a_consumer_that_is_not_declared_yet_is_waited_for(database: Database, lane: Lane) -> None:
    spec, event, reader = lane.consumer(), an_event(lane.type()), Reader()
    await lane.publish(event)

    async with consuming(lane.nats_url, spec, {event.type: reader}, database):
        await lane.declare(spec)
        await until(lambda: all_acked(lane, spec))

    assert reader.seen == [event.id]


async def _is_left(lane: Lane, spec: ConsumerSpec, *, pending: int) -> bool:
    info = await lane.consumer_info(spec)
    return (info.num_pending, info.num_ack_pending) == (pending, 0)


async def _is_published(lane: Lane, event: events_pb2.Event) -> bool:
    try:
        await lane.publish(event)
    except nats.errors.Error:
        return False
    return True


def a_bundle(*events: events_pb2.Event) -> bytes:
    return events_pb2.EventBundle(events=events).SerializeToString()


async def test_the_events_of_a_bundle_are_handled_and_parked_each_by_itself(
    database: Database, lane: Lane, admin: Admin
) -> None:
    spec, reader, breaking = lane.consumer(), Reader(), Reader(then=raising(broken))
    good, poison, last = an_event(lane.type("good")), an_event(lane.type("poison")), an_event(lane.type("good"))
    await lane.declare(spec)
    await lane.publish_raw(a_bundle(good, poison, last))
    await deliver_in_vain(lane, spec, POISON_DELIVERIES_MAX - 1)

    handlers = {lane.type("good"): reader, lane.type("poison"): breaking}
    async with consuming(lane.nats_url, spec, handlers, database):
        await until(lambda: all_acked(lane, spec))

    assert reader.seen == [good.id, last.id]
    assert [(event_id, error) for _, event_id, _, error in await parked(admin)] == [
        (poison.id, "ZeroDivisionError: no number")
    ]
    assert await admin.rows("SELECT payload FROM parked_event") == [(poison.SerializeToString(),)]


async def test_trouble_with_one_event_of_a_bundle_does_not_hold_up_those_behind_it(
    database: Database, lane: Lane
) -> None:
    spec, event = lane.consumer(), an_event(lane.type("later"))
    later, reader = Reader(then=raising(lambda: RetryLater("a carrier is away"))), Reader()
    behind = an_event(lane.type("now"))
    await lane.declare(spec)
    await lane.publish_raw(a_bundle(event, behind))

    async with consuming(lane.nats_url, spec, {event.type: later, behind.type: reader}, database):
        await until(lambda: reader.has_seen(behind))

    assert (await lane.consumer_info(spec)).num_ack_pending == 1


async def test_what_only_takes_several_goes_comes_again_as_soon_as_it_says(database: Database, lane: Lane) -> None:
    spec, event, reader = lane.consumer(), an_event(lane.type()), Reader()

    async def go_on(_: events_pb2.Event) -> None:
        if len(reader.seen) < 10:
            raise RetryLater("more to do", delay_s=0.01)

    reader.then = go_on
    await lane.declare(spec)
    await lane.publish(event)

    async with consuming(lane.nats_url, spec, {event.type: reader}, database):
        # With delays that grow the fifth would come after six seconds.
        await until(lambda: all_acked(lane, spec), within_s=6)

    assert reader.seen == [event.id] * 10
