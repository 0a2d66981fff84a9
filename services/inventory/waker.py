"""Serves the requests that wait for stock, oldest first, as soon as the stock is there.

It asks the state: which waiting requests could be served now. Woken at once by a commit of this process that may
have freed stock, and by itself every INTERVAL_S for what other replicas, crashes and restarts left.
"""

from __future__ import annotations

import asyncio

from chassis import trace
from chassis.clock import Clock, pause
from chassis.database import Database
from chassis.errors import Fault
from chassis.ids import IdMaker
from chassis.logs import log
from chassis.outbox import Relay
from services.inventory import allocating, store

INTERVAL_S = 1.0
REST_S = 0.05  # between two looks in vain: under load each commit of a movement asks for one
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
                await asyncio.sleep(REST_S)
                await pause(INTERVAL_S, unless=self._nudge)

    async def serve_waiting(self) -> int:
        """Serves those that can be served, oldest first; returns how many were."""
        served = 0
        used_up: set[tuple[str, str]] = set()
        for waiting in await self._database.run(lambda tx: store.serveable_requests(tx, BATCH_MAX)):
            skus = {(waiting.tenant_id, sku) for sku in waiting.skus}
            if skus & used_up:
                continue
            if await self._serve(waiting.tenant_id, waiting.request_id):
                served += 1
            else:
                # It fitted by itself when the list was read. What comes of these SKUs from now on is for the oldest
                # that waits for them, not for those behind this one; the next look finds out who that is.
                used_up |= skus
        if served:
            self._relay.nudge()
            log.info("requests.served", count=served)
        return served

    async def _serve(self, tenant_id: str, request_id: str) -> bool:
        try:
            return await self._database.run(
                lambda tx: allocating.serve(tx, tenant_id, request_id, self._clock, self._new_id)
            )
        except Fault as fault:
            log.warning("request.not_served", request_id=request_id, cause=fault.code)
            return False
