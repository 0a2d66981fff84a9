"""Takes up the shipments whose next step nobody took: its event was lost, or parked, or its taker died.

It takes the very steps of the listener, so it needs no agreement with it (steps.py says why they may meet).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from chassis import trace
from chassis.clock import Clock
from chassis.consumer import RetryLater
from chassis.database import Database
from chassis.errors import Fault
from chassis.logs import log
from services.shipments import store
from services.shipments.domain import Status
from services.shipments.steps import Steps

INTERVAL_S = 5.0
BATCH_MAX = 50
QUEUED_FOR = timedelta(seconds=10)
# Longer than the listener ever waits between two tries of a carrier in trouble: the sweeper must not hurry it.
ALLOCATED_FOR = timedelta(seconds=45)

Step = Callable[[str, str], Awaitable[None]]


class Sweeper:
    name = "sweeper"

    def __init__(self, database: Database, steps: Steps, clock: Clock) -> None:
        self._database = database
        self._steps = steps
        self._clock = clock
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.sweep()
            except Fault as fault:
                log.warning("sweep.postponed", cause=fault.code)
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> int:
        """One batch per status; returns how many shipments were taken up. Raises Fault when somebody is away."""
        return await self._take_up(Status.QUEUED, QUEUED_FOR, self._steps.allocate) + await self._take_up(
            Status.ALLOCATED, ALLOCATED_FOR, self._steps.buy_labels
        )

    async def _take_up(self, status: Status, idle_for: timedelta, step: Step) -> int:
        before = self._clock() - idle_for
        idle = await self._database.run(lambda tx: store.find_unattended(tx, status, before=before, limit=BATCH_MAX))
        for tenant_id, shipment_id in idle:
            if self._stopping.is_set():
                break
            with trace.follow("", "", tenant_id=tenant_id):
                await _take(step, tenant_id, shipment_id)
        return len(idle)


async def _take(step: Step, tenant_id: str, shipment_id: str) -> None:
    log.info("shipment.taken_up", shipment_id=shipment_id)
    try:
        await step(tenant_id, shipment_id)
    except RetryLater as trouble:
        log.info("shipment.left", shipment_id=shipment_id, cause=str(trouble))
    except Fault as fault:
        if fault.code == "unavailable":
            raise  # the same would be said of the next one
        log.warning("shipment.left", shipment_id=shipment_id, cause=fault.code)
    except Exception:  # noqa: BLE001 - whatever one shipment meets, the others go on
        log.exception("shipment.left", shipment_id=shipment_id)
