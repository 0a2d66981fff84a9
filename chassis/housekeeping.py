"""Forgets what has served its time: expired idempotency keys, published events, old inbox claims."""

from __future__ import annotations

import asyncio

from chassis import idempotency, inbox, outbox
from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault
from chassis.logs import log

INTERVAL_S = 60.0
BATCH_MAX = 5_000  # rows per statement: a purge must not hold locks for long


class Housekeeper:
    name = "housekeeper"

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.purge()
            except Fault as fault:
                log.warning("housekeeping.postponed", cause=fault.code)
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def purge(self) -> int:
        """Deletes one batch per table; returns how many rows went."""
        now = self._clock()

        async def delete(tx):  # type: ignore[no-untyped-def]
            done = [
                await tx.execute(idempotency.PURGE, {"now": now, "limit": BATCH_MAX}),
                await tx.execute(outbox.PURGE, {"now": now, "retention": outbox.RETENTION, "limit": BATCH_MAX}),
                await tx.execute(inbox.PURGE, {"now": now, "retention": inbox.RETENTION, "limit": BATCH_MAX}),
            ]
            return sum(result.rowcount for result in done)

        count = int(await self._database.run(delete))
        if count:
            log.info("housekeeping.purged", count=count)
        return count
