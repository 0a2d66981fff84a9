"""A real HTTP receiver on loopback, which keeps what it got and answers as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    answer: Answerer | None = None
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def wait_for(self, count: int) -> list[Received]:
        """The requests, once there are so many."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def receive(self, request: web.Request) -> web.StreamResponse:
        received = Received(request.path, {k.lower(): v for k, v in request.headers.items()}, await request.read())
        async with self._arrived:
            self.requests.append(received)
            self._arrived.notify_all()
        return await self.answer(request) if self.answer else web.Response(status=204)


def answering(status: int, headers: dict[str, str] | None = None) -> Answerer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return answer


class Gate:
    """A receiver's answer that waits until it is opened."""

    def __init__(self, status: int = 204) -> None:
        self.status = status
        self.opened = asyncio.Event()

    async def answer(self, _: web.Request) -> web.StreamResponse:
        await self.opened.wait()
        return web.Response(status=self.status)


@asynccontextmanager
async def receiving(
    host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()
