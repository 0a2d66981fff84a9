"""The one declaration of streams and consumers: idempotent, updating, safe beside itself."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from nats.js.api import AckPolicy, DiscardPolicy, StorageType

from chassis import jetstream
from tests.chassis.conftest import Lane
from tests.chassis.probes import an_event


async def test_every_limit_of_a_stream_is_explicit_and_a_full_one_refuses(lane: Lane) -> None:
    config = (await lane.info()).config

    assert config.storage == StorageType.FILE
    assert config.discard == DiscardPolicy.NEW
    assert config.max_bytes == lane.stream.bytes_max
    assert config.max_age == lane.stream.age_max.total_seconds()
    assert config.max_msg_size == lane.stream.message_bytes_max
    assert config.duplicate_window == lane.stream.duplicate_window.total_seconds()


async def test_a_consumer_is_durable_acks_one_by_one_and_drops_nothing(lane: Lane) -> None:
    spec = lane.consumer()

    await lane.declare(spec)

    config = (await lane.consumer_info(spec)).config
    assert config.durable_name == spec.name
    assert config.ack_policy == AckPolicy.EXPLICIT
    assert config.max_deliver == -1
    assert not config.inactive_threshold


async def test_declaring_again_changes_nothing_and_loses_nothing(lane: Lane) -> None:
    spec, event = lane.consumer(), an_event(lane.type())
    await lane.declare(spec)
    await lane.publish(event)
    before = await lane.consumer_info(spec)

    await lane.declare(spec)

    after = await lane.consumer_info(spec)
    assert (after.config, after.num_pending, after.created) == (before.config, 1, before.created)
    assert [kept.id for kept in await lane.events()] == [event.id]


async def test_what_differs_is_updated_and_the_messages_stay(lane: Lane) -> None:
    spec, event = lane.consumer(), an_event(lane.type())
    await lane.declare(spec)
    await lane.publish(event)
    stream = replace(lane.stream, bytes_max=2 * lane.stream.bytes_max, subjects=(*lane.stream.subjects, "also.>"))
    consumer = replace(spec, ack_wait=timedelta(seconds=7), in_flight_max=3, subjects=("also.>",))

    await jetstream.declare(lane.nats_url, [stream], [consumer])

    declared, info = (await lane.info()).config, (await lane.consumer_info(spec)).config
    assert (declared.max_bytes, declared.subjects) == (stream.bytes_max, list(stream.subjects))
    assert (info.ack_wait, info.max_ack_pending, info.filter_subjects or [info.filter_subject]) == (7, 3, ["also.>"])
    assert [kept.id for kept in await lane.events()] == [event.id]


async def test_several_may_declare_at_once(lane: Lane) -> None:
    spec = lane.consumer()
    await lane.js.delete_stream(lane.stream.name)

    await asyncio.gather(*(lane.declare(spec) for _ in range(6)))

    assert (await lane.consumer_info(spec)).name == spec.name
