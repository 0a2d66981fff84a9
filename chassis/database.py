"""PostgreSQL: the engine, and the unit of work every door runs its operation in.

An operation receives the transaction and never commits. It may run more than once: a deadlock, a serialization
failure or a lost connection makes the whole operation start again. Every write runs under an idempotency key or an
inbox claim, so a repetition after a commit whose answer was lost finds its own effect and changes nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import psycopg
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chassis.errors import Fault
from chassis.logs import log
from chassis.pipeline import Pipeline

T = TypeVar("T")

POOL_SIZE = 10  # per process; deploy/k8s adds them up against max_connections
POOL_TIMEOUT_S = 1.5
ATTEMPTS_MAX = 5
_SERIALIZATION_FAILURE, _DEADLOCK, _LOCK_TIMEOUT = "40001", "40P01", "55P03"
_STATEMENT_TIMEOUT, _READ_ONLY = "57014", "25006"
_PRIMARY_KEY = "_pkey"

_Error = sqlalchemy.exc.DBAPIError | psycopg.Error

_SESSION = {
    # Longer than the server's deadlock_timeout (1 s): at the same length a deadlock ends as a mere lock timeout.
    "lock_timeout": "1500ms",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    # Of everything together: statements that each end in time can still hold their locks for long.
    "transaction_timeout": "15s",
    # The server's own look at a silent client, by default after two hours: so long would a machine that vanished
    # keep its locks, the relay's among them.
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
}


def create_engine(url: str, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """An engine on `postgresql://...`, every wait bounded: pool, connect, lock, statement, idle transaction."""
    return create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # an error that is logged must not carry callers' data
        pool_timeout=POOL_TIMEOUT_S,
        pool_recycle=900,
        connect_args={
            "connect_timeout": 2,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
        },
    )


class Database:
    """A service's own database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @property
    def engine(self) -> AsyncEngine:
        return self._engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction (READ COMMITTED), once. Prefer `run`, which repeats what may be repeated."""
        async with self._engine.begin() as tx:
            yield tx

    async def run(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Runs the operation in a transaction and commits it; repeats it where the database asks for that.

        Raises Fault `unavailable` when the database is away or too busy to answer in time.
        """

        async def once() -> T:
            async with self.transaction() as tx:
                return await operation(tx)

        return await self._repeated(once)

    async def run_pipelined(self, operation: Callable[[Pipeline], Awaitable[T]]) -> T:
        """The same for an operation on a Pipeline: what it told is sent with the commit."""

        async def once() -> T:
            async with self.transaction() as tx:
                pipeline = await Pipeline.on(tx)
                result = await operation(pipeline)
                await pipeline.commit()
                return result

        return await self._repeated(once)

    async def _repeated(self, once: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return await once()
            except sqlalchemy.exc.TimeoutError as error:
                raise _unavailable("pool exhausted") from error
            except (sqlalchemy.exc.DBAPIError, psycopg.Error) as error:
                if isinstance(error, psycopg.Error) and _is_disconnect(error):
                    await self._engine.dispose()  # of its own errors the pool knows that all its connections are stale
                if _waited_for_key(error):
                    raise Fault(
                        "idempotency_key_in_use", "The first request with this key still runs.", retry_after_s=1
                    ) from error
                if attempt == ATTEMPTS_MAX or not _may_repeat(error, attempt):
                    if _is_trouble(error):
                        raise _unavailable(_sqlstate(error) or "connection lost") from error
                    raise
                log.info("transaction.repeated", attempt=attempt, cause=type(_origin(error)).__name__)
                await asyncio.sleep(random.uniform(0.2, 1) * 0.01 * 2**attempt)  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def is_up(self) -> bool:
        """True when a transaction can begin now: what readiness asks."""
        try:
            async with asyncio.timeout(2), self._engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except (sqlalchemy.exc.SQLAlchemyError, TimeoutError, OSError):
            return False
        return True


def _origin(error: _Error) -> BaseException | None:
    return error if isinstance(error, psycopg.Error) else error.orig


def _sqlstate(error: _Error) -> str | None:
    origin = _origin(error)
    return origin.sqlstate if isinstance(origin, psycopg.Error) else None


def _is_disconnect(error: _Error) -> bool:
    was_noticed = isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated
    return was_noticed or (isinstance(_origin(error), psycopg.OperationalError) and not _sqlstate(error))


def _waited_for_key(error: _Error) -> bool:
    origin = _origin(error)
    # PostgreSQL tells by the context alone what the lock was: in whatever language, with the name of table or index.
    return isinstance(origin, psycopg.errors.LockNotAvailable) and "idempotency_key" in (origin.diag.context or "")


def _may_repeat(error: _Error, attempt: int) -> bool:
    if _sqlstate(error) in (_SERIALIZATION_FAILURE, _DEADLOCK):
        return True
    origin = _origin(error)
    if isinstance(origin, psycopg.errors.UniqueViolation):
        # Another transaction committed the key or the row first: the repetition finds it.
        return (origin.diag.constraint_name or "").endswith(_PRIMARY_KEY)
    # A lost connection usually means the whole pool is stale: one fresh attempt tells whether the server is back.
    return _is_disconnect(error) and attempt == 1


def _is_trouble(error: _Error) -> bool:
    """True for what time heals. Anything else is a defect of ours, such as a broken constraint."""
    state = _sqlstate(error) or ""
    # 53: too many connections, disk full; 57P: the server starts or stops.
    return (
        _is_disconnect(error)
        or state[:2] == "53"
        or state[:3] == "57P"
        or state in (_LOCK_TIMEOUT, _STATEMENT_TIMEOUT, _SERIALIZATION_FAILURE, _DEADLOCK, _READ_ONLY)
    )


def _unavailable(cause: str) -> Fault:
    log.warning("database.unavailable", cause=cause)
    return Fault("unavailable", "The database is away or busy. Try again.", retry_after_s=1)
