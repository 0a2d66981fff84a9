"""A caller on one keep-alive connection that costs so little that 64 of them in one process load all of Skutrail."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

ANSWERED_WITHIN_S = 10.0


class Reply(NamedTuple):
    status: int
    body: bytes
    is_replayed: bool

    @property
    def code(self) -> str:
        """The code of a problem; empty for an answer that is none."""
        return str(json.loads(self.body).get("code", "")) if self.status >= 400 else ""


class KeepAlive:
    """Asks one question at a time, and connects anew where the connection is gone."""

    def __init__(self, base_url: str, api_key: str) -> None:
        address = urlsplit(base_url)
        self._host, self._port = str(address.hostname), int(address.port or 80)
        self._common = f"Host: {address.netloc}\r\nAuthorization: Bearer {api_key}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, key: str) -> Reply | None:
        """The answer; None where the outcome is unknown."""
        head = f"Content-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n"
        return await self._ask(f"POST {path} HTTP/1.1\r\n{self._common}{head}\r\n".encode() + body)

    async def get(self, path: str) -> Reply | None:
        return await self._ask(f"GET {path} HTTP/1.1\r\n{self._common}\r\n".encode())

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, request: bytes) -> Reply | None:
        reply = None
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                reply = await self._exchange(request)
        if reply is None:
            self.close()
        return reply

    async def _exchange(self, request: bytes) -> Reply:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if b"\r\nconnection: close\r\n" in head:
            self.close()
        return Reply(int(head[9:12]), body, b"\r\nidempotent-replayed: true\r\n" in head)
