"""What the tests of the chassis share: waiting for a condition, events about nothing, a server, PostgreSQL's admin."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import psycopg

from chassis import rpc, wire
from chassis.ids import new_id
from skutrail.v1 import events_pb2, orders_pb2_grpc

Stub = Any  # grpcio-tools generates no types for the asynchronous stubs

TABLES = ("idempotency_key", "outbox", "inbox", "parked_event", "account")
POLL_S = 0.01
NOW = datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC)


async def until(condition: Callable[[], bool | Awaitable[bool]], within_s: float = 15) -> None:
    """Waits for what must become true; a TimeoutError shows the test where it did not."""
    async with asyncio.timeout(within_s):
        while True:
            met = condition()
            if await met if inspect.isawaitable(met) else met:
                return
            await asyncio.sleep(POLL_S)


def an_event(event_type: str, key: str = "k", event_id: str = "") -> events_pb2.Event:
    return events_pb2.Event(
        id=event_id or new_id("evt"),
        type=event_type,
        tenant_id="acc_1:test",
        key=key,
        occurred_at=wire.timestamp(NOW),
    )


async def is_true() -> bool:
    return True


@dataclass(frozen=True)
class Served:
    """A server on a free port of loopback, and a line to it."""

    server: rpc.Server
    channel: grpc.aio.Channel
    stub: Stub

    async def is_ready(self) -> bool:
        return await rpc.is_serving(self.channel)

    async def is_unready(self) -> bool:
        return not await self.is_ready()


@asynccontextmanager
async def serving(
    servicer: orders_pb2_grpc.OrdersServicer, ready: Callable[[], Awaitable[bool]] = is_true
) -> AsyncIterator[Served]:
    server = rpc.Server("127.0.0.1:0", ready=ready)
    try:
        await server.start(lambda grpc_server: orders_pb2_grpc.add_OrdersServicer_to_server(servicer, grpc_server), [])
        async with rpc.channel(f"127.0.0.1:{server.port}") as channel:
            yield Served(server, channel, orders_pb2_grpc.OrdersStub(channel))
    finally:
        await server.stop()


class Admin:
    """PostgreSQL's superuser, in the database under test: looks at sessions, ends them, shuts the door."""

    def __init__(self, connection: psycopg.AsyncConnection, database: str) -> None:
        self._connection = connection
        self._database = database

    async def count(self, query: str, *arguments: object) -> int:
        found = await (await self._connection.execute(query, arguments)).fetchone()
        assert found is not None
        return int(found[0])

    async def rows(self, query: str, *arguments: object) -> list[tuple[object, ...]]:
        return await (await self._connection.execute(query, arguments)).fetchall()

    async def execute(self, statement: str, *arguments: object) -> None:
        await self._connection.execute(statement, arguments or None)

    async def terminate(self, pid: int) -> None:
        await self._connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        await until(lambda: self._is_gone(pid))

    async def waits_for_a_lock(self, count: int = 1) -> bool:
        """True once so many sessions wait for a lock: rows, unique indexes, advisory locks."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
        return await self.count(query, self._database) >= count

    async def relay_pids(self) -> list[int]:
        """The sessions that hold the relay's lock: never more than one."""
        rows = await self.rows(
            "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND granted AND datname = %s",
            self._database,
        )
        return [int(str(pid)) for (pid,) in rows]

    async def shut(self) -> None:
        """The database is away: every session but ours ends, and none but a superuser's begins."""
        await self.execute(f"ALTER DATABASE {self._database} CONNECTION LIMIT 0")
        others = "datname = %s AND pid <> pg_backend_pid()"
        await self.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}", self._database)
        await until(lambda: self._is_empty(others))

    async def open(self) -> None:
        await self.execute(f"ALTER DATABASE {self._database} CONNECTION LIMIT -1")

    async def _is_gone(self, pid: int) -> bool:
        return await self.count("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid) == 0

    async def _is_empty(self, others: str) -> bool:
        return await self.count(f"SELECT count(*) FROM pg_stat_activity WHERE {others}", self._database) == 0
