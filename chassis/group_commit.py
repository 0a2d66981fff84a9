"""Commits what many calls want together: one transaction carries what arrived while the last one was under way.

What is wanted, and what one transaction makes of many wishes, is the service's to say. A lone call goes at once: nobody
waits for company. What is refused is a value and disturbs nobody. A transaction that fails is halved until what broke
it stands alone. What its caller has given up is done all the same, under its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from chassis.database import Database
from chassis.errors import Fault
from chassis.fair_queue import FairQueue
from chassis.idempotency import KEY_WAIT_AGAIN_MS, KEY_WAIT_MS
from chassis.logs import log
from chassis.pipeline import Pipeline

Wish = TypeVar("Wish")
Outcome = TypeVar("Outcome")

Commit = Callable[[Pipeline, Sequence[Wish], int], Awaitable[Sequence[Outcome | Fault | None]]]
"""One outcome per wish, in order; None puts a wish off: nothing was decided of it. The number is for how many
milliseconds it may wait for a key that another transaction has not committed yet."""


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Wish, Outcome]):
    """A wish, and how its caller is told what came of it."""

    wish: Wish
    tell: Callable[[Outcome | Fault], None]


class Committer(Generic[Wish, Outcome]):
    """Commits batches, each in a transaction, and tells every caller its own."""

    def __init__(
        self,
        database: Database,
        commit: Commit[Wish, Outcome],
        *,
        put_off: Callable[[Waiting[Wish, Outcome]], None] | None = None,
        waits_for_locks: bool = False,
    ) -> None:
        self._database = database
        self._commit = commit
        self._put_off = put_off
        self._waits_for_locks = waits_for_locks

    async def write(self, batch: Sequence[Waiting[Wish, Outcome]], key_wait_ms: int = KEY_WAIT_MS) -> None:
        """Every caller has been told when it returns, but for those that were put off."""
        wishes = [waiting.wish for waiting in batch]
        try:
            outcomes = await self._database.run_pipelined(lambda p: self._commit(p, wishes, key_wait_ms))
        except Exception as error:  # noqa: BLE001 - told to the callers, or split among them; the writer goes on
            await self._take_apart(batch, error)
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if outcome is not None:
                waiting.tell(outcome)
            else:
                assert self._put_off is not None
                self._put_off(waiting)

    async def _take_apart(self, batch: Sequence[Waiting[Wish, Outcome]], error: Exception) -> None:
        """One key that still runs elsewhere, or one defect, must not fail its neighbours."""
        is_trouble = isinstance(error, Fault) and error.code == "unavailable"
        # Each half would wait for the same again, and those that come after it for both.
        is_hopeless = is_trouble and (self._waits_for_locks or not await self._database.is_up())
        if len(batch) == 1 or is_hopeless:
            refusal = _refusal(error)
            for waiting in batch:
                waiting.tell(refusal)
            return
        log.warning("batch.taken_apart", count=len(batch), cause=str(error)[:200])
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            await self.write(half, KEY_WAIT_AGAIN_MS)


class GroupCommit(Generic[Wish, Outcome]):
    """A bounded queue before a committer, with turns over the tenants."""

    def __init__(
        self, committer: Committer[Wish, Outcome], *, batch_max: int, queue_max: int, queue_per_tenant_max: int
    ) -> None:
        self._committer = committer
        self._batch_max = batch_max
        self._queue: FairQueue[Waiting[Wish, Outcome]] = FairQueue(items_max=queue_max, lane_max=queue_per_tenant_max)
        self._arrived = asyncio.Event()
        self._stopping = False

    async def ask(self, wishes: Sequence[tuple[str, Wish]]) -> list[Outcome | Fault]:
        """One outcome per (tenant id, wish), in order, each committed or refused. Where too many wait, or the database
        is away, that is a refusal `unavailable`."""
        if not wishes:
            return []
        call: _Call[Outcome] = _Call(len(wishes))
        for index, (tenant_id, wish) in enumerate(wishes):
            if self._queue.has_room(tenant_id):
                self._queue.put(tenant_id, Waiting(wish, partial(call.tell, index)))
            else:
                call.tell(index, too_many())
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
                await self._committer.write(self._queue.take(self._batch_max))
            else:
                await self._arrived.wait()


def too_many() -> Fault:
    return Fault("unavailable", "Too many writes wait for their turn. Try again.", retry_after_s=1)


class _Call(Generic[Outcome]):
    """A caller that waits for all its outcomes."""

    def __init__(self, size: int) -> None:
        self.outcomes: asyncio.Future[list[Outcome | Fault]] = asyncio.get_running_loop().create_future()
        self._told: dict[int, Outcome | Fault] = {}
        self._size = size

    def tell(self, index: int, outcome: Outcome | Fault) -> None:
        self._told[index] = outcome
        if len(self._told) == self._size and not self.outcomes.done():  # its caller may have gone
            self.outcomes.set_result([self._told[index] for index in range(self._size)])


def _refusal(error: Exception) -> Fault:
    if isinstance(error, Fault):
        return error
    log.error("write.failed", exc_info=error)
    return Fault("internal_error", "Something went wrong on our side.")
