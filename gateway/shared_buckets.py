"""One bucket per caller over all gateways: rate_store.py asked per request, within limits of time of its own.

A store that is away, or slow, holds up nobody: each gateway then counts for itself, and once a second looks whether the
store is back. Its own buckets are what it last knew of the shared ones, so it goes on from there.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType

import psycopg

from chassis.logs import log
from gateway import rate_store
from gateway.limits import Buckets, Budget, Limit, budget_of
from gateway.metrics import Metrics

CONNECTIONS = 4  # per gateway; deploy/k8s adds them up
LINE_S = 0.1  # for one of them to be free
ANSWER_S = 0.2
TURN_S = 0.02
RETRY_S = 1.0
SWEEP_EVERY = 5  # of those seconds
SWEEP_S = 1.0  # for one: nobody waits for it
SWEEPS_MAX = 100  # in a row: more buckets than gateways can fill meanwhile


class SharedBuckets:
    """`local` is this gateway's own, and mirrors what the store told. Use as an async context manager."""

    def __init__(self, url: str, local: Buckets, metrics: Metrics, *, answer_s: float = ANSWER_S) -> None:
        self._url = url
        self._local = local
        self._metrics = metrics
        self._answer_s = answer_s
        self._lines: _Lines | None = None
        self._is_told = False  # that the store is away
        self._upkeep: asyncio.Task[None] | None = None

    @property
    def is_shared(self) -> bool:
        """False while the store is away."""
        return self._lines is not None

    async def take(self, caller: str, limit: Limit, now_ns: int) -> Budget:
        """As `Buckets.take`. Never raises for the store's sake, and takes LINE_S + ANSWER_S at the most."""
        mirrored = self._local.look(caller, limit, now_ns)
        if mirrored.is_spent:  # nor can the store have more: a flood of refusals stays here
            return mirrored
        missing_ns = None if self._lines is None else await self._ask(self._lines, caller, limit)
        if missing_ns is None:
            self._metrics.count_unshared()
            return self._local.take(caller, limit, now_ns)
        self._local.learn(caller, _full_at_ns(limit, missing_ns, now_ns))
        return budget_of(limit, missing_ns)

    async def _ask(self, lines: _Lines, caller: str, limit: Limit) -> int | None:
        """None when the store does not answer."""
        try:
            async with lines.lend(self._answer_s) as connection:
                return await rate_store.take(connection, caller, limit)
        except TimeoutError:  # more checks at once than connections: that store is not away
            return None
        except psycopg.Error as error:
            await self._lose(lines, error)
            return None

    async def _lose(self, lines: _Lines, error: psycopg.Error) -> None:
        if self._lines is lines:
            self._lines = None
            self._tell_away(error)
        await lines.close()

    def _tell_away(self, error: Exception) -> None:
        if not self._is_told:
            self._is_told = True
            # Never the text of the error: it may quote the URL.
            log.warning("rate_limits.away", cause=getattr(error, "sqlstate", None) or type(error).__name__)

    async def _open(self) -> None:
        try:
            lines = await _Lines.open(self._url)
        except (psycopg.Error, OSError) as error:
            self._tell_away(error)
            return
        self._lines = lines
        self._is_told = False
        log.info("rate_limits.shared")

    async def _sweep(self, lines: _Lines) -> None:
        try:
            for _ in range(SWEEPS_MAX):
                if await lines.sweep() < rate_store.SWEEP_MAX:
                    return
        except TimeoutError:  # all are busy: next time
            return
        except psycopg.Error as error:
            await self._lose(lines, error)

    async def _keep_up(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(RETRY_S)
            turn += 1
            if self._lines is None:
                await self._open()
            elif turn % SWEEP_EVERY == 0:
                await self._sweep(self._lines)

    async def __aenter__(self) -> SharedBuckets:
        """Returns with or without the store, within rate_store.CONNECT_S."""
        await self._open()
        self._upkeep = asyncio.create_task(self._keep_up(), name="rate limits")
        self._upkeep.add_done_callback(_tell_ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._upkeep is not None
        self._upkeep.cancel()
        await asyncio.wait([self._upkeep])
        if self._lines is not None:
            await self._lines.close()


def _full_at_ns(limit: Limit, missing_ns: int, now_ns: int) -> int:
    """By this gateway's clock, not later than it is: `now_ns` is from before the store was asked."""
    is_refused = missing_ns > limit.full_ns
    return now_ns + missing_ns - (limit.token_ns if is_refused else 0)


def _tell_ended(upkeep: asyncio.Task[None]) -> None:
    if not upkeep.cancelled():
        log.error("rate_limits.upkeep_ended", exc_info=upkeep.exception())


class _Lines:
    """The connections to a store that answers. After the first failure all of them are given up together."""

    def __init__(self) -> None:
        self._idle: list[rate_store.Connection] = []
        self._turns = asyncio.Semaphore(CONNECTIONS)  # in the order of asking: who just came must not pass who waits
        self._is_closed = False

    @classmethod
    async def open(cls, url: str) -> _Lines:
        """Raises psycopg.Error, OSError."""
        lines = cls()
        try:
            for _ in range(CONNECTIONS):
                lines._idle.append(await rate_store.connect(url))
            await lines.sweep()  # whoever takes connections need not have the table, or answer
        except BaseException:
            await lines.close()
            raise
        return lines

    async def sweep(self) -> int:
        """How many buckets are forgotten. Raises TimeoutError, psycopg.Error."""
        async with self.lend(SWEEP_S) as connection:
            return await rate_store.sweep(connection)

    @asynccontextmanager
    async def lend(self, answer_s: float) -> AsyncIterator[rate_store.Connection]:
        """A query inside fails when it takes longer than `answer_s`.

        Raises TimeoutError when no connection gets free, or all were given up meanwhile.
        """
        async with asyncio.timeout(LINE_S):
            await self._turns.acquire()
        try:
            if self._is_closed:
                raise TimeoutError
            connection = self._idle.pop()
            try:
                with _hung_up_after(connection, answer_s):
                    yield connection
            finally:
                await self._return(connection)
        finally:
            self._turns.release()

    async def _return(self, connection: rate_store.Connection) -> None:
        if self._is_closed:
            await connection.close()
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        self._is_closed = True
        while self._idle:
            await self._idle.pop().close()


@contextmanager
def _hung_up_after(connection: rate_store.Connection, seconds: float) -> Iterator[None]:
    """Cancelling a query means asking the very server that does not answer: its connection is cut instead."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def cut_unless_answered() -> None:
        # Where this process itself stood still, the answer may lie here unread: one more turn of the loop for it.
        timers.append(loop.call_later(TURN_S, _hang_up, connection))

    timers.append(loop.call_later(seconds, cut_unless_answered))
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def _hang_up(connection: rate_store.Connection) -> None:
    gone_already = (OSError, psycopg.OperationalError)
    with suppress(*gone_already), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
