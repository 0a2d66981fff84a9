"""What must be told is written in the transaction that did it, and published by a relay afterwards.

PostgreSQL is the truth, JetStream the transport. A row leaves by being marked, one by one, never by a high-water
mark: identity values do not commit in order. Events of one key are written under the key's row lock, so their
identity values follow their commits, and the relay keeps that order per key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

import nats.errors
import nats.js.errors
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chassis.jetstream import Nats
from chassis.logs import log
from skutrail.v1 import events_pb2

RETENTION = timedelta(days=7)  # kept after publication, so that a lost stream can be published again
BATCH_MAX = 256
IN_FLIGHT_MAX = 64
POLL_S = 0.25
PUBLISH_TIMEOUT_S = 2.0
RETRY_S = 0.5
_RELAY_LOCK = 0x0BB0  # one relay per database: pg_try_advisory_lock

_ADD = text("""
    INSERT INTO outbox (event_id, subject, key, payload)
    SELECT * FROM unnest(
        CAST(:ids AS text[]), CAST(:subjects AS text[]), CAST(:keys AS text[]), CAST(:payloads AS bytea[])
    )
""")
_TAKE = text(
    "SELECT id, event_id, subject, key, payload FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT :limit"
)
_MARK = text("UPDATE outbox SET published_at = now() WHERE id = ANY(CAST(:ids AS bigint[]))")

_PURGE = text("""
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE published_at < CAST(:now AS timestamptz) - CAST(:retention AS interval)
        LIMIT :limit FOR UPDATE SKIP LOCKED
    )
""")


async def add(tx: AsyncConnection, events: Iterable[events_pb2.Event]) -> None:
    """Writes events to be published after the commit."""
    rows = list(events)
    if not rows:
        return
    await tx.execute(
        _ADD,
        {
            "ids": [e.id for e in rows],
            "subjects": [f"skutrail.{e.type}" for e in rows],
            "keys": [f"{e.tenant_id}/{e.key}" for e in rows],
            "payloads": [e.SerializeToString() for e in rows],
        },
    )


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
        self._stopping = False

    def nudge(self) -> None:
        """Something was committed: look now instead of at the next poll."""
        self._nudge.set()

    def stop(self) -> None:
        self._stopping = True
        self._nudge.set()

    async def run(self) -> None:
        while not self._stopping:
            try:
                async with self._engine.connect() as connection:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                    await self._hold_lock_and_publish(connection)
            except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
                log.warning("relay.database_away", cause=type(error).__name__)
            await self._pause(RETRY_S)

    async def _hold_lock_and_publish(self, connection: AsyncConnection) -> None:
        lock = {"lock": _RELAY_LOCK}
        if not (await connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), lock)).scalar_one():
            return
        try:
            while not self._stopping:
                self._nudge.clear()
                published = await self._publish_batch(connection) if self._nats.is_up() else 0
                if published < BATCH_MAX:
                    await self._pause(POLL_S)
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(:lock)"), lock)

    async def _publish_batch(self, connection: AsyncConnection) -> int:
        rows = (await connection.execute(_TAKE, {"limit": BATCH_MAX})).all()
        if not rows:
            return 0
        lanes = [list(lane) for _, lane in groupby(sorted(rows, key=attrgetter("key", "id")), key=attrgetter("key"))]
        slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        published = await asyncio.gather(*(self._publish_lane(lane, slots) for lane in lanes))
        ids = [row_id for lane in published for row_id in lane]
        await connection.execute(_MARK, {"ids": ids})
        log.info("events.published", count=len(ids), of=len(rows))
        if len(ids) < len(rows):
            await self._pause(RETRY_S)
        return len(ids)

    async def _publish_lane(self, lane: Sequence[Any], slots: asyncio.Semaphore) -> list[int]:
        """Publishes the events of one key in order; the first that fails holds back those behind it."""
        done: list[int] = []
        for row in lane:
            async with slots:
                if not await self._publish(row):
                    break
            done.append(row.id)
        return done

    async def _publish(self, row: Any) -> bool:
        headers = {"Nats-Msg-Id": row.event_id}
        try:
            js = await self._nats.jetstream()
            await js.publish(row.subject, row.payload, timeout=PUBLISH_TIMEOUT_S, headers=headers)
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
            log.warning("event.not_published", event_id=row.event_id, subject=row.subject, cause=type(error).__name__)
            return False
        return True

    async def _pause(self, seconds: float) -> None:
        if self._stopping:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            return
