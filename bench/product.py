"""Skutrail itself, whole, in a temporary home: started from the table that `make run` starts from, with one exception.

PostgreSQL takes 400 connections in place of 200, because pgbench brings 256 of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import nats
import psycopg
from nats.aio.client import Client

from bench.check import Connection
from cli.local import postgres
from cli.local.children import Child
from cli.local.home import keep_secrets, open_home
from cli.local.processes import CARRIERS, POSTGRES, PROCESSES, SERVICES, STORES
from cli.local.stack import Stack, choose_ports
from cli.local.system import System
from gateway import keys

ACCOUNT = "bench"
MODE: keys.Mode = "test"
TENANT = f"{ACCOUNT}/{MODE}"
CHOSEN = {"SKUTRAIL_RATE_LIMIT": "off", "SKUTRAIL_LOG_EVERY": "100"}
MAX_CONNECTIONS = 400
SETTLE_POLL_S = 0.05

_IS_UNPUBLISHED = "SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL)"


class NotSettled(Exception):
    """Events still wait, long after the load has ended."""


@dataclass(frozen=True)
class Product:
    system: System
    api_keys: Path
    """A file with one key a line."""
    outboxes: Sequence[Connection]
    """A connection to the database of each service, and one to NATS: opened once, for looking must not cost."""
    nats: Client

    @property
    def stack(self) -> Stack:
        return self.system.stack

    @property
    def folder(self) -> Path:
        return self.stack.home.root

    def database_url(self, name: str) -> str:
        """As superuser."""
        return _as_superuser(self.stack, name)

    def pids(self, names: Sequence[str] | None = None) -> Mapping[str, int]:
        """Of all processes, or of those named."""
        chosen = self.system.children if names is None else names
        running = {name: self.system.children[name].running for name in chosen}
        return {name: child.pid for name, child in running.items() if child is not None}

    def own_pids(self) -> Mapping[str, int]:
        """Of what is Skutrail: neither PostgreSQL nor NATS, nor the carrier that stands for those out there."""
        return self.pids([process.name for process in PROCESSES if process not in (*STORES, *CARRIERS)])

    async def create_api_keys(self, count: int) -> Path:
        """A file with a key each of `count` accounts."""
        url = self.stack.databases["gateway"].application
        created = [await keys.create_key(url, account=f"{ACCOUNT}-{n}", mode=MODE) for n in range(count)]
        file = self.folder / f"api-keys-{count}"
        file.write_text("".join(f"{one.secret}\n" for one in created))
        return file

    async def settle(self, limit_s: float) -> float:
        """Seconds until every outbox is empty and every consumer has nothing left to do. Raises NotSettled."""
        started = time.monotonic()
        while await self._has_work_left():
            if time.monotonic() - started > limit_s:
                raise NotSettled(f"events still wait {limit_s:.0f} s after the load")
            await asyncio.sleep(SETTLE_POLL_S)
        return time.monotonic() - started

    async def _has_work_left(self) -> bool:
        for outbox in self.outboxes:
            row = await (await outbox.execute(_IS_UNPUBLISHED)).fetchone()
            if row is None or row[0]:
                return True
        js = self.nats.jetstream()
        streams = [stream.config.name for stream in await js.streams_info()]
        consumers = [one for name in streams if name for one in await js.consumers_info(name)]
        return any(one.num_pending or one.num_ack_pending for one in consumers)


Start = Callable[[], AbstractAsyncContextManager[Product]]


@asynccontextmanager
async def running() -> AsyncIterator[Product]:
    """A fresh one, in TMPDIR; nothing of it is left afterwards."""
    async with AsyncExitStack() as opened:
        system = await opened.enter_async_context(_started())
        stack = system.stack
        secret = (await keys.create_key(stack.databases["gateway"].application, account=ACCOUNT, mode=MODE)).secret
        api_keys = stack.home.root / "api-key"
        api_keys.write_text(f"{secret}\n")
        urls = [_as_superuser(stack, f"skutrail_{service.name}") for service in SERVICES]
        outboxes = [
            await opened.enter_async_context(await psycopg.AsyncConnection.connect(url, autocommit=True))
            for url in urls
        ]
        connection = await nats.connect(stack.nats_url)
        opened.push_async_callback(connection.close)
        yield Product(system, api_keys, outboxes, connection)


@asynccontextmanager
async def _started() -> AsyncIterator[System]:
    folder = Path(tempfile.mkdtemp(prefix="skutrail-bench-"))
    home = open_home(folder)
    stack = Stack(home=home, secrets=keep_secrets(home), ports=choose_ports(), chosen=CHOSEN)
    system = System(stack, report=lambda _: None)
    more = ("-c", f"max_connections={MAX_CONNECTIONS}")
    system.children["postgres"] = Child(replace(POSTGRES, command=lambda s: [*postgres.command(s), *more]), stack)
    try:
        await system.start()
        yield system
    finally:
        await system.stop()
        shutil.rmtree(folder)


def _as_superuser(stack: Stack, database: str) -> str:
    return urlunsplit(urlsplit(stack.postgres_url)._replace(path=f"/{database}"))


async def set_flush_delay(server: Connection, milliseconds: int) -> None:
    """Adds that much to every flush of the log, of whichever database; 0 takes it away again."""
    if milliseconds:
        await server.execute(f"ALTER SYSTEM SET commit_delay = {milliseconds * 1000:d}")
        await server.execute("ALTER SYSTEM SET commit_siblings = 0")
    else:
        await server.execute("ALTER SYSTEM RESET commit_delay")
        await server.execute("ALTER SYSTEM RESET commit_siblings")
    await server.execute("SELECT pg_reload_conf()")
