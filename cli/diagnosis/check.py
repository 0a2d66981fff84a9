"""What a check is, what it finds, and where it may look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

FOUND_MAX = 100  # per check: beyond that it is one trouble, not many
PAGE = 1_000  # rows of a walk through a table
_OPTIONS = "-c default_transaction_read_only=on -c statement_timeout=60s -c lock_timeout=2s"


@dataclass(frozen=True)
class Finding:
    """`subject` is the id an operator can look up; `text` says what is wrong with it and `todo` what to do."""

    subject: str
    text: str
    todo: str
    place: object = None
    """How far the subject had come. Found again further on, it is no trouble."""


class Sources:
    """The databases of the services, read-only, each connected to when it is first asked; and where NATS is."""

    def __init__(self, database_urls: Mapping[str, str], nats_url: str) -> None:
        self.nats_url = nats_url
        self._urls = database_urls
        self._engines: dict[str, AsyncEngine] = {}

    @asynccontextmanager
    async def read(self, service: str) -> AsyncIterator[AsyncConnection]:
        """A transaction that can change nothing."""
        if service not in self._engines:
            self._engines[service] = create_async_engine(
                self._urls[service].replace("postgresql://", "postgresql+psycopg://", 1),
                pool_size=1,
                max_overflow=0,
                connect_args={"connect_timeout": 5, "options": _OPTIONS},
            )
        async with self._engines[service].begin() as tx:
            yield tx

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.dispose()


@dataclass(frozen=True)
class Check:
    name: str
    """The service and what is looked for, such as "shipments: stuck"."""
    look: Callable[[Sources], Awaitable[Sequence[Finding]]]
    """At most FOUND_MAX findings."""
    again_after_s: float = 0.5
    """What is found after this time as well is told."""

    async def findings(self, sources: Sources) -> Sequence[Finding]:
        found = await self.look(sources)
        if not found:
            return found
        await asyncio.sleep(self.again_after_s)
        before = {(finding.subject, finding.place) for finding in found}
        return [finding for finding in await self.look(sources) if (finding.subject, finding.place) in before]
