"""Events that are taken many at a time: handed over together, and each by itself where that fails."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from chassis.consumer import WORKERS_TOGETHER, Consumer, SomeLater, Together, Trouble
from chassis.database import Database
from chassis.jetstream import ConsumerSpec, Nats
from skutrail.v1 import events_pb2
from tests.chassis.conftest import Lane
from tests.chassis.probes import Admin, an_event, until
from tests.chassis.test_consumer import SOON, Reader, a_bundle, all_acked, parked


@asynccontextmanager
async def consuming_together(
    lane: Lane, spec: ConsumerSpec, one_by_one: Reader, together: Together, database: Database
) -> AsyncIterator[None]:
    connection = Nats(lane.nats_url, spec.name)
    consumer = Consumer(connection, spec, {lane.type(): one_by_one}, database, together)
    running = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        await connection.close()


async def test_what_lies_ready_is_handed_over_together(database: Database, lane: Lane) -> None:
    calls: list[list[str]] = []

    async def take(events: Sequence[events_pb2.Event]) -> None:
        calls.append([event.id for event in events])

    spec, alone = lane.consumer(), Reader()
    announced = [an_event(lane.type()) for _ in range(9)]
    await lane.declare(spec)
    await lane.publish(*announced[:5], an_event(lane.type("other")))
    await lane.publish_raw(a_bundle(*announced[5:]))

    async with consuming_together(lane, spec, alone, take, database):
        await until(lambda: all_acked(lane, spec))

    assert sorted(event_id for call in calls for event_id in call) == sorted(event.id for event in announced)
    assert len(calls) <= WORKERS_TOGETHER
    assert alone.seen == []


async def test_where_taking_many_fails_each_is_tried_alone(database: Database, lane: Lane, admin: Admin) -> None:
    async def fail(_: Sequence[events_pb2.Event]) -> None:
        raise ZeroDivisionError

    spec, alone = lane.consumer(), Reader()
    announced = [an_event(lane.type()) for _ in range(3)]
    await lane.declare(spec)
    await lane.publish(*announced)

    async with consuming_together(lane, spec, alone, fail, database):
        await until(lambda: all_acked(lane, spec))

    assert sorted(alone.seen) == sorted(event.id for event in announced)
    assert await parked(admin) == []


async def test_where_many_are_tried_alone_those_behind_do_not_come_to_somebody_else(
    database: Database, lane: Lane
) -> None:
    async def fail(_: Sequence[events_pb2.Event]) -> None:
        raise ZeroDivisionError

    async def take_time(_: events_pb2.Event) -> None:
        await asyncio.sleep(SOON.total_seconds() / 3)  # the work itself: what is behind waits longer than the ack may

    spec, alone = lane.consumer(ack_wait=SOON), Reader(take_time)
    announced = [an_event(lane.type()) for _ in range(10)]
    await lane.declare(spec)
    await lane.publish(*announced)

    async with consuming_together(lane, spec, alone, fail, database):
        await until(lambda: all_acked(lane, spec))

    assert Counter(alone.seen) == {event.id: 1 for event in announced}


@pytest.mark.parametrize(("count", "fails_late"), [(3, False), (1, True)], ids=["at once", "late"])
async def test_what_is_tried_alone_has_its_full_time_however_long_it_waited(
    database: Database, lane: Lane, count: int, fails_late: bool
) -> None:
    work_s = SOON.total_seconds() * 0.7  # alone within the time of an ack, and beyond it with the wait
    handed_over: list[str] = []

    async def fail(events: Sequence[events_pb2.Event]) -> None:
        handed_over.extend(event.id for event in events)
        if fails_late:
            await asyncio.sleep(work_s)
        raise ZeroDivisionError

    async def take_time(_: events_pb2.Event) -> None:
        await asyncio.sleep(work_s)

    spec, alone = lane.consumer(ack_wait=SOON), Reader(take_time)
    announced = [an_event(lane.type()) for _ in range(count)]
    await lane.declare(spec)
    await lane.publish(*announced)

    async with consuming_together(lane, spec, alone, fail, database):
        await until(lambda: all_acked(lane, spec))

    assert Counter(handed_over) == Counter(alone.seen) == {event.id: 1 for event in announced}


async def test_of_many_handed_over_together_those_in_trouble_alone_come_again(database: Database, lane: Lane) -> None:
    calls: list[list[str]] = []
    troubled, *served = (an_event(lane.type()) for _ in range(5))

    async def take(events: Sequence[events_pb2.Event]) -> None:
        calls.append([event.id for event in events])
        if sum(troubled.id in call for call in calls) == 1 and troubled.id in calls[-1]:
            raise SomeLater({troubled.id: Trouble("a carrier is away")})

    spec, alone = lane.consumer(), Reader()
    await lane.declare(spec)
    await lane.publish(troubled, *served[:2])
    await lane.publish_raw(a_bundle(*served[2:]))

    async with consuming_together(lane, spec, alone, take, database):
        await until(lambda: all_acked(lane, spec))

    assert Counter(event_id for call in calls for event_id in call) == {
        troubled.id: 2,
        **{event.id: 1 for event in served},
    }
    assert alone.seen == []


async def test_what_only_takes_several_goes_comes_again_as_soon_as_it_says(database: Database, lane: Lane) -> None:
    goes: list[list[str]] = []
    long, slow = an_event(lane.type()), an_event(lane.type())

    async def take(events: Sequence[events_pb2.Event]) -> None:
        goes.append([event.id for event in events])
        if len(goes) < 10:
            raise SomeLater({long.id: Trouble("more to do", delay_s=0.01), slow.id: Trouble("a carrier is away")})

    spec, alone = lane.consumer(), Reader()
    await lane.declare(spec)
    await lane.publish_raw(a_bundle(slow, long))

    async with consuming_together(lane, spec, alone, take, database):
        # With delays that grow the fifth would come after six seconds.
        await until(lambda: all_acked(lane, spec), within_s=6)

    assert goes == [[slow.id, long.id]] * 10
