"""The fast way through a transaction: reads in one round trip, all writes and the commit in one more.

For the paths where round trips are the cost (the ledger); everything else uses `Database.run`. Statements are written
as for SQLAlchemy, with `:name`, and run prepared on the driver's own connection, parameters in binary.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
Rows = Sequence[Any]
Parameters = Mapping[str, Any]


class Pipeline:
    """The writes that an operation wants (`tell`) are sent with the next question or with the commit.

    Those that are sent together run as one statement, in no order and without seeing each other: they must not touch
    the same rows.
    """

    def __init__(self, tx: AsyncConnection, driver: psycopg.AsyncConnection[Any]) -> None:
        self.tx = tx
        self._driver = driver
        self._told: list[tuple[TextClause, Parameters]] = []

    @classmethod
    async def on(cls, tx: AsyncConnection) -> Pipeline:
        driver = (await tx.get_raw_connection()).driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)
        return cls(tx, driver)

    async def ask(self, *queries: tuple[TextClause, Parameters]) -> list[Rows]:
        """The rows of each query, all in one round trip, behind what was told."""
        async with self._driver.pipeline():
            await self._send()
            cursors = [await self._execute(*query) for query in queries]
        return [await cursor.fetchall() for cursor in cursors]

    def tell(self, statement: TextClause, parameters: Parameters) -> None:
        self._told.append((statement, parameters))

    async def flush(self) -> None:
        """Sends what was told, for those that read in the same transaction by other ways."""
        if self._told:
            await self.ask()

    async def commit(self) -> None:
        """Sends what was told and commits it. Where a statement fails nothing is committed."""
        async with self._driver.pipeline():
            await self._send()
            await self._driver.commit()

    async def _send(self) -> None:
        """What was told, as one statement: each that is sent by itself costs both sides as much again."""
        if not self._told:
            return
        told, self._told = self._told, []
        merged = {_name(place, name): value for place, (_, given) in enumerate(told) for name, value in given.items()}
        await self._run(_merged(tuple(statement.text for statement, _ in told)), merged)

    async def _execute(self, statement: TextClause, parameters: Parameters) -> psycopg.AsyncCursor[Any]:
        return await self._run(_for_driver(statement.text), parameters)

    async def _run(self, sql: bytes, parameters: Parameters) -> psycopg.AsyncCursor[Any]:
        return await self._driver.cursor(row_factory=namedtuple_row).execute(sql, parameters, prepare=True)


async def within(tx: AsyncConnection, operation: Callable[[Pipeline], Awaitable[T]]) -> T:
    """Runs an operation as a part of a transaction that goes on, and that somebody else commits."""
    pipeline = await Pipeline.on(tx)
    result = await operation(pipeline)
    await pipeline.flush()
    return result


_PARAMETER = re.compile(r"(?<!:):(\w+)")


@lru_cache(maxsize=256)
def _for_driver(sql: str) -> bytes:
    return _PARAMETER.sub(r"%(\1)b", sql.replace("%", "%%")).encode()


@lru_cache(maxsize=256)
def _merged(statements: Sequence[str]) -> bytes:
    """All but the last stand in a WITH (PostgreSQL, 7.8.4); the parameters of each have names of their own."""
    own = [_PARAMETER.sub(rf":\1_{place}", sql) for place, sql in enumerate(statements)]
    *first, last = own
    preceding = ", ".join(f"told_{place} AS ({sql})" for place, sql in enumerate(first))
    return _for_driver(f"WITH {preceding} {last}" if first else last)


def _name(place: int, parameter: str) -> str:
    return f"{parameter}_{place}"
