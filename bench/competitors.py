"""Who competes. Each is a way to load it, a ledger to check, and processes to charge.

All share one PostgreSQL server, each with a database of its own, and all write to 10,000 balances that are there from
the start, so that nobody is charged for making them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.check import Checker, Connection
from bench.fill import fill
from bench.lines import Cell, Load
from bench.load import Generators
from bench.plan import SPREAD, Plan
from bench.processes import is_listening
from bench.product import TENANT, Product
from cli.local.children import spawn
from cli.local.stack import LOOPBACK, free_ports

PGBENCH, MONOLITH, REST, READ = "pgbench", "monolith", "REST", "balance read"
GRPC, BATCHED = "gRPC, batched", "pgbench, batched"
MONOLITH_PROCESSES = 2
MONOLITH_WITHIN_S = 20.0
SCHEMA = Path(__file__).parent / "sql" / "schema.sql"

Loader = Callable[[Cell, int, str], Awaitable[Load]]


@dataclass(frozen=True)
class Competitor:
    name: str
    load: Loader
    """(cell, seconds, tag): every key begins with `tag-`."""
    ledger: Ledger
    pids: Mapping[str, int]
    writes: bool = True


@dataclass(frozen=True)
class Ledger:
    """Where a competitor writes. `settle` waits until what follows from the writes is done, and says how long."""

    connection: Connection
    checker: Checker
    settle: Callable[[float], Awaitable[float]]

    async def longest_chain(self) -> int:
        row = await (await self.connection.execute("SELECT coalesce(max(seq), 0) FROM balance")).fetchone()
        assert row is not None
        return int(row[0])

    async def fill(self, *, skus: int, length: int) -> None:
        """Lengthens the chains of the bench's tenant, and leaves a server at rest."""
        await fill(self.connection, TENANT, skus=skus, length=length)
        await self.connection.execute("VACUUM (ANALYZE) balance, ledger_entry")
        await self.connection.execute("CHECKPOINT")
        await self.checker.remember()


@asynccontextmanager
async def opened(url: str, settle: Callable[[float], Awaitable[float]]) -> AsyncIterator[Ledger]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        checker = Checker(connection)
        await checker.remember()
        yield Ledger(connection, checker, settle)


def rest(product: Product, generators: Generators, ledger: Ledger, api_keys: Path | None = None) -> Competitor:
    return _over_http(REST, "write", product, generators, ledger, api_keys or product.api_keys)


@asynccontextmanager
async def all_of(product: Product, generators: Generators, plan: Plan) -> AsyncIterator[Mapping[str, Competitor]]:
    """Every competitor by name, ready to be loaded."""
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(opened(product.database_url("skutrail_inventory"), product.settle))
        for_pgbench = await stack.enter_async_context(_other_ledger(product, "bench_pgbench"))
        for_monolith = await stack.enter_async_context(_other_ledger(product, "bench_monolith"))
        for ledger in (own, for_pgbench, for_monolith):
            await ledger.fill(skus=SPREAD, length=1)
        found = [
            _pgbench(PGBENCH, "four_statements.sql", 1, product, generators, for_pgbench),
            await stack.enter_async_context(_monolith(product, generators, for_monolith)),
            rest(product, generators, own),
            _over_http(READ, "read", product, generators, own, product.api_keys),
            _pgbench(BATCHED, "batched_statement.sql", plan.movements_per_call, product, generators, for_pgbench),
            _grpc(product, generators, own, plan.movements_per_call),
        ]
        yield {one.name: one for one in found}


def _over_http(
    name: str, kind: str, product: Product, generators: Generators, ledger: Ledger, api_keys: Path
) -> Competitor:
    async def load(cell: Cell, seconds: int, tag: str) -> Load:
        url = product.stack.base_url
        return await generators.http_load(url, cell, kind=kind, api_keys=api_keys, seconds=seconds, tag=tag)

    return Competitor(name, load, ledger, product.pids(), writes=kind == "write")


def _grpc(product: Product, generators: Generators, ledger: Ledger, movements: int) -> Competitor:
    async def load(cell: Cell, seconds: int, tag: str) -> Load:
        address = product.stack.address("inventory")
        return await generators.grpc_load(address, cell, movements=movements, tenant=TENANT, seconds=seconds, tag=tag)

    return Competitor(GRPC, load, ledger, product.pids())


def _pgbench(
    name: str, script: str, movements: int, product: Product, generators: Generators, ledger: Ledger
) -> Competitor:
    async def load(cell: Cell, seconds: int, tag: str) -> Load:
        url = product.database_url("bench_pgbench")
        return await generators.pgbench_load(url, script, cell, movements=movements, seconds=seconds, tag=tag)

    return Competitor(name, load, ledger, product.pids(["postgres"]))


@asynccontextmanager
async def _monolith(product: Product, generators: Generators, ledger: Ledger) -> AsyncIterator[Competitor]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.monolith", str(port), product.database_url("bench_monolith")]
    log = product.folder / "monolith.log"
    processes = [
        await spawn(command, log=log, folder=product.folder, environment={}, death_signal=signal.SIGTERM)
        for _ in range(MONOLITH_PROCESSES)
    ]

    async def load(cell: Cell, seconds: int, tag: str) -> Load:
        url = f"http://{LOOPBACK}:{port}"
        return await generators.http_load(url, cell, kind="write", api_keys=product.api_keys, seconds=seconds, tag=tag)

    pids = {f"monolith {n}": process.pid for n, process in enumerate(processes, 1)}
    try:
        async with asyncio.timeout(MONOLITH_WITHIN_S):
            while not all(is_listening(process.pid) for process in processes):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        yield Competitor(MONOLITH, load, ledger, {**pids, **product.pids(["postgres"])})
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
            await process.wait()


@asynccontextmanager
async def _other_ledger(product: Product, name: str) -> AsyncIterator[Ledger]:
    """A database of a competitor of ours. It has no relay: nothing is to be waited for."""
    async with await psycopg.AsyncConnection.connect(product.stack.postgres_url, autocommit=True) as server:
        await server.execute(f"CREATE DATABASE {name}")
    url = product.database_url(name)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(SCHEMA.read_text())

    async def settle(limit_s: float) -> float:
        return 0.0

    async with opened(url, settle) as ledger:
        yield ledger
