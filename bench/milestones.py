"""When each shipment came where, as its events tell. They are heard on NATS, as anybody may hear them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.lines import Journey, percentiles
from chassis import outbox

SUBJECT = "skutrail.shipment.*"
CREATED, ALLOCATED, LABEL_READY = "shipment.created", "shipment.allocated", "shipment.label_ready"
POLL_S = 0.1
QUIET_S = 20.0  # longer than any step waits for its next try at this load


@dataclass(frozen=True)
class _Arrival:
    """Microseconds of the machine's clock."""

    shipment_id: str
    created_us: int
    occurred_us: int
    heard_us: int


class Milestones:
    """Of the shipments since `forget`. An event that is told twice counts once; two events count twice."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._event_ids: set[str] = set()
        self._arrivals: dict[str, list[_Arrival]] = {}
        self._last_heard_s = time.monotonic()

    def hear(self, payload: bytes, heard_us: int) -> None:
        """Takes a message: one event or a bundle of them. Raises DecodeError for what is neither."""
        for event in outbox.events_in(payload):
            if event.id not in self._event_ids:
                self._event_ids.add(event.id)
                shipment = event.shipment
                arrival = _Arrival(shipment.id, _us(shipment.created_at), _us(event.occurred_at), heard_us)
                self._arrivals.setdefault(event.type, []).append(arrival)
        self._last_heard_s = time.monotonic()

    def told(self) -> Mapping[str, Counter[str]]:
        """By type of event: how often of which shipment."""
        return {kind: Counter(one.shipment_id for one in arrivals) for kind, arrivals in self._arrivals.items()}

    def journey(self, event_type: str) -> Journey:
        """From creation to that event, of all shipments that came there."""
        arrivals = self._arrivals.get(event_type, [])
        if not arrivals:
            return Journey(per_second=0.0, p50_ms=0.0, p99_ms=0.0, heard_p99_ms=0.0)
        first_us = min(one.created_us for one in arrivals)
        seconds = (max(one.occurred_us for one in arrivals) - first_us) / 1e6
        p50_ms, p99_ms = percentiles([(one.occurred_us - one.created_us) / 1000 for one in arrivals])
        _, heard_p99_ms = percentiles([(one.heard_us - one.created_us) / 1000 for one in arrivals])
        return Journey(len(arrivals) / seconds if seconds else 0.0, p50_ms, p99_ms, heard_p99_ms)

    async def wait_for_labels(self, count: int, limit_s: float) -> None:
        """Until so many shipments are ready, or for so long, or until nothing more is heard. Costs nobody anything."""
        ends_at = time.monotonic() + limit_s
        while len(self._arrivals.get(LABEL_READY, ())) < count:
            if time.monotonic() > min(ends_at, self._last_heard_s + QUIET_S):
                return
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def listening(connection: Client) -> AsyncIterator[Milestones]:
    """Hears all that is published meanwhile. A message lost on the way shows as an event that was never told."""
    milestones = Milestones()

    async def hear(message: Msg) -> None:
        milestones.hear(message.data, time.time_ns() // 1000)

    subscription = await connection.subscribe(SUBJECT, cb=hear)
    await connection.flush()
    try:
        yield milestones
    finally:
        await subscription.unsubscribe()


def _us(stamp: Timestamp) -> int:
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
