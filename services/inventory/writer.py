"""Commits the movements of many calls together: one transaction carries what arrived while the last one was under way.

A balance row can be committed only so many times a second, however little each commit carries; merging is what makes
one hot SKU fast. A lone call goes at once. What is refused is a value and disturbs nobody. What wants a stock that is
locked elsewhere waits for it apart. A transaction that fails is halved until what broke it stands alone. What its
caller has given up is recorded all the same, under its key.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault
from chassis.fair_queue import FairQueue
from chassis.idempotency import KEY_WAIT_AGAIN_MS, KEY_WAIT_MS
from chassis.ids import IdMaker
from chassis.logs import log
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
        self._database = database
        self._clock = clock
        self._new_id = new_id
        self._queue: FairQueue[_Wanted] = FairQueue(items_max=QUEUE_MAX, lane_max=QUEUE_PER_TENANT_MAX)
        self._arrived = asyncio.Event()
        self._stopping = False
        # What wants a stock that another transaction has locked, and who waits for it.
        self._aside: dict[StockKey, deque[_Wanted]] = {}
        self._aside_of: Counter[str] = Counter()
        self._waiting: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(WAITING_MAX)

    async def record(self, wishes: Sequence[Wish]) -> list[Outcome]:
        """One outcome per wish, in order, each committed or refused. Where too many wait, or the database is away, that
        is a refusal `unavailable`."""
        call = _Call(len(wishes))
        for index, wish in enumerate(wishes):
            tenant_id = wish.movement.key.tenant_id
            if self._queue.has_room(tenant_id) and self._aside_of[tenant_id] < QUEUE_PER_TENANT_MAX:
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
        if self._waiting:
            await asyncio.wait(self._waiting)

    async def _write(self, batch: Sequence[_Wanted], *, waits: bool = False, key_wait_ms: int = KEY_WAIT_MS) -> None:
        try:
            outcomes = await self._database.run_pipelined(
                lambda pipeline: operations.record_all(
                    pipeline,
                    [wanted.wish for wanted in batch],
                    self._clock,
                    self._new_id,
                    waits=waits,
                    key_wait_ms=key_wait_ms,
                )
            )
        except Exception as error:  # noqa: BLE001 - told to the callers, or split among them; the writer goes on
            await self._take_apart(batch, error, waits=waits)
            return
        for wanted, outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                self._set_aside(wanted)
            else:
                wanted.call.tell(wanted.index, outcome)

    async def _take_apart(self, batch: Sequence[_Wanted], error: Exception, *, waits: bool) -> None:
        """One key that still runs elsewhere, or one defect, must not fail its neighbours."""
        is_trouble = isinstance(error, Fault) and error.code == "unavailable"
        # Each half would wait for the same again, and those that come after it for both.
        is_hopeless = is_trouble and (waits or not await self._database.is_up())
        if len(batch) == 1 or is_hopeless:
            for wanted in batch:
                wanted.call.tell(wanted.index, Outcome(_refusal(error)))
            return
        log.warning("batch.taken_apart", movements=len(batch), cause=str(error)[:200])
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            await self._write(half, waits=waits, key_wait_ms=KEY_WAIT_AGAIN_MS)

    def _set_aside(self, wanted: _Wanted) -> None:
        """Its stock is locked: it waits for that in a transaction of its own, and its neighbours do not."""
        key = wanted.wish.movement.key
        self._aside_of[key.tenant_id] += 1
        if key in self._aside:
            self._aside[key].append(wanted)
            return
        self._aside[key] = deque([wanted])
        waiting = asyncio.create_task(self._write_patiently(key))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def _write_patiently(self, key: StockKey) -> None:
        async with self._slots:
            while self._aside[key]:
                waiting = self._aside[key]
                batch = [waiting.popleft() for _ in range(min(BATCH_MAX, len(waiting)))]
                self._aside_of[key.tenant_id] -= len(batch)
                await self._write(batch, waits=True)
            del self._aside[key]


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
