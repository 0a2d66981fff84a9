"""From the outbox to the stream: in order per key, by one relay, and nothing lost whatever breaks on the way."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import pytest
import sqlalchemy
import structlog
from hypothesis import given
from hypothesis import strategies as st

from chassis import jetstream, outbox
from chassis.database import Database, create_engine
from chassis.jetstream import Nats
from chassis.outbox import BATCH_MAX, BUNDLE_MAX, RETRY_S, Relay, events_in, tell_together
from chassis.pipeline import Pipeline
from skutrail.v1 import events_pb2
from tests.chassis.conftest import Lane, OwnNats, announce
from tests.chassis.probes import Admin, an_event, until

UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
EVERY_ROW = "SELECT count(*) FROM outbox"


class Standing:
    """A relay with a pool of its own, as every process has, and a count of how often it went to its database."""

    def __init__(self, database_url: str, nats: Nats) -> None:
        self.engine = create_engine(database_url, pool_size=2)
        self.relay = Relay(self.engine, nats)
        self.tries = 0
        sqlalchemy.event.listen(self.engine.sync_engine, "checkout", self._count)

    def _count(self, *_: object) -> None:
        self.tries += 1


@asynccontextmanager
async def relaying(database_url: str, nats: Nats) -> AsyncIterator[Standing]:
    standing = Standing(database_url, nats)
    running = asyncio.create_task(standing.relay.run())
    try:
        yield standing
    finally:
        standing.relay.stop()
        await running
        await standing.engine.dispose()


async def all_published(admin: Admin) -> bool:
    return await admin.count(UNPUBLISHED) == 0


def by_key(events: Iterable[events_pb2.Event]) -> dict[str, list[str]]:
    keys = defaultdict(list)
    for event in events:
        keys[event.key].append(event.id)
    return dict(keys)


async def test_events_of_one_key_arrive_in_the_order_of_their_commits(
    database: Database, database_url: str, nats_connection: Nats, lane: Lane, admin: Admin
) -> None:
    sent = [an_event(lane.type(), key=f"key-{n % 30}") for n in range(BATCH_MAX + 50)]
    for start in range(0, len(sent), 50):
        await announce(database, *sent[start : start + 50])

    async with relaying(database_url, nats_connection):
        await until(lambda: all_published(admin))

    assert by_key(await lane.events()) == by_key(sent)
    assert await admin.count(EVERY_ROW) == len(sent)


async def test_an_event_that_cannot_be_published_holds_back_its_own_key_alone(
    database: Database, database_url: str, nats_connection: Nats, lane: Lane, admin: Admin
) -> None:
    stuck = an_event("nobody.declared.this", key="stuck")
    behind = [an_event(lane.type(), key="stuck") for _ in range(BATCH_MAX)]
    neighbour = an_event(lane.type(), key="neighbour")
    await announce(database, stuck, *behind, neighbour)

    async with relaying(database_url, nats_connection):
        await until(lambda: _is_published(admin, neighbour.id))

    assert [event.id for event in await lane.events()] == [neighbour.id]
    assert await admin.count(UNPUBLISHED) == BATCH_MAX + 1


async def test_what_cannot_be_published_is_not_tried_faster_for_all_the_nudges(
    database: Database, database_url: str, nats_connection: Nats, admin: Admin
) -> None:
    await announce(database, an_event("nobody.declared.this"))

    with structlog.testing.capture_logs() as lines:
        started = time.perf_counter()
        async with relaying(database_url, nats_connection) as standing:

            def three_rounds_failed() -> bool:
                standing.relay.nudge()
                return len([line for line in lines if line["event"] == "events.not_published"]) >= 3

            await until(three_rounds_failed)

    assert time.perf_counter() - started > 2 * RETRY_S * 0.9


async def test_one_of_two_relays_works_and_the_other_takes_over_when_it_dies(
    database: Database, database_url: str, nats_connection: Nats, lane: Lane, admin: Admin
) -> None:
    working = Standing(database_url, nats_connection)
    first = asyncio.create_task(working.relay.run())
    await until(lambda: _holds(admin, 1))
    async with relaying(database_url, nats_connection) as standby:
        await until(lambda: standby.tries >= 2)
        [holder] = await admin.relay_pids()

        first.cancel()  # a process that dies takes its session with it
        await admin.terminate(holder)
        sent = an_event(lane.type())
        await announce(database, sent)
        await until(lambda: all_published(admin))

    assert [event.id for event in await lane.events()] == [sent.id]
    await asyncio.wait([first])
    await working.engine.dispose()


async def test_a_relay_that_waits_for_the_lock_does_not_hurry_when_nudged(
    database: Database, database_url: str, nats_connection: Nats, admin: Admin
) -> None:
    async with relaying(database_url, nats_connection):
        await until(lambda: _holds(admin, 1))
        async with relaying(database_url, nats_connection) as standby:
            await until(lambda: standby.tries >= 1)
            started = time.perf_counter()
            standby.relay.nudge()
            await until(lambda: standby.tries >= 4)

    assert time.perf_counter() - started > 2 * RETRY_S * 0.9


async def test_a_relay_that_loses_nats_leaves_the_work_to_one_that_has_it(
    database: Database, database_url: str, nats_connection: Nats, own_nats: OwnNats, lane: Lane, admin: Admin
) -> None:
    connection = await own_nats.connect()

    async with relaying(database_url, connection):
        await until(lambda: _holds(admin, 1))
        await own_nats.stop()
        await announce(database, an_event(lane.type()))
        async with relaying(database_url, nats_connection):
            await until(lambda: all_published(admin))

    assert await lane.count() == 1


async def test_a_relay_whose_session_is_killed_goes_on_with_a_new_one(
    database: Database, database_url: str, nats_connection: Nats, lane: Lane, admin: Admin
) -> None:
    async with relaying(database_url, nats_connection):
        await until(lambda: _holds(admin, 1))
        [pid] = await admin.relay_pids()
        await admin.terminate(pid)

        await announce(database, an_event(lane.type()))
        await until(lambda: all_published(admin))

    assert await lane.count() == 1


async def test_what_was_published_but_not_marked_is_not_there_twice(
    database: Database, database_url: str, nats_connection: Nats, lane: Lane, admin: Admin
) -> None:
    sent = an_event(lane.type())
    await announce(database, sent)

    async with relaying(database_url, nats_connection):
        async with database.transaction() as tx:
            await tx.execute(sqlalchemy.text("SELECT 1 FROM outbox FOR UPDATE"))
            await until(admin.waits_for_a_lock)  # published; the mark waits for our lock
            assert await lane.count() == 1
            [pid] = await admin.relay_pids()
            await admin.terminate(pid)
        await until(lambda: all_published(admin))

    assert [event.id for event in await lane.events()] == [sent.id]


async def test_a_full_stream_refuses_and_the_outbox_waits(
    database: Database,
    database_url: str,
    nats_connection: Nats,
    lane: Lane,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "ROWS_MAX", 1)
    sent = [an_event(lane.type(), key=f"key-{n}") for n in range(20)]
    await jetstream.declare(lane.nats_url, [replace(lane.stream, bytes_max=1_500)], [])
    await announce(database, *sent)

    async with relaying(database_url, nats_connection):
        with structlog.testing.capture_logs() as lines:
            await until(lambda: "events.not_published" in [line["event"] for line in lines])
        assert 0 < await lane.count() < len(sent)
        assert not await all_published(admin)

        await lane.declare()  # its usual size again
        await until(lambda: all_published(admin))

    assert {event.id for event in await lane.events()} == {event.id for event in sent}


async def test_while_nats_is_away_events_wait_and_afterwards_they_arrive(
    database: Database, database_url: str, own_nats: OwnNats, lane: Lane, admin: Admin
) -> None:
    await replace(lane, nats_url=own_nats.url).declare()
    connection = await own_nats.connect()
    before, meanwhile = an_event(lane.type()), an_event(lane.type())

    async with relaying(database_url, connection):
        await announce(database, before)
        await until(lambda: all_published(admin))

        await own_nats.stop()
        await announce(database, meanwhile)
        await until(lambda: not connection.is_up())
        assert await admin.count(UNPUBLISHED) == 1

        await own_nats.start()
        await until(lambda: all_published(admin))

    arrived = await replace(lane, js=await connection.jetstream()).events()
    assert [event.id for event in arrived] == [before.id, meanwhile.id]


async def test_a_relay_that_is_stopped_finishes_its_batch_and_leaves_the_lock(
    database: Database, database_url: str, nats_connection: Nats, lane: Lane, admin: Admin
) -> None:
    async with relaying(database_url, nats_connection) as standing, database.transaction() as tx:
        await announce(database, an_event(lane.type()))
        await tx.execute(sqlalchemy.text("SELECT 1 FROM outbox FOR UPDATE"))
        standing.relay.nudge()
        await until(admin.waits_for_a_lock)
        standing.relay.stop()

    assert await all_published(admin)
    await until(lambda: _holds(admin, 0))


async def _is_published(admin: Admin, event_id: str) -> bool:
    return await admin.count("SELECT count(published_at) FROM outbox WHERE event_id = %s", event_id) == 1


async def _holds(admin: Admin, count: int) -> bool:
    return len(await admin.relay_pids()) == count


async def test_events_told_together_travel_in_few_messages_and_bundles_of_a_type_in_their_order(
    database: Database,
    database_url: str,
    nats_connection: Nats,
    lane: Lane,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced = [[an_event(lane.type(), key=f"key-{n}") for n in range(size)] for size in (3, 1, BUNDLE_MAX + 1, 2)]
    for events in announced:
        await database.run_pipelined(partial(_tell_together, events))
    monkeypatch.setattr(outbox, "MESSAGE_BYTES", 40 * len(announced[0][0].SerializeToString()))

    async with relaying(database_url, nats_connection):
        await until(lambda: all_published(admin))

    messages = [list(events_in(payload)) for payload in await lane.payloads()]
    assert [len(events) for events in messages] == [4, BUNDLE_MAX, 3]
    assert [event for events in messages for event in events] == [event for events in announced for event in events]


async def _tell_together(events: list[events_pb2.Event], pipeline: Pipeline) -> None:
    tell_together(pipeline, events)


@dataclass(frozen=True)
class Row:
    id: int
    key: str
    subject: str
    payload: bytes = events_pb2.EventBundle(events=[events_pb2.Event(id="evt_1")]).SerializeToString()


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("PQR")), max_size=200))
def test_rows_share_messages_and_those_of_one_key_keep_their_order(drawn: list[tuple[str, str]]) -> None:
    rows = [Row(number, key, subject) for number, (key, subject) in enumerate(drawn)]

    sent: list[Row] = []
    for wave in outbox._waves(rows):
        in_turn = [list(messages) for messages in wave]
        keys = [{(row.key) for message in messages for row in message} for messages in in_turn]
        # What is published at the same time has no key in common.
        assert sum(map(len, keys)) == len(set().union(*keys))
        for messages in in_turn:
            assert all(len({row.subject for row in message}) == 1 for message in messages)
            sent += [row for message in messages for row in message]

    assert sorted(row.id for row in sent) == list(range(len(rows)))
    for key in "abcdef":
        assert [row.id for row in sent if row.key == key] == [row.id for row in rows if row.key == key]


def test_events_of_many_keys_travel_in_one_message_per_type() -> None:
    rows = [Row(number, f"key-{number % 40}", "created" if number < 40 else "allocated") for number in range(80)]

    waves = [[list(messages) for messages in wave] for wave in outbox._waves(rows)]

    assert [[len(message) for messages in wave for message in messages] for wave in waves] == [[40], [40]]


async def test_a_row_that_comes_between_two_that_were_published_is_not_taken_for_known(
    database: Database, database_url: str, nats_connection: Nats, lane: Lane, admin: Admin
) -> None:
    before, between, behind = (an_event(lane.type(), key=key) for key in "abc")
    await announce(database, before)
    async with database.transaction() as late:
        await outbox.add(late, [between])  # its row stands between theirs, and is committed last
        await announce(database, behind)
        async with relaying(database_url, nats_connection):
            await until(lambda: _is_published(admin, behind.id))
        await admin.execute("UPDATE outbox SET published_at = NULL")  # died between publishing and marking

    async with relaying(database_url, nats_connection):
        await until(lambda: all_published(admin))

    assert {event.id for event in await lane.events()} == {before.id, between.id, behind.id}


async def test_bundles_are_cut_before_they_are_too_large_for_a_message(
    database: Database,
    database_url: str,
    nats_connection: Nats,
    lane: Lane,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "MESSAGE_BYTES", 50_000)
    large = [an_event(lane.type(), key=f"{n}" * 20_000) for n in range(10)]
    await database.run_pipelined(partial(_tell_together, large))

    async with relaying(database_url, nats_connection):
        await until(lambda: all_published(admin))

    assert max(map(len, await lane.payloads())) <= 50_000
    assert [event.id for event in await lane.events()] == [event.id for event in large]
