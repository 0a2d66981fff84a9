"""The HTTP server around the application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

# Longer than any caller keeps an idle connection: the caller closes first, and never sends into a closed one.
KEEPALIVE_S = 75
CUT_OFF_S = 2  # for what is under way when the process stops; a fault that hangs would hang on


@asynccontextmanager
async def serving(app: web.Application, listen: str) -> AsyncIterator[str]:
    """Serves at `host:port`, port 0 for any that is free. Yields the URL."""
    # A caller that hangs up ends its request, or one that hangs on purpose would hang for nobody.
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, keepalive_timeout=KEEPALIVE_S, shutdown_timeout=CUT_OFF_S
    )
    await runner.setup()
    try:
        host, _, port = listen.rpartition(":")
        await web.TCPSite(runner, host, int(port), reuse_address=True).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
