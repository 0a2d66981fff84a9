"""NATS: streams and consumers that are not there, and consumers that do not get on."""

from __future__ import annotations

from collections.abc import Sequence

import nats.js.errors
from nats.js import JetStreamContext

from chassis import jetstream
from chassis.jetstream import ConsumerSpec
from cli import migrate
from cli.diagnosis.check import FOUND_MAX, Check, Finding, Sources

BEHIND_MAX = 100  # messages that a consumer may have before it, as long as nothing moves
STILL_S = 5.0

_DECLARE = "Run skutrail migrate; what was published meanwhile: skutrail republish --since TIME"


async def undeclared(sources: Sources) -> Sequence[Finding]:
    streams, consumers = migrate.topology()
    found = []
    async with jetstream.connected(sources.nats_url) as js:
        names = {str(info.config.name): info.config for info in await js.streams_info()}
        for stream in streams:
            if stream.name not in names:
                found.append(Finding(stream.name, "the stream is not there", _DECLARE))
            elif names[stream.name].max_msg_size == jetstream.CLOSED_BYTES:
                found.append(Finding(stream.name, "the stream is not open yet: its declaration broke off", _DECLARE))
        for consumer in consumers:
            if consumer.stream in names and await _behind(js, consumer) is None:
                found.append(Finding(consumer.name, f"the consumer is not there, on {consumer.stream}", _DECLARE))
    return found[:FOUND_MAX]


async def standing_still(sources: Sources) -> Sequence[Finding]:
    found = []
    async with jetstream.connected(sources.nats_url) as js:
        for consumer in migrate.topology()[1]:
            count, acknowledged_up_to = await _behind(js, consumer) or (0, 0)
            if count > BEHIND_MAX:
                reader = consumer.name.partition("-")[0]
                text = f"{count:,} messages of {consumer.stream} wait, and none was acknowledged for {STILL_S:.0f} s"
                todo = f"See whether {reader} runs, and its log: event.failed, event.postponed, consumer.away"
                found.append(Finding(consumer.name, text, todo, place=acknowledged_up_to))
    return found[:FOUND_MAX]


async def _behind(js: JetStreamContext, consumer: ConsumerSpec) -> tuple[int, int] | None:
    """How many messages it has before it, and up to which one all are acknowledged. None where there is no such one."""
    try:
        info = await js.consumer_info(consumer.stream, consumer.name)
    except nats.js.errors.NotFoundError:
        return None
    floor = info.ack_floor.stream_seq if info.ack_floor else 0
    return (info.num_pending or 0) + (info.num_ack_pending or 0), floor


CHECKS = (
    Check("nats: undeclared", undeclared),
    Check("nats: standing still", standing_still, again_after_s=STILL_S),
)
