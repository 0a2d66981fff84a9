"""The HTTP server around the application: its limits, its time-outs, and how it stops."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from aiohttp import http_parser, web

from gateway.connection import Runner
from gateway.traffic import TRAFFIC, Traffic

KEEPALIVE_S = 30
READ_BYTES = 16 * 1024  # what a connection buffers before a request's turn; no Intake counts it
# Longer than any request takes: its key 1 s, its body 10 s, its service 2 s.
DRAIN_S = 15
# For the answers to those that were cut off. Together less than a supervisor waits before it kills.
CUT_OFF_S = 2


class Serving:
    """A listening server; `url` is where."""

    def __init__(self, runner: web.AppRunner, url: str) -> None:
        self._runner = runner
        self.url = url

    async def stop(self) -> None:
        """Refuses new connections, answers what comes on those there are, and closes each with its answer.

        aiohttp's own cleanup hears nothing more from a connection, not even the rest of a body: it comes last.
        """
        traffic = self._runner.app[TRAFFIC]
        for site in self._runner.sites:
            await site.stop()
        traffic.is_ending = True
        if self._runner.server is not None and self._runner.server.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(traffic.quiet(), DRAIN_S)
        await self._runner.cleanup()


async def serve(app: web.Application, *, host: str, port: int) -> Serving:
    """Port 0 takes any that is free."""
    # The pure Python parser reads some hostile requests otherwise than proxies do.
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise RuntimeError("aiohttp runs without its C parser")
    app[TRAFFIC] = Traffic()
    runner = Runner(
        app,
        access_log=None,  # middleware.py writes a line of its own
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=CUT_OFF_S,
        read_bufsize=READ_BYTES,
        # A write goes on when its caller hangs up: the repetition finds its answer.
        handler_cancellation=False,
        # A body with a content coding is refused, so nothing need ever be inflated.
        auto_decompress=False,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, reuse_address=True)
    await site.start()
    return Serving(runner, f"http://{host}:{_port_of(runner)}")


def _port_of(runner: web.AppRunner) -> int:
    address: tuple[str, int] = runner.addresses[0]
    return address[1]


def is_loopback(host: str) -> bool:
    """True when nothing but this machine can reach what listens on the host. Raises OSError for an unknown name."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(address[0] == "::1" or str(address[0]).startswith("127.") for *_, address in found)
