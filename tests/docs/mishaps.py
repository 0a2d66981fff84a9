"""A bad network on loopback: what is asked passes through it to a real API, unless a mishap is due."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web


@dataclass(frozen=True)
class Try:
    """One request that met a mishap, or was let through after those; `replayed` is what the API said of it."""

    key: str
    at: float
    status: int
    replayed: bool


@dataclass
class Network:
    """`is_meant` says which requests meet the mishaps: one each, in order, and then none."""

    upstream: str
    session: aiohttp.ClientSession
    is_meant: Callable[[web.Request], bool]
    mishaps: list[web.Response | None]
    """An answer that is given instead of the API's; None: the API is asked, and its answer is lost."""
    tries: list[Try] = field(default_factory=list)
    url: str = ""

    async def carry(self, request: web.Request) -> web.StreamResponse:
        if not self.is_meant(request):
            return await self._pass_on(request)
        if not self.mishaps:
            return self._noted(request, await self._pass_on(request))
        answer = self.mishaps.pop(0)
        if answer is not None:
            return self._noted(request, answer)
        lost = self._noted(request, await self._pass_on(request))
        assert request.transport is not None
        request.transport.abort()
        return lost

    async def _pass_on(self, request: web.Request) -> web.Response:
        body, headers = await request.read(), {k: v for k, v in request.headers.items() if k != "Host"}
        url = self.upstream + request.path_qs
        async with self.session.request(request.method, url, data=body or None, headers=headers) as answer:
            kept = {k: v for k, v in answer.headers.items() if k not in ("Content-Length", "Date", "Connection")}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    def _noted(self, request: web.Request, answer: web.Response) -> web.Response:
        key, replayed = request.headers.get("Idempotency-Key", ""), "Idempotent-Replayed" in answer.headers
        self.tries.append(Try(key, time.monotonic(), answer.status, replayed))
        return answer


@asynccontextmanager
async def network(
    upstream: str, *mishaps: web.Response | None, is_meant: Callable[[web.Request], bool] = lambda _: True
) -> AsyncIterator[Network]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        laid = Network(upstream, session, is_meant, list(mishaps))
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", laid.carry)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        laid.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield laid
        finally:
            await runner.cleanup()
