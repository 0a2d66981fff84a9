"""Commits the movements of many calls together: one transaction carries what arrived while the last one was under way.

A balance row can be committed only so many times a second, however little each commit carries; merging is what makes
one hot SKU fast. A lone call goes at once. What is refused is a value and disturbs nobody; where the whole transaction
fails, every call is tried by itself. A call that its caller has given up is recorded all the same, under its key.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault
from chassis.ids import IdMaker
from chassis.logs import log
from services.inventory import operations
from services.inventory.operations import Outcome, Wish

BATCH_MAX = 256  # movements in a transaction, but for a single call that brings more
QUEUE_MAX = 4_000  # movements that wait; beyond it calls are refused at once


@dataclass(frozen=True)
class _Call:
    wishes: Sequence[Wish]
    told: asyncio.Future[list[Outcome]]


class Writer:
    name = "writer"

    def __init__(self, database: Database, clock: Clock, new_id: IdMaker) -> None:
        self._database = database
        self._clock = clock
        self._new_id = new_id
        self._queue: deque[_Call] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._stopping = False

    async def record(self, wishes: Sequence[Wish]) -> list[Outcome]:
        """One outcome per wish, committed. Raises Fault `unavailable` where too many wait, or the database is away."""
        if self._waiting + len(wishes) > QUEUE_MAX:
            raise Fault("unavailable", "Too many movements wait to be recorded. Try again.", retry_after_s=1)
        call = _Call(wishes, asyncio.get_running_loop().create_future())
        self._queue.append(call)
        self._waiting += len(wishes)
        self._arrived.set()
        return await call.told

    def stop(self) -> None:
        """Called when no new call can come; what waits is still written."""
        self._stopping = True
        self._arrived.set()

    async def run(self) -> None:
        while self._queue or not self._stopping:
            self._arrived.clear()
            if not self._queue:
                await self._arrived.wait()
                continue
            await self._write(self._next_batch())

    def _next_batch(self) -> list[_Call]:
        batch = [self._queue.popleft()]
        count = len(batch[0].wishes)
        while self._queue and count + len(self._queue[0].wishes) <= BATCH_MAX:
            batch.append(self._queue.popleft())
            count += len(batch[-1].wishes)
        self._waiting -= count
        return batch

    async def _write(self, batch: Sequence[_Call]) -> None:
        wishes = [wish for call in batch for wish in call.wishes]
        try:
            outcomes = await self._database.run(
                lambda tx: operations.record_movements(tx, wishes, self._clock, self._new_id)
            )
        except Exception as error:  # noqa: BLE001 - told to the callers, or split among them; the writer goes on
            await self._take_apart(batch, error)
            return
        for call in batch:
            _tell(call, outcomes[: len(call.wishes)])
            outcomes = outcomes[len(call.wishes) :]

    async def _take_apart(self, batch: Sequence[_Call], error: Exception) -> None:
        """One key that still runs elsewhere, or one defect, must not fail its neighbours: each goes by itself."""
        if isinstance(error, Fault) and error.code == "unavailable" and not await self._database.is_up():
            # Each alone would wait out the same absence, and those that come after it for all of them.
            for call in batch:
                _fail(call, error)
            return
        if len(batch) > 1:
            log.warning("batch.taken_apart", calls=len(batch), cause=str(error)[:200])
            for call in batch:
                await self._write([call])
            return
        call = batch[0]
        if not (isinstance(error, Fault) and error.code == "idempotency_key_in_use"):
            _fail(call, error)
        elif len(call.wishes) == 1:
            _tell(call, [Outcome(error)])
        else:
            alone = [_Call([wish], asyncio.get_running_loop().create_future()) for wish in call.wishes]
            for one in alone:
                await self._write([one])
            told = await asyncio.gather(*(one.told for one in alone), return_exceptions=True)
            _tell(call, [_outcome(outcome) for outcome in told])


def _outcome(told: list[Outcome] | BaseException) -> Outcome:
    if isinstance(told, list):
        return told[0]
    return Outcome(told if isinstance(told, Fault) else Fault("internal_error", "Something went wrong on our side."))


def _fail(call: _Call, error: Exception) -> None:
    if not call.told.done():
        call.told.set_exception(error)


def _tell(call: _Call, outcomes: list[Outcome]) -> None:
    if not call.told.done():  # its caller may have gone
        call.told.set_result(outcomes)
