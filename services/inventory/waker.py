"""Serves the requests that wait for stock, oldest first, as soon as the stock is there.

It asks the state: which waiting requests could be served now. Woken at once by a commit of this process that may
have freed stock, and by itself every INTERVAL_S for what other replicas, crashes and restarts left.
"""

from __future__ import annotations

import asyncio

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import trace
from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault
from chassis.ids import IdMaker
from chassis.logs import log
from chassis.outbox import Relay
from services.inventory import allocating, store

INTERVAL_S = 1.0
BATCH_MAX = 100


class Waker:
    name = "waker"

    def __init__(self, database: Database, relay: Relay, clock: Clock, new_id: IdMaker) -> None:
        self._database = database
        self._relay = relay
        self._clock = clock
        self._new_id = new_id
        self._nudge = asyncio.Event()
        self._stopping = False

    def nudge(self) -> None:
        """Stock may have come free."""
        self._nudge.set()

    def stop(self) -> None:
        self._stopping = True
        self._nudge.set()

    async def run(self) -> None:
        while not self._stopping:
            self._nudge.clear()
            try:
                with trace.follow("", ""):
                    served = await self.serve_waiting()
            except Fault as fault:
                log.warning("waking.postponed", cause=fault.code)
                served = 0
            if not served:
                await self._pause()

    async def serve_waiting(self) -> int:
        """Serves those that can be served, oldest first; returns how many were."""

        async def find(tx: AsyncConnection) -> list[tuple[str, str]]:
            return await store.serveable_requests(tx, BATCH_MAX)

        served = 0
        for tenant_id, request_id in await self._database.run(find):
            if not await self._serve(tenant_id, request_id):
                break  # The list is used up or out of date: what has come meanwhile is not for those behind this one.
            served += 1
        if served:
            self._relay.nudge()
            log.info("requests.served", count=served)
        return served

    async def _serve(self, tenant_id: str, request_id: str) -> bool:
        async def serve(tx: AsyncConnection) -> bool:
            return await allocating.serve(tx, tenant_id, request_id, self._clock(), self._new_id)

        return await self._database.run(serve)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(INTERVAL_S):
                await self._nudge.wait()
        except TimeoutError:
            return
