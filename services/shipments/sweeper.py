"""Takes up the shipments whose next step nobody took: its event was lost, or parked, or its taker died.

It takes the very steps of the listener, so it needs no agreement with it (steps.py says why they may meet). Each status
is watched by itself: an inventory that is away holds up no label, and a slow carrier nobody's stock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from chassis import trace
from chassis.clock import Clock, pause
from chassis.consumer import RetryLater
from chassis.database import Database
from chassis.errors import Fault
from chassis.logs import log
from services.shipments import store
from services.shipments.domain import Status
from services.shipments.steps import Steps

INTERVAL_S = 5.0
BATCH_MAX = 50  # of one status, per interval


@dataclass(frozen=True)
class Watch:
    """What is done for a shipment that stays in a status."""

    step: Callable[[Steps, str, str], Awaitable[None]]
    every: timedelta
    """For so long nothing moved it and nobody looked at it."""


# A status that is not here waits for nobody but the warehouse and the carrier's drivers.
WATCHES: Mapping[Status, Watch] = {
    Status.QUEUED: Watch(Steps.allocate, timedelta(seconds=10)),
    # Its stock may have come, or gone from what had its label, without our hearing of it: inventory is asked.
    Status.BACKORDERED: Watch(Steps.allocate, timedelta(minutes=1)),
    Status.LABEL_READY: Watch(Steps.allocate, timedelta(minutes=15)),
    # Longer than the listener ever waits between two tries of a carrier in trouble: the sweeper must not hurry it. Its
    # stock is not asked for: within the carrier's patience it is label ready or failed, and looked after there.
    Status.ALLOCATED: Watch(Steps.buy_labels, timedelta(seconds=45)),
    # Until inventory has answered once.
    Status.CANCELED: Watch(Steps.release_stock, timedelta(seconds=10)),
    Status.FAILED: Watch(Steps.release_stock, timedelta(seconds=10)),
}


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
        async with asyncio.TaskGroup() as watches:
            for status in WATCHES:
                watches.create_task(self._watch(status))

    async def sweep(self, status: Status) -> int:
        """Takes up a batch of a status, longest unseen first; returns how many. Raises Fault when somebody is away."""
        for taken in range(BATCH_MAX):
            if self._stopping.is_set() or (shipment := await self._next(status)) is None:
                return taken
            with trace.follow("", "", tenant_id=shipment[0]):
                await self._take_up(status, *shipment)
        return BATCH_MAX

    async def _watch(self, status: Status) -> None:
        while not self._stopping.is_set():
            try:
                await self.sweep(status)
            except Fault as fault:
                log.warning("sweep.postponed", status=status, cause=fault.code)
            await pause(INTERVAL_S, unless=self._stopping)

    async def _next(self, status: Status) -> tuple[str, str] | None:
        now = self._clock()
        before = now - WATCHES[status].every
        return await self._database.run(lambda tx: store.take_unattended(tx, status, before=before, now=now))

    async def _take_up(self, status: Status, tenant_id: str, shipment_id: str) -> None:
        log.info("shipment.taken_up", shipment_id=shipment_id, status=status)
        try:
            await WATCHES[status].step(self._steps, tenant_id, shipment_id)
        except RetryLater as trouble:
            log.info("shipment.left", shipment_id=shipment_id, cause=str(trouble))
        except Fault as fault:
            if fault.code == "unavailable":
                raise  # the same would be said of the next one
            log.warning("shipment.left", shipment_id=shipment_id, cause=fault.code)
        except Exception:  # noqa: BLE001 - whatever one shipment meets, the others go on
            log.exception("shipment.left", shipment_id=shipment_id)
