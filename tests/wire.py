"""A TCP wire to PostgreSQL that a test can cut, or hold so that nothing comes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy.engine import make_url


@dataclass
class Wire:
    """`url` is that of the database, through the wire."""

    host: str
    port: int
    url: str = ""
    is_gone: bool = False
    open_ends: list[asyncio.StreamWriter] = field(default_factory=list)
    flows: asyncio.Event = field(default_factory=asyncio.Event)

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_gone:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        self.open_ends += [writer, far_writer]
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                await self.flows.wait()
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass  # cut
        finally:
            writer.close()

    def hold(self) -> None:
        """Connections stay open and new ones are taken; nothing is answered."""
        self.flows.clear()

    def cut(self) -> None:
        """Every connection is reset; new ones are taken."""
        for end in self.open_ends:
            end.transport.abort()

    def end(self) -> None:
        """Every connection is reset, new ones too."""
        self.is_gone = True
        self.cut()

    def mend(self) -> None:
        self.is_gone = False
        self.flows.set()


@asynccontextmanager
async def wire_to(database_url: str) -> AsyncIterator[Wire]:
    url = make_url(database_url)
    wire = Wire(url.host or "", url.port or 0)
    wire.mend()
    server = await asyncio.start_server(wire.join, "127.0.0.1", 0)
    wire.url = url.set(port=server.sockets[0].getsockname()[1]).render_as_string(hide_password=False)
    try:
        yield wire
    finally:
        wire.mend()
        server.close()
        wire.cut()
