"""What a query costs PostgreSQL: the statement that our own code sends, explained as it runs, or before it does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.migrate import upgrade
from cli.provision import DatabaseUrls

PlanNode = dict[str, Any]
_PARAMETER = re.compile(r"(?<!:):(\w+)|%\((\w+)\)s")  # as we write them, or as SQLAlchemy sends them


@dataclass(frozen=True)
class Plan:
    root: PlanNode

    @property
    def buffers(self) -> int:
        """Blocks that were read, wherever they lay. Planning counts apart."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def rows(self) -> int:
        return int(self.root["Actual Rows"])

    @property
    def steps(self) -> list[str]:
        """Every node from the top, with its index where it uses one."""
        return [f"{node['Node Type']} {node.get('Index Name', '')}".strip() for node in _nodes(self.root)]


async def plan_of(database: Database, query: Callable[[AsyncConnection], Awaitable[object]]) -> Plan:
    """The plan of the one statement that `query` sends, run twice: by the query, and explained."""
    async with database.transaction() as tx:
        statement, parameters = await sent_by(query, tx)
        told = await tx.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        return Plan(told.scalar_one()[0]["Plan"])


async def sent_by(query: Callable[[AsyncConnection], Awaitable[object]], tx: AsyncConnection) -> tuple[str, Any]:
    """The one statement that it sends, and its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(tx.sync_connection, "before_cursor_execute", note)
    await query(tx)
    event.remove(tx.sync_connection, "before_cursor_execute", note)
    ((statement, parameters),) = sent
    return statement, parameters


async def unseen_tables(name: str, postgres: str, databases: Mapping[str, DatabaseUrls]) -> str:
    """The tables of a service where autovacuum never comes: it counts the rows of tables that other tests fill.

    Returns their URL, as their owner.
    """
    database = f"skutrail_{name}_unseen"
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as server:
        await server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())
        await server.execute(f"CREATE DATABASE {database} OWNER skutrail_{name}_owner TEMPLATE template0".encode())
    url = urlunsplit(urlsplit(databases[name].owner)._replace(path=f"/{database}"))
    await asyncio.to_thread(upgrade, name, url)
    return url


async def assert_it_goes_by_keys(url: str, statement: str) -> None:
    """No table is scanned and no join is hashed, however little is known of the tables."""
    plan = await generic_plan(url, statement)
    for word in ("Seq Scan", "Hash", "Merge"):
        assert word not in plan, plan


async def generic_plan(url: str, statement: str) -> str:
    """The plan for any values: the one that stays with a connection."""
    numbers: dict[str, int] = {}

    def numbered(parameter: re.Match[str]) -> str:
        return f"${numbers.setdefault(parameter[1] or parameter[2], len(numbers) + 1)}"

    sql = _PARAMETER.sub(numbered, statement)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        rows = await (await connection.execute(f"EXPLAIN (GENERIC_PLAN) {sql}".encode())).fetchall()
    return "\n".join(row[0] for row in rows)


def _nodes(node: PlanNode) -> Iterator[PlanNode]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
