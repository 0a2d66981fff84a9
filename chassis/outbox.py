"""What must be told is written in the transaction that did it, and published by a relay afterwards.

PostgreSQL is the truth, JetStream the transport. A row leaves by being marked, one by one, never by a high-water
mark: identity values do not commit in order. Events of one key are written under the key's row lock, so their
identity values follow their commits, and the relay keeps that order per key.

What was published is kept for a while. Its mark can be taken back (`take_back`): the relay then tells it once more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
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

# How old an event may be that is told again: a message lives for seven days, an inbox claim for fourteen (inbox.py).
# Whatever is told again within the first half has come, or is gone, before its claim is.
TOLD_AGAIN_MAX = timedelta(days=7)
BATCH_MAX = 256
BUNDLE_MAX = 256  # events in a row
MESSAGE_BYTES = 512 * 1024  # half of what a stream takes (jetstream.py)
ROWS_MAX = 64  # in a message
POLL_S = 0.25
REST_S = 0.03  # after a look, whatever was committed meanwhile: under load commits share looks and messages
PUBLISH_TIMEOUT_S = 2.0
RETRY_S = 0.5
SETTLED_S = 60.0  # longer than any transaction lives (database.py): afterwards no lower id appears any more
LOOK_BACK_S = 5.0  # how soon a mark that was taken back is noticed
STUCK_KEYS_MAX = 1_000  # more stuck keys than this, and the trouble is not the keys'
_RELAY_LOCK = 0x0BB0  # one relay per database: pg_try_advisory_lock

_ADD = text("""
    INSERT INTO outbox (event_id, subject, key, payload)
    SELECT * FROM unnest(
        CAST(:ids AS text[]), CAST(:subjects AS text[]), CAST(:keys AS text[]), CAST(:payloads AS bytea[])
    )
""")
_TAKE = text("""
    SELECT id, event_id, subject, key, payload, retold_at FROM outbox
    WHERE published_at IS NULL AND id > :above AND key <> ALL(CAST(:stuck AS text[]))
    ORDER BY id LIMIT :limit
""")
_TRY_LOCK = text("SELECT pg_try_advisory_lock(:lock)")
_MARK = text("UPDATE outbox SET published_at = now() WHERE id = ANY(CAST(:ids AS bigint[]))")

_PURGE = text("""
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE published_at < CAST(:before AS timestamptz)
        ORDER BY published_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
""")

# By the index of what was published. Nothing is created after it was published, so nothing is overlooked.
_TAKE_BACK = text("""
    UPDATE outbox SET published_at = NULL, retold_at = now() WHERE id IN (
        SELECT id FROM outbox
        WHERE published_at >= CAST(:since AS timestamptz) AND published_at < CAST(:before AS timestamptz)
            AND created_at >= CAST(:before AS timestamptz) - CAST(:age_max AS interval)
        ORDER BY published_at LIMIT :limit FOR UPDATE
    )
""")


def make_event(
    event_type: str,
    tenant_id: str,
    *,
    key: str,
    at: datetime,
    new_id: IdMaker,
    cause: trace.Trace | None = None,
    **data: Any,
) -> events_pb2.Event:
    """An event that a request causes, by default the current one. `data` is one member of the contract's oneof."""
    return events_pb2.Event(
        id=new_id("evt"),
        type=event_type,
        tenant_id=tenant_id,
        key=key,
        occurred_at=wire.timestamp(at),
        traceparent=(cause or trace.current()).traceparent,
        **data,
    )


async def add(tx: AsyncConnection, events: Iterable[events_pb2.Event]) -> None:
    """Writes events to be published after the commit."""
    if rows := _rows(events):
        await tx.execute(*_adding(rows))


def tell(pipeline: Pipeline, events: Iterable[events_pb2.Event]) -> None:
    """The same, with the commit of a pipeline."""
    if rows := _rows(events):
        pipeline.tell(*_adding(rows))


def tell_together(pipeline: Pipeline, events: Sequence[events_pb2.Event]) -> None:
    """Writes events of one type, which travel together: a row and a message for each would be most of the cost.

    All of a type share a lane: of two bundles that have a key in common, the first is published first.
    """
    subject = f"skutrail.{events[0].type}" if events else ""
    rows = [_Row(bundle[0].id, subject, subject, _bundled(bundle)) for bundle in _bundles(events)]
    if rows:
        pipeline.tell(*_adding(rows))


def _bundles(events: Sequence[events_pb2.Event]) -> Iterator[Sequence[events_pb2.Event]]:
    """At most BUNDLE_MAX events and MESSAGE_BYTES in each, or one that is larger by itself."""
    bundle: list[events_pb2.Event] = []
    size = 0
    for event in events:
        if bundle and (len(bundle) == BUNDLE_MAX or size + event.ByteSize() > MESSAGE_BYTES):
            yield bundle
            bundle, size = [], 0
        bundle.append(event)
        size += event.ByteSize()
    if bundle:
        yield bundle


def _bundled(events: Sequence[events_pb2.Event]) -> bytes:
    return events_pb2.EventBundle(events=events).SerializeToString()


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


def _rows(events: Iterable[events_pb2.Event]) -> list[_Row]:
    return [_Row(e.id, f"skutrail.{e.type}", f"{e.tenant_id}/{e.key}", _bundled([e])) for e in events]


def _adding(rows: Sequence[_Row]) -> tuple[TextClause, dict[str, list[Any]]]:
    return _ADD, {
        "ids": [row.event_id for row in rows],
        "subjects": [row.subject for row in rows],
        "keys": [row.key for row in rows],
        "payloads": [row.payload for row in rows],
    }


async def waiting(connection: AsyncConnection, *, above: int, stuck: Sequence[str], limit: int) -> Sequence[Any]:
    """The rows above an id that are not published yet, in the order of their ids, but for those of the stuck keys."""
    return (await connection.execute(_TAKE, {"above": above, "stuck": stuck, "limit": limit})).all()


async def purge(tx: AsyncConnection, now: datetime, limit: int, *, kept: timedelta) -> int:
    """Deletes at most `limit` rows that were published longer ago than they are kept; returns how many went."""
    return (await tx.execute(_PURGE, {"before": now - kept, "limit": limit})).rowcount


async def take_back(tx: AsyncConnection, *, since: datetime, before: datetime, limit: int) -> int:
    """Has at most `limit` rows told again that were published from `since` on and before `before`; returns how many.

    What is older than TOLD_AGAIN_MAX stays as it is. Ids stay, so whoever had an event already does nothing.
    """
    wanted = {"since": since, "before": before, "age_max": TOLD_AGAIN_MAX, "limit": limit}
    return (await tx.execute(_TAKE_BACK, wanted)).rowcount


class Relay:
    """Publishes the outbox of one database. Any number may run; the holder of the advisory lock works."""

    name = "relay"

    def __init__(self, engine: AsyncEngine, nats_connection: Nats) -> None:
        self._engine = engine
        self._nats = nats_connection
        self._nudge = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stuck: dict[str, float] = {}  # key whose event could not be published → when to try again
        self._floor = _Floor()

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
        above = self._floor.for_a_look(now)
        rows = await waiting(connection, above=above, stuck=list(self._stuck), limit=BATCH_MAX)
        if not rows:
            return 0
        attempt = _Attempt()
        for wave in _waves(rows):
            await asyncio.gather(*(self._publish_in_turn(messages, attempt) for messages in wave))
        if attempt.published:
            failpoints.reach("relay.published")
            await connection.execute(_MARK, {"ids": attempt.published})
            log.info("events.published", count=len(attempt.published), of=len(rows))
        self._set_aside(attempt)
        all_told = not self._stuck and len(attempt.published) == len(rows) < BATCH_MAX
        self._floor.looked(now, rows, is_all_told=all_told)
        return len(rows)

    async def _publish_in_turn(self, messages: Iterable[Sequence[Any]], attempt: _Attempt) -> None:
        """Publishes messages of one subject. One that fails holds back what lies behind it of the same keys."""
        for rows in messages:
            going = [row for row in rows if row.key not in attempt.stuck]
            if not going:
                continue
            try:
                await self._publish(going)
            except (nats.errors.Error, TimeoutError, OSError) as error:
                attempt.note_failure(going, error)
            else:
                attempt.published += [row.id for row in going]

    async def _publish(self, rows: Sequence[Any]) -> None:
        js = await self._nats.jetstream()
        message_id = _message_id(rows)
        # A serialized message followed by another one of its type is both merged: their lists are joined (protobuf).
        payload = b"".join([row.payload for row in rows])
        await js.publish(rows[0].subject, payload, timeout=PUBLISH_TIMEOUT_S, headers={"Nats-Msg-Id": message_id})

    def _set_aside(self, attempt: _Attempt) -> None:
        """The keys of what failed rest, so that they do not fill every batch and hold up all others."""
        if not attempt.stuck:
            return
        retry_at = time.monotonic() + RETRY_S
        self._stuck.update(dict.fromkeys(attempt.stuck, retry_at))
        log.warning("events.not_published", keys=len(attempt.stuck), event_id=attempt.event_id, cause=attempt.cause)


def _message_id(rows: Sequence[Any]) -> str:
    """Of one row more or less, wherever it stands, it is another message: as a duplicate it would be dropped with what
    is new in it."""
    if len(rows) == 1:
        return _telling(rows[0])
    return sha256("\n".join(map(_telling, rows)).encode()).hexdigest()


def _telling(row: Any) -> str:
    """What is told again is no duplicate: a stream that still remembers it may have lost whom it was for."""
    return row.event_id if row.retold_at is None else f"{row.event_id}~{row.retold_at:%Y%m%dT%H%M%S.%f}"


def _waves(rows: Sequence[Any]) -> Iterator[Sequence[Iterable[Sequence[Any]]]]:
    """The rows as messages, many rows of one subject in each, so that those of one key keep their order: where its
    subject changes, a key goes on in the next wave. A wave is a list of messages in turn per subject."""
    waves: list[dict[str, list[Any]]] = []
    place: dict[str, tuple[int, str]] = {}
    for row in rows:
        wave, subject = place.get(row.key, (0, row.subject))
        wave += subject != row.subject
        place[row.key] = wave, row.subject
        if wave == len(waves):
            waves.append({})
        waves[wave].setdefault(row.subject, []).append(row)
    return ([list(_messages(of_subject)) for of_subject in wave.values()] for wave in waves)


def _messages(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows of a subject by message: up to ROWS_MAX and MESSAGE_BYTES; what is no bundle travels alone."""
    message: list[Any] = []
    size = 0
    for row in rows:
        fits = len(message) < ROWS_MAX and size + len(row.payload) <= MESSAGE_BYTES
        if message and not (fits and _is_bundle(row) and _is_bundle(message[0])):
            yield message
            message, size = [], 0
        message.append(row)
        size += len(row.payload)
    if message:
        yield message


def _is_bundle(row: Any) -> bool:
    """An event by itself was written by an earlier release."""
    return bytes(row.payload[: len(_BUNDLE_TAG)]) == _BUNDLE_TAG


_BUNDLE_TAG = events_pb2.EventBundle(events=[events_pb2.Event()]).SerializeToString()[:2]


@dataclass
class _Attempt:
    """What became of a batch: the ids of the rows that are told, and the keys of those that are not."""

    published: list[int] = field(default_factory=list)
    stuck: set[str] = field(default_factory=set)
    event_id: str = ""
    cause: str = ""

    def note_failure(self, rows: Sequence[Any], error: Exception) -> None:
        self.stuck |= {row.key for row in rows}
        self.event_id, self.cause = rows[0].event_id, f"{type(error).__name__}: {error}"[:200]


class _Floor:
    """The id up to which nothing waits, so that a look need not pass by all that was marked before it.

    Every mark leaves a dead entry in the index until a vacuum, and none is cleared away while a long query runs.
    """

    def __init__(self) -> None:
        self._id = 0
        self._next: tuple[float, int] | None = None  # when it was the highest id that was told, and all below as well
        self._look_back_at = 0.0

    def for_a_look(self, now: float) -> int:
        """Now and then zero: an operator may have taken marks back."""
        if now < self._look_back_at:
            return self._id
        self._look_back_at = now + LOOK_BACK_S
        return 0

    def looked(self, now: float, rows: Sequence[Any], *, is_all_told: bool) -> None:
        if rows[0].id <= self._id:
            self._id, self._next = 0, None
        if not is_all_told:
            return
        # Whatever lower id was still to be committed then has been seen since, and was told as well.
        if self._next is not None and now - self._next[0] > SETTLED_S:
            self._id, self._next = self._next[1], None
        if self._next is None:
            self._next = now, rows[-1].id
