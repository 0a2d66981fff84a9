"""For operators: is the process alive, can it do its work, what has it counted."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from chassis.database import Database
from chassis.errors import Fault
from gateway.call import respond
from gateway.middleware import METRICS
from gateway.upstream import Upstream

DATABASE = "database"
ANSWER_LIFE_S = 1.0  # however often it is asked, the services are asked once a second


class Readiness:
    """What is away: services that do not say SERVING, the keys' database.

    Only the database decides whether the gateway is ready. A gateway that left with every service would turn the
    outage of one into the outage of all; what it cannot reach, it refuses call by call.
    """

    def __init__(self, upstream: Upstream, database: Database) -> None:
        self._upstream = upstream
        self._database = database
        self._lock = asyncio.Lock()
        self._away: list[str] = []
        self._asked_at = float("-inf")

    async def away(self) -> list[str]:
        """What is away, by name; empty when all is well."""
        async with self._lock:
            if time.monotonic() - self._asked_at >= ANSWER_LIFE_S:
                services, is_up = await asyncio.gather(self._upstream.away(), self._database.is_up())
                self._away = services if is_up else [*services, DATABASE]
                self._asked_at = time.monotonic()
            return self._away


READINESS = web.AppKey("READINESS", Readiness)


async def healthz(_: web.Request) -> web.Response:
    """The event loop turns. Says nothing of others: restarting this process would not bring them back."""
    return respond({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 with the names of the services that are away, 503 when the keys' database is."""
    away = await request.app[READINESS].away()
    if DATABASE in away:
        raise Fault("unavailable", f"Away: {', '.join(away)}.", away=", ".join(away), retry_after_s=1)
    return respond({"status": "ready", "away": away})


async def metrics(request: web.Request) -> web.Response:
    text = request.app[METRICS].text()
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
