"""The requests under way, counted, so that a stop can wait until they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

# What a client or a proxy has sent into an idle connection before it noticed anything arrives within this time.
QUIET_S = 0.5


class Traffic:
    """`is_ending` from a stop on: then every answer closes its connection, so that the next request goes elsewhere."""

    def __init__(self) -> None:
        self.is_ending = False
        self._came = 0
        self._under_way = 0
        self._nothing_under_way = asyncio.Event()
        self._nothing_under_way.set()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around a request, from its head to its answer."""
        self._came += 1
        self._under_way += 1
        self._nothing_under_way.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._nothing_under_way.set()

    async def quiet(self) -> None:
        """Returns when none was under way for QUIET_S."""
        came = -1
        while came != self._came:
            await self._nothing_under_way.wait()
            came = self._came
            await asyncio.sleep(QUIET_S)


TRAFFIC = web.AppKey("TRAFFIC", Traffic)
