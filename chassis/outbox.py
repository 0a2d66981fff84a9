"""What must be told is written in the transaction that did it, and published by a relay afterwards.

PostgreSQL is the truth, JetStream the transport. A row leaves by being marked, one by one, never by a high-water
mark: identity values do not commit in order. Events of one key are written under the key's row lock, so their
identity values follow their commits, and the relay keeps that order per key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

import nats.errors
import sqlalchemy.exc
from google.protobuf.message import DecodeError
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chassis import failpoints, trace, wire
from chassis.clock import pause
from chassis.ids import IdMaker
from chassis.jetstream import Nats
from chassis.logs import log
from chassis.pipeline import Pipeline
from skutrail.v1 import events_pb2

RETENTION = timedelta(days=7)  # kept after publication, so that a lost stream can be published again
BATCH_MAX = 256
BUNDLE_MAX = 256  # events in a row: less than MESSAGE_BYTES, however long their names are
MESSAGE_BYTES = 512 * 1024  # half of what a stream takes (jetstream.py)
IN_FLIGHT_MAX = 64
POLL_S = 0.25
REST_S = 0.03  # after a look, whatever was committed meanwhile: under load commits share looks and messages
PUBLISH_TIMEOUT_S = 2.0
RETRY_S = 0.5
STUCK_KEYS_MAX = 1_000  # more stuck keys than this, and the trouble is not the keys'
_RELAY_LOCK = 0x0BB0  # one relay per database: pg_try_advisory_lock

_ADD = text("""
    INSERT INTO outbox (event_id, subject, key, payload)
    SELECT * FROM unnest(
        CAST(:ids AS text[]), CAST(:subjects AS text[]), CAST(:keys AS text[]), CAST(:payloads AS bytea[])
    )
""")
_TAKE = text("""
    SELECT id, event_id, subject, key, payload FROM outbox
    WHERE published_at IS NULL AND key <> ALL(CAST(:stuck AS text[]))
    ORDER BY id LIMIT :limit
""")
_TRY_LOCK = text("SELECT pg_try_advisory_lock(:lock)")
_MARK = text("UPDATE outbox SET published_at = now() WHERE id = ANY(CAST(:ids AS bigint[]))")

_PURGE = text("""
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE published_at < CAST(:now AS timestamptz) - CAST(:retention AS interval)
        LIMIT :limit FOR UPDATE SKIP LOCKED
    )
""")


def make_event(
    event_type: str,
    tenant_id: str,
    *,
    key: str,
    at: datetime,
    new_id: IdMaker,
    **data: Any,
) -> events_pb2.Event:
    """An event that the current request causes. `data` is one member of the contract's oneof."""
    return events_pb2.Event(
        id=new_id("evt"),
        type=event_type,
        tenant_id=tenant_id,
        key=key,
        occurred_at=wire.timestamp(at),
        traceparent=trace.current().traceparent,
        **data,
    )


async def add(tx: AsyncConnection, events: Iterable[events_pb2.Event]) -> None:
    """Writes events to be published after the commit."""
    rows = [_Row(e.id, f"skutrail.{e.type}", f"{e.tenant_id}/{e.key}", e.SerializeToString()) for e in events]
    if rows:
        await tx.execute(*_adding(rows))


def tell_together(pipeline: Pipeline, events: Sequence[events_pb2.Event]) -> None:
    """Writes events of one type, which travel together: a row and a message for each would be most of the cost.

    All of a type share a lane: of two bundles that have a key in common, the first is published first.
    """
    rows = []
    for start in range(0, len(events), BUNDLE_MAX):
        bundle = events[start : start + BUNDLE_MAX]
        subject = f"skutrail.{bundle[0].type}"
        rows.append(_Row(bundle[0].id, subject, subject, events_pb2.EventBundle(events=bundle).SerializeToString()))
    if rows:
        pipeline.tell(*_adding(rows))


def events_in(payload: bytes) -> Sequence[events_pb2.Event]:
    """The events of a message. Raises google.protobuf.message.DecodeError for what is none."""
    events = events_pb2.EventBundle.FromString(payload).events or [events_pb2.Event.FromString(payload)]
    if not all(event.id and event.type for event in events):
        # A form of a later release, perhaps: acked unread it would be lost.
        raise DecodeError("a message without an event that has an id and a type")
    return events


@dataclass(frozen=True)
class _Row:
    event_id: str
    subject: str
    key: str
    payload: bytes


def _adding(rows: Sequence[_Row]) -> tuple[TextClause, dict[str, list[Any]]]:
    return _ADD, {
        "ids": [row.event_id for row in rows],
        "subjects": [row.subject for row in rows],
        "keys": [row.key for row in rows],
        "payloads": [row.payload for row in rows],
    }


async def purge(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Deletes at most `limit` rows that have served their time; returns how many went."""
    return (await tx.execute(_PURGE, {"now": now, "retention": RETENTION, "limit": limit})).rowcount


class Relay:
    """Publishes the outbox of one database. Any number may run; the holder of the advisory lock works."""

    name = "relay"

    def __init__(self, engine: AsyncEngine, nats_connection: Nats) -> None:
        self._engine = engine
        self._nats = nats_connection
        self._nudge = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stuck: dict[str, float] = {}  # key whose event could not be published → when to try again

    def nudge(self) -> None:
        """Something was committed: look now instead of at the next poll."""
        self._nudge.set()

    def stop(self) -> None:
        self._stopping.set()
        self._nudge.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            if self._nats.is_up():
                try:
                    async with self._engine.connect() as connection:
                        await connection.execution_options(isolation_level="AUTOCOMMIT")
                        await self._hold_lock_and_publish(connection)
                except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
                    log.warning("relay.database_away", cause=type(error).__name__)
            # Not to be cut short by a nudge: every commit would send whoever waits for the lock to the database.
            await pause(RETRY_S, unless=self._stopping)

    async def _hold_lock_and_publish(self, connection: AsyncConnection) -> None:
        if not (await connection.execute(_TRY_LOCK, {"lock": _RELAY_LOCK})).scalar_one():
            return
        try:
            # Whoever loses NATS leaves the lock to one who has it.
            while self._nats.is_up() and not self._stopping.is_set():
                self._nudge.clear()
                taken = await self._publish_batch(connection)
                if len(self._stuck) > STUCK_KEYS_MAX:
                    await pause(RETRY_S, unless=self._stopping)
                elif taken < BATCH_MAX:
                    await pause(REST_S, unless=self._stopping)
                    await pause(POLL_S, unless=self._nudge)
        finally:
            # Ends the session and the lock with it, in whatever state they are; the pool must not get it back.
            await connection.invalidate()

    async def _publish_batch(self, connection: AsyncConnection) -> int:
        """Returns how many events were taken, published or not."""
        now = time.monotonic()
        self._stuck = {key: retry_at for key, retry_at in self._stuck.items() if retry_at > now}
        rows = (await connection.execute(_TAKE, {"limit": BATCH_MAX, "stuck": list(self._stuck)})).all()
        if not rows:
            return 0
        lanes = [list(lane) for _, lane in groupby(sorted(rows, key=attrgetter("key", "id")), key=attrgetter("key"))]
        slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        outcomes = await asyncio.gather(*(self._publish_lane(lane, slots) for lane in lanes))
        ids = [row.id for lane, outcome in zip(lanes, outcomes, strict=True) for row in lane[: outcome.count]]
        if ids:
            failpoints.reach("relay.published")
            await connection.execute(_MARK, {"ids": ids})
            log.info("events.published", count=len(ids), of=len(rows))
        self._set_aside([outcome for outcome in outcomes if outcome.stuck is not None])
        return len(rows)

    async def _publish_lane(self, lane: Sequence[Any], slots: asyncio.Semaphore) -> _Outcome:
        """Publishes the events of one key in order; the first that fails holds back those behind it."""
        published = 0
        for rows in _parcels(lane):
            async with slots:
                try:
                    await self._publish(rows)
                except (nats.errors.Error, TimeoutError, OSError) as error:
                    return _Outcome(published, stuck=rows[0], cause=f"{type(error).__name__}: {error}"[:200])
            published += len(rows)
        return _Outcome(published)

    async def _publish(self, rows: Sequence[Any]) -> None:
        js = await self._nats.jetstream()
        # Of one row more or less it is another message: as a duplicate it would be dropped with what is new in it.
        message_id = rows[0].event_id if len(rows) == 1 else f"{rows[0].event_id}..{rows[-1].event_id}"
        # A serialized message followed by another one of its type is both merged: their lists are joined (protobuf).
        payload = b"".join([row.payload for row in rows])
        await js.publish(rows[0].subject, payload, timeout=PUBLISH_TIMEOUT_S, headers={"Nats-Msg-Id": message_id})

    def _set_aside(self, failed: Sequence[_Outcome]) -> None:
        """The keys of failed lanes rest, so that they do not fill every batch and hold up all others."""
        if not failed:
            return
        retry_at = time.monotonic() + RETRY_S
        self._stuck.update({outcome.stuck.key: retry_at for outcome in failed})
        first = failed[0]
        log.warning("events.not_published", keys=len(failed), event_id=first.stuck.event_id, cause=first.cause)


def _parcels(lane: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows of a lane by message: bundles share one, up to MESSAGE_BYTES; an event of its own travels alone."""
    parcel: list[Any] = []
    for row in lane:
        is_bundle = row.key == row.subject
        if parcel and (not is_bundle or sum(len(r.payload) for r in parcel) + len(row.payload) > MESSAGE_BYTES):
            yield parcel
            parcel = []
        parcel.append(row)
    if parcel:
        yield parcel


@dataclass(frozen=True)
class _Outcome:
    """How many events of a key were published, and the one that was not."""

    count: int
    stuck: Any = None
    cause: str = ""
