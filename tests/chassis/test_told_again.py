"""Published events are kept, and told again when the message store has lost them: each has its effect once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import nats.errors
import pytest
import structlog
from nats.js.errors import APIError
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import inbox, jetstream, outbox
from chassis.consumer import Consumer
from chassis.database import Database
from chassis.jetstream import ConsumerSpec, Nats
from chassis.outbox import BATCH_MAX, TOLD_AGAIN_MAX
from skutrail.v1 import events_pb2
from tests.chassis.conftest import Lane, OwnNats, announce
from tests.chassis.probes import Admin, an_event, until
from tests.chassis.test_outbox_relay import all_published, relaying
from tests.plans import plan_of

EVER = datetime(2000, 1, 1, tzinfo=UTC)
KEPT = 50_000


async def take_back(database: Database, admin: Admin, since: datetime = EVER, limit: int = 1_000) -> int:
    """As the operator's command does it: what was published before now, by the clock of the database."""
    [(now,)] = await admin.rows("SELECT now()")
    assert isinstance(now, datetime)
    return await database.run(lambda tx: outbox.take_back(tx, since=since, before=now, limit=limit))


async def publish(database: Database, admin: Admin, database_url: str, nats: Nats, *events: events_pb2.Event) -> None:
    await announce(database, *events)
    async with relaying(database_url, nats):
        await until(lambda: all_published(admin))


@dataclass
class Counting:
    """An effect per event, claimed in the inbox as every consumer does that has no version to go by."""

    database: Database
    consumer: str
    effects: Counter[str] = field(default_factory=Counter)

    async def __call__(self, event: events_pb2.Event) -> None:
        async def claim(tx: AsyncConnection) -> bool:
            return await inbox.claim(tx, self.consumer, event.id)

        if await self.database.run(claim):
            self.effects[event.id] += 1

    def has_had(self, *events: events_pb2.Event) -> bool:
        return self.effects.keys() >= {event.id for event in events}


@asynccontextmanager
async def counting(
    database: Database, connection: Nats, spec: ConsumerSpec, event_type: str
) -> AsyncIterator[Counting]:
    """A consumer that runs through it all, and never anew."""
    counting = Counting(database, spec.name)
    consumer = Consumer(connection, spec, {event_type: counting}, database)
    running = asyncio.create_task(consumer.run())
    try:
        yield counting
        assert not running.done()
    finally:
        consumer.stop()
        await asyncio.wait([running])


async def test_after_a_lost_store_all_that_was_published_and_all_that_waited_arrives_and_nothing_twice(
    database: Database, database_url: str, own_nats: OwnNats, lane: Lane, admin: Admin
) -> None:
    spec = lane.consumer("orders")
    theirs = replace(lane, nats_url=own_nats.url)
    await theirs.declare(spec)
    connection = await own_nats.connect()
    handled, lost, meanwhile, after = (an_event(lane.type(), key=f"key-{n}") for n in range(4))
    async with relaying(database_url, connection):
        async with counting(database, connection, spec, lane.type()) as reader:
            await announce(database, handled)
            await until(lambda: reader.has_had(handled))
        await announce(database, lost)
        await until(lambda: all_published(admin))

        await own_nats.stop()
        own_nats.forget()
        await announce(database, meanwhile)
        async with counting(database, connection, spec, lane.type()) as reader:
            with structlog.testing.capture_logs() as lines:
                await own_nats.start()
                await until(lambda: {"events.not_published", "consumer.away"} <= {line["event"] for line in lines})

            await theirs.declare(spec)
            await until(lambda: reader.has_had(meanwhile))
            assert not reader.has_had(lost)
            assert await take_back(database, admin) == 3
            await announce(database, after)
            await until(lambda: reader.has_had(lost, meanwhile, after))
            await until(lambda: all_published(admin))

    assert reader.effects == {event.id: 1 for event in (lost, meanwhile, after)}
    assert await admin.count("SELECT count(*) FROM inbox WHERE consumer = %s", spec.name) == 4


async def test_what_is_told_again_arrives_also_while_the_stream_remembers_it(
    database: Database, database_url: str, nats_connection: Nats, lane: Lane, admin: Admin
) -> None:
    event = an_event(lane.type())
    await publish(database, admin, database_url, nats_connection, event)

    for _ in range(2):
        assert await take_back(database, admin) == 1
        async with relaying(database_url, nats_connection):
            await until(lambda: all_published(admin))

    assert [told.id for told in await lane.events()] == [event.id] * 3


async def test_only_what_was_published_in_the_time_that_is_asked_for_is_told_again(
    database: Database, admin: Admin
) -> None:
    [(now,)] = await admin.rows("SELECT now()")
    assert isinstance(now, datetime)
    hour = timedelta(hours=1)
    written = {
        "before": (now - 3 * hour, now - 3 * hour),
        "late": (now - 3 * hour, now - hour),  # created long before it could be published
        "in time": (now - hour, now - hour),
        "too old": (now - TOLD_AGAIN_MAX - hour, now - hour),
        "waiting": (now - hour, None),
    }
    for event_id, (created_at, published_at) in written.items():
        await admin.execute(
            "INSERT INTO outbox (event_id, subject, key, payload, created_at, published_at)"
            " VALUES (%s, 's', 'k', '', %s, %s)",
            *(event_id, created_at, published_at),
        )

    assert await take_back(database, admin, since=now - 2 * hour) == 2

    taken = await admin.rows("SELECT event_id FROM outbox WHERE retold_at IS NOT NULL ORDER BY event_id")
    assert [event_id for (event_id,) in taken] == ["in time", "late"]


async def test_what_is_told_again_is_taken_by_bounded_batches(database: Database, admin: Admin) -> None:
    await _keep(admin, 25)

    counts = [await take_back(database, admin, limit=10) for _ in range(4)]

    assert counts == [10, 10, 5, 0]


async def _wait(tx: AsyncConnection) -> object:
    return await outbox.waiting(tx, above=0, stuck=[], limit=BATCH_MAX)


async def _purge(tx: AsyncConnection) -> object:
    return await outbox.purge(tx, datetime.now(UTC), 10, kept=timedelta(hours=1))


async def _take_back(tx: AsyncConnection) -> object:
    return await outbox.take_back(tx, since=EVER, before=datetime.now(UTC), limit=10)


@pytest.mark.parametrize(
    ("query", "index"),
    [(_wait, "outbox_unpublished"), (_purge, "outbox_published_at"), (_take_back, "outbox_published_at")],
)
async def test_however_much_is_kept_what_is_asked_for_is_found_by_its_own_index(
    database: Database, admin: Admin, query: Callable[[AsyncConnection], Awaitable[object]], index: str
) -> None:
    await _keep(admin, KEPT)
    await announce(database, *(an_event("any.thing") for _ in range(10)))

    plan = await plan_of(database, query)

    assert f"Index Scan {index}" in plan.steps, plan.steps
    assert not [step for step in plan.steps if step.startswith(("Seq Scan", "Sort"))], plan.steps
    assert plan.buffers < 500


async def test_a_look_does_not_pass_by_what_was_marked_before(database: Database, admin: Admin) -> None:
    await admin.execute("ALTER TABLE outbox SET (autovacuum_enabled = off)")
    await _keep(admin, KEPT)
    await take_back(database, admin, limit=KEPT)
    await admin.execute("UPDATE outbox SET published_at = now()")
    [(top,)] = await admin.rows("SELECT max(id) FROM outbox")
    event = an_event("any.thing")
    await announce(database, event)

    async def look(tx: AsyncConnection) -> object:
        return await outbox.waiting(tx, above=int(str(top)), stuck=[], limit=BATCH_MAX)

    plan = await plan_of(database, look)

    await admin.execute("ALTER TABLE outbox RESET (autovacuum_enabled)")
    assert (plan.rows, plan.buffers < 10) == (1, True), plan


async def test_what_is_taken_back_is_noticed_by_a_relay_that_has_gone_on(
    database: Database,
    database_url: str,
    nats_connection: Nats,
    lane: Lane,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "SETTLED_S", -1.0)  # whatever was told is settled
    monkeypatch.setattr(outbox, "LOOK_BACK_S", 1.0)
    events = [an_event(lane.type()) for _ in range(4)]

    async with relaying(database_url, nats_connection):
        for event in events:
            await announce(database, event)
            await until(lambda: all_published(admin))
        assert await take_back(database, admin) == 4
        await until(lambda: all_published(admin))

    assert [told.id for told in await lane.events()] == [event.id for event in events] * 2


async def test_a_row_that_is_committed_behind_higher_ids_is_told_at_once(
    database: Database, database_url: str, nats_connection: Nats, lane: Lane, admin: Admin
) -> None:
    late, early = an_event(lane.type(), key="late"), [an_event(lane.type()) for _ in range(3)]

    async with relaying(database_url, nats_connection):
        async with database.transaction() as tx:
            await outbox.add(tx, [late])
            for event in early:
                await announce(database, event)
                await until(lambda: all_published(admin))
        await until(lambda: all_published(admin), within_s=outbox.LOOK_BACK_S / 2)

    assert [told.id for told in await lane.events()] == [*(event.id for event in early), late.id]


async def test_a_stream_takes_nothing_until_its_consumers_are_there(lane: Lane) -> None:
    await lane.js.delete_stream(lane.stream.name)
    broken = lane.consumer("no.such.name")  # a name that NATS refuses: the declaration breaks off

    with pytest.raises((APIError, ValueError, nats.errors.Error)):
        await lane.declare(broken)
    with pytest.raises(APIError):
        await lane.publish(an_event(lane.type()))

    await lane.declare()
    await lane.publish(an_event(lane.type()))
    assert await lane.count() == 1
    assert (await lane.info()).config.max_msg_size == lane.stream.message_bytes_max


async def test_no_message_that_a_new_stream_takes_is_for_nobody(lane: Lane) -> None:
    readers, taken, is_declared = [lane.consumer(f"reader{n}-") for n in range(20)], 0, asyncio.Event()

    async def keep_publishing() -> None:
        nonlocal taken
        while not (is_declared.is_set() and taken):
            try:
                await lane.js.publish(f"skutrail.{lane.type()}", b"event", timeout=1)
                taken += 1
            except nats.errors.Error:
                continue

    await lane.js.delete_stream(lane.stream.name)
    publishing = asyncio.create_task(keep_publishing())
    await jetstream.declare(lane.nats_url, [lane.stream], readers)
    is_declared.set()
    await publishing

    assert [(await lane.consumer_info(reader)).num_pending for reader in readers] == [taken] * len(readers)


async def _keep(admin: Admin, count: int) -> None:
    """Rows that were published."""
    await admin.execute(
        "INSERT INTO outbox (event_id, subject, key, payload, published_at)"
        f" SELECT 'kept-' || n, 's', 'k', decode(repeat('ab', 100), 'hex'), now() - interval '2 hours'"
        f" FROM generate_series(1, {count}) n"
    )
    await admin.execute("ANALYZE outbox")
