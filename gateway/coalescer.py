"""Joins what many requests ask of one RPC: one call carries the requests that arrived while the others were under way.

A call costs the same whether it carries one question or two hundred. A lone request goes at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

from chassis import rpc, trace
from chassis.errors import Fault, from_message, to_message
from chassis.fair_queue import FairQueue

Question = TypeVar("Question")
Answer = TypeVar("Answer")

BATCH_MAX = 256
# Under way at once: one, for what arrives meanwhile makes the next one larger, and each request cheaper. Where so many
# wait that they are worth a call of their own, two: we read requests and write answers while the service works.
CALLS_MAX = 2
MANY = 16
# A call that takes so long waits for something that its neighbours may not need: the next one does not wait for it.
SLOW_S = 0.15
SLOW_CALLS_MAX = 8
QUEUE_MAX = 4_000
QUEUE_PER_TENANT_MAX = 2_000
WAIT_MAX_S = 1.0  # in the queue; the rest of its deadline is for the call


class Coalescer(Generic[Question, Answer]):
    """`send` asks many at once, within so many seconds, and answers one for one. Raises Fault for all of them."""

    def __init__(
        self, send: Callable[[Sequence[Question], float], Awaitable[Sequence[Answer]]], batch_max: int = BATCH_MAX
    ) -> None:
        self._send = send
        self._batch_max = batch_max
        self._queue: FairQueue[_Asked[Question, Answer]] = FairQueue(items_max=QUEUE_MAX, lane_max=QUEUE_PER_TENANT_MAX)
        self._calls: set[asyncio.Task[None]] = set()
        self._slow_calls = 0

    async def ask(self, tenant_id: str, question: Question) -> Answer:
        """Raises Fault `unavailable` where too many wait, and what the call is refused with."""
        if not self._queue.has_room(tenant_id):
            raise Fault("unavailable", "Too many requests wait. Try again.", retry_after_s=1)
        asked: _Asked[Question, Answer] = _Asked(question, asyncio.get_running_loop().create_future(), time.monotonic())
        self._queue.put(tenant_id, asked)
        self._start_call()
        return await asked.answer

    def _start_call(self) -> None:
        if self._is_worth_a_call(beside=len(self._calls)):
            # In a context of its own: the call is that of many requests, and none of theirs.
            call = asyncio.create_task(self._call_while_asked(), context=Context())
            self._calls.add(call)
            call.add_done_callback(self._end_call)

    def _end_call(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._start_call()  # where all were slow, somebody may still wait

    def _is_worth_a_call(self, beside: int) -> bool:
        """Whether those that wait are, beside so many calls, of which the slow ones do not count."""
        quick = beside - min(self._slow_calls, SLOW_CALLS_MAX)
        return bool(self._queue) and quick < (CALLS_MAX if len(self._queue) >= MANY else 1)

    async def _call_while_asked(self) -> None:
        while self._is_worth_a_call(beside=len(self._calls) - 1):
            batch = self._queue.take(self._batch_max)
            in_time = [asked for asked in batch if not self._is_late(asked)]
            if in_time and not await self._call_patiently(in_time):
                return  # others have taken over

    async def _call_patiently(self, batch: Sequence[_Asked[Question, Answer]]) -> bool:
        """False for a call that was slow, and that the next one did not wait for."""
        was_slow = False

        def be_slow() -> None:
            nonlocal was_slow
            was_slow = True
            self._slow_calls += 1
            self._start_call()

        timer = asyncio.get_running_loop().call_later(SLOW_S, be_slow)
        try:
            await self._call(batch)
        finally:
            timer.cancel()
            self._slow_calls -= was_slow
        return not was_slow

    def _is_late(self, asked: _Asked[Question, Answer]) -> bool:
        """What has waited too long is told so: it was never sent, and nothing happened."""
        is_late = time.monotonic() - asked.at > WAIT_MAX_S
        if is_late:
            asked.fail(Fault("unavailable", "A service is slow. Try again.", retry_after_s=1))
        return is_late

    async def _call(self, batch: Sequence[_Asked[Question, Answer]]) -> None:
        left_s = rpc.DEADLINE_DEFAULT_S - (time.monotonic() - min(asked.at for asked in batch))
        try:
            with trace.follow("", ""):
                answers = await self._send([asked.question for asked in batch], left_s)
            if len(answers) != len(batch):
                raise AssertionError(f"{len(answers)} answers to {len(batch)} questions")
        except BaseException as error:
            for asked in batch:
                asked.fail(error)
            if not isinstance(error, Exception):
                raise
            return
        for asked, answer in zip(batch, answers, strict=True):
            if not asked.answer.done():  # who asked may have gone
                asked.answer.set_result(answer)


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Question, Answer]):
    question: Question
    answer: asyncio.Future[Answer]
    at: float

    def fail(self, error: BaseException) -> None:
        if self.answer.done():
            return
        # One of its own for each: a traceback grows with every task that an exception passes.
        own = (
            from_message(to_message(error)) if isinstance(error, Fault) else RuntimeError(f"the call broke: {error!r}")
        )
        self.answer.set_exception(own)
