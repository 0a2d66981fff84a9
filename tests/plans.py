"""What a query costs PostgreSQL: the statement that our own code sends, explained as it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database

PlanNode = dict[str, Any]


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
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    async with database.transaction() as tx:
        event.listen(tx.sync_connection, "before_cursor_execute", note)
        await query(tx)
        event.remove(tx.sync_connection, "before_cursor_execute", note)
        ((statement, parameters),) = sent
        told = await tx.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        return Plan(told.scalar_one()[0]["Plan"])


def _nodes(node: PlanNode) -> Iterator[PlanNode]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
