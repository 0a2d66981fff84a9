"""Commits the movements of many calls together: one transaction carries what arrived while the last one was under way.

A balance row can be committed only so many times a second, however little each commit carries; merging is what makes
one hot SKU fast. A lone call goes at once. What is refused is a value and disturbs nobody; a transaction that fails is
halved until what broke it stands alone. What its caller has given up is recorded all the same, under its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault
from chassis.fair_queue import FairQueue
from chassis.idempotency import KEY_WAIT_AGAIN_MS, KEY_WAIT_MS
from chassis.ids import IdMaker
from chassis.logs import log
from chassis.pipeline import Pipeline
from services.inventory import operations
from services.inventory.operations import Outcome, Wish

BATCH_MAX = 256  # movements in a transaction
QUEUE_MAX = 4_000  # movements that wait; beyond it calls are refused at once
QUEUE_PER_TENANT_MAX = 2_000  # at least one call of the largest size


class Writer:
    name = "writer"

    def __init__(self, database: Database, clock: Clock, new_id: IdMaker) -> None:
        self._database = database
        self._clock = clock
        self._new_id = new_id
        self._queue: FairQueue[_Wanted] = FairQueue(items_max=QUEUE_MAX, lane_max=QUEUE_PER_TENANT_MAX)
        self._arrived = asyncio.Event()
        self._stopping = False

    async def record(self, wishes: Sequence[Wish]) -> list[Outcome]:
        """One outcome per wish, in order, each committed or refused. Where too many wait, or the database is away, that
        is a refusal `unavailable`."""
        call = _Call(len(wishes))
        for index, wish in enumerate(wishes):
            tenant_id = wish.movement.key.tenant_id
            if self._queue.has_room(tenant_id):
                self._queue.put(tenant_id, _Wanted(wish, call, index))
            else:
                call.tell(index, Outcome(_FULL))
        self._arrived.set()
        return await call.outcomes

    def stop(self) -> None:
        """Called when no new call can come; what waits is still written."""
        self._stopping = True
        self._arrived.set()

    async def run(self) -> None:
        while self._queue or not self._stopping:
            self._arrived.clear()
            if self._queue:
                await self._write(self._queue.take(BATCH_MAX))
            else:
                await self._arrived.wait()

    async def _write(self, batch: Sequence[_Wanted], key_wait_ms: int = KEY_WAIT_MS) -> None:
        try:
            outcomes = await self._database.run_pipelined(lambda pipeline: self._record(pipeline, batch, key_wait_ms))
        except Exception as error:  # noqa: BLE001 - told to the callers, or split among them; the writer goes on
            await self._take_apart(batch, error)
            return
        for wanted, outcome in zip(batch, outcomes, strict=True):
            wanted.call.tell(wanted.index, outcome)

    async def _record(self, pipeline: Pipeline, batch: Sequence[_Wanted], key_wait_ms: int) -> list[Outcome]:
        wishes = [wanted.wish for wanted in batch]
        return await operations.record_movements(pipeline, wishes, self._clock, self._new_id, key_wait_ms=key_wait_ms)

    async def _take_apart(self, batch: Sequence[_Wanted], error: Exception) -> None:
        """One key that still runs elsewhere, or one defect, must not fail its neighbours."""
        # Each half would wait out the same absence of the database, and those that come after it for both.
        is_away = isinstance(error, Fault) and error.code == "unavailable" and not await self._database.is_up()
        if len(batch) == 1 or is_away:
            for wanted in batch:
                wanted.call.tell(wanted.index, Outcome(_refusal(error)))
            return
        log.warning("batch.taken_apart", movements=len(batch), cause=str(error)[:200])
        await self._write(batch[: len(batch) // 2], KEY_WAIT_AGAIN_MS)
        await self._write(batch[len(batch) // 2 :], KEY_WAIT_AGAIN_MS)


class _Call:
    """A caller that waits for all its outcomes."""

    def __init__(self, size: int) -> None:
        self.outcomes: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._told: dict[int, Outcome] = {}
        self._size = size

    def tell(self, index: int, outcome: Outcome) -> None:
        self._told[index] = outcome
        if len(self._told) == self._size and not self.outcomes.done():  # its caller may have gone
            self.outcomes.set_result([self._told[index] for index in range(self._size)])


@dataclass(frozen=True, slots=True)
class _Wanted:
    wish: Wish
    call: _Call
    index: int


_FULL = Fault("unavailable", "Too many movements wait to be recorded. Try again.", retry_after_s=1)


def _refusal(error: Exception) -> Fault:
    if isinstance(error, Fault):
        return error
    log.error("movement.failed", exc_info=error)
    return Fault("internal_error", "Something went wrong on our side.")
