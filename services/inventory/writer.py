"""Commits the movements of many calls together (chassis/group_commit.py).

A balance row can be committed only so many times a second, however little each commit carries; merging is what makes
one hot SKU fast. What wants a stock that is locked elsewhere waits for it apart.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from functools import partial

from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault
from chassis.group_commit import Committer, GroupCommit, Waiting, too_many
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from services.inventory import operations
from services.inventory.domain import StockKey
from services.inventory.operations import Outcome, Wish

BATCH_MAX = 256  # movements in a transaction
QUEUE_MAX = 4_000  # movements that wait; beyond it calls are refused at once
QUEUE_PER_TENANT_MAX = 2_000  # at least one call of the largest size
WAITING_MAX = 4  # transactions that wait for a locked stock, of the pool's ten


class Writer:
    name = "writer"

    def __init__(self, database: Database, clock: Clock, new_id: IdMaker) -> None:
        self._clock = clock
        self._new_id = new_id
        self._group = GroupCommit(
            Committer(database, partial(self._record, waits=False), put_off=self._set_aside),
            batch_max=BATCH_MAX,
            queue_max=QUEUE_MAX,
            queue_per_tenant_max=QUEUE_PER_TENANT_MAX,
        )
        # What wants a stock that another transaction has locked, and who waits for it.
        self._patient = Committer(database, partial(self._record, waits=True), waits_for_locks=True)
        self._aside: dict[StockKey, deque[Waiting[Wish, Outcome]]] = {}
        self._aside_of: Counter[str] = Counter()
        self._waiting: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(WAITING_MAX)

    async def record(self, wishes: Sequence[Wish]) -> list[Outcome]:
        """One outcome per wish, in order, each committed or refused. Where too many wait, or the database is away, that
        is a refusal `unavailable`."""
        told = await self._group.ask([(wish.movement.key.tenant_id, wish) for wish in wishes])
        return [Outcome(outcome) if isinstance(outcome, Fault) else outcome for outcome in told]

    def stop(self) -> None:
        self._group.stop()

    async def run(self) -> None:
        await self._group.run()
        if self._waiting:
            await asyncio.wait(self._waiting)

    async def _record(
        self, pipeline: Pipeline, wishes: Sequence[Wish], key_wait_ms: int, *, waits: bool
    ) -> Sequence[Outcome | None]:
        return await operations.record_all(
            pipeline, wishes, self._clock, self._new_id, waits=waits, key_wait_ms=key_wait_ms
        )

    def _set_aside(self, waiting: Waiting[Wish, Outcome]) -> None:
        """Its stock is locked: it waits for that in a transaction of its own, and its neighbours do not."""
        key = waiting.wish.movement.key
        if self._aside_of[key.tenant_id] >= QUEUE_PER_TENANT_MAX:
            waiting.tell(too_many())
            return
        self._aside_of[key.tenant_id] += 1
        if key in self._aside:
            self._aside[key].append(waiting)
            return
        self._aside[key] = deque([waiting])
        task = asyncio.create_task(self._write_patiently(key))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _write_patiently(self, key: StockKey) -> None:
        async with self._slots:
            while self._aside[key]:
                aside = self._aside[key]
                batch = [aside.popleft() for _ in range(min(BATCH_MAX, len(aside)))]
                self._aside_of[key.tenant_id] -= len(batch)
                await self._patient.write(batch)
            del self._aside[key]
