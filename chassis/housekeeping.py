"""Forgets what has served its time: expired idempotency keys, published events, old inbox claims."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import idempotency, inbox, outbox
from chassis.clock import Clock, pause
from chassis.database import Database
from chassis.errors import Fault
from chassis.logs import log


class Purge(Protocol):
    """Deletes at most `limit` rows that `now` makes too old; returns how many went."""

    async def __call__(self, tx: AsyncConnection, now: datetime, limit: int) -> int: ...


INTERVAL_S = 60.0
BATCH_MAX = 5_000  # rows per statement: a purge must not hold locks for long


class Housekeeper:
    name = "housekeeper"

    def __init__(self, database: Database, clock: Clock, also: Sequence[Purge] = (), *, events_kept: timedelta) -> None:
        """`also` purges what the service itself keeps; `events_kept` counts from their publication."""
        self._database = database
        self._clock = clock
        published = partial(outbox.purge, kept=events_kept)
        self._purges: Sequence[Purge] = (idempotency.purge, published, inbox.purge, *also)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                count = await self.purge()
            except Fault as fault:
                log.warning("housekeeping.postponed", cause=fault.code)
                count = 0
            # A whole batch may have left more behind: a busy day writes faster than a batch a minute.
            if count < BATCH_MAX:
                await pause(INTERVAL_S, unless=self._stopping)

    async def purge(self) -> int:
        """Deletes one batch per kind, each in a transaction of its own; returns how many rows went."""
        now, count = self._clock(), 0
        for purge in self._purges:
            count += await self._database.run(partial(purge, now=now, limit=BATCH_MAX))
        if count:
            log.info("housekeeping.purged", count=count)
        return count
