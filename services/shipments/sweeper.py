"""Takes up the shipments whose next step nobody took: its event was lost, or parked, or its taker died.

It takes the very steps of the listener, so it needs no agreement with it (steps.py says why they may meet). Each watch
goes by itself: an inventory that is away holds up no label, and a slow carrier nobody's stock. For what was shipped
there is no event to wait for: looking is how we hear of the carrier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import failpoints, trace
from chassis.clock import Clock, pause
from chassis.consumer import RetryLater
from chassis.database import Database
from chassis.errors import Fault
from chassis.logs import log
from services.shipments import store
from services.shipments.domain import Status
from services.shipments.steps import Steps

INTERVAL_S = 5.0
BATCH_MAX = 50  # of one watch, per interval
TRACK_EVERY = timedelta(minutes=15)

# The watches beside those of a status.
ASKED_TO_CANCEL = "asked to cancel"
LABELS_TO_VOID = "labels to void"


class Take(Protocol):
    """Takes a shipment that nothing moved, and nobody looked at, since `before`: (tenant, id)."""

    async def __call__(self, tx: AsyncConnection, *, before: datetime, now: datetime) -> tuple[str, str] | None: ...


@dataclass(frozen=True)
class Watch:
    """What is done for a shipment that stays in a status, or that something is still to be done for."""

    take: Take
    step: Callable[[Steps, str, str], Awaitable[None]]
    every: timedelta
    """For so long nothing moved it and nobody looked at it."""


def watches(track_every: timedelta = TRACK_EVERY) -> Mapping[str, Watch]:
    """Every watch by its name. A status that is not here waits for nobody."""
    return {
        Status.QUEUED: _of(Status.QUEUED, Steps.allocate, timedelta(seconds=10)),
        # Its stock may have come, or gone from what had its label, without our hearing of it: inventory is asked.
        Status.BACKORDERED: _of(Status.BACKORDERED, Steps.allocate, timedelta(minutes=1)),
        Status.LABEL_READY: _of(Status.LABEL_READY, Steps.allocate, timedelta(minutes=15)),
        # Longer than the listener ever waits between two tries of a carrier in trouble: the sweeper must not hurry it.
        # Its stock is not asked for: within the carrier's patience it is label ready or failed, and looked after there.
        Status.ALLOCATED: _of(Status.ALLOCATED, Steps.buy_labels, timedelta(seconds=45)),
        Status.SHIPPED: _of(Status.SHIPPED, Steps.track, track_every),
        # Until inventory has answered once.
        Status.CANCELED: _of(Status.CANCELED, Steps.release_stock, timedelta(seconds=10)),
        Status.FAILED: _of(Status.FAILED, Steps.release_stock, timedelta(seconds=10)),
        # Whoever asked was told to come back, or died: what was asked is done all the same.
        ASKED_TO_CANCEL: Watch(store.take_asked_to_cancel, Steps.finish_cancel, timedelta(seconds=10)),
        LABELS_TO_VOID: Watch(store.take_with_labels_to_void, Steps.void_labels, timedelta(seconds=45)),
    }


def _of(status: Status, step: Callable[[Steps, str, str], Awaitable[None]], every: timedelta) -> Watch:
    return Watch(partial(store.take_unattended, status=status), step, every)


class Sweeper:
    name = "sweeper"

    def __init__(self, database: Database, steps: Steps, clock: Clock, track_every: timedelta = TRACK_EVERY) -> None:
        self._database = database
        self._steps = steps
        self._clock = clock
        self._watches = watches(track_every)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as running:
            for name in self._watches:
                running.create_task(self._watch(name))

    async def sweep(self, name: str) -> int:
        """Takes up a batch of a watch, longest unseen first; returns how many. Raises Fault when somebody is away."""
        for taken in range(BATCH_MAX):
            if self._stopping.is_set() or (shipment := await self._next(name)) is None:
                return taken
            failpoints.reach("shipments.taken_up")
            with trace.follow("", "", tenant_id=shipment[0]):
                await self._take_up(name, *shipment)
        return BATCH_MAX

    async def _watch(self, name: str) -> None:
        interval_s = min(INTERVAL_S, self._watches[name].every.total_seconds())
        while not self._stopping.is_set():
            try:
                await self.sweep(name)
            except Fault as fault:
                log.warning("sweep.postponed", watch=name, cause=fault.code)
            await pause(interval_s, unless=self._stopping)

    async def _next(self, name: str) -> tuple[str, str] | None:
        now, watch = self._clock(), self._watches[name]
        return await self._database.run(lambda tx: watch.take(tx, before=now - watch.every, now=now))

    async def _take_up(self, name: str, tenant_id: str, shipment_id: str) -> None:
        log.info("shipment.taken_up", shipment_id=shipment_id, watch=name)
        try:
            await self._watches[name].step(self._steps, tenant_id, shipment_id)
        except RetryLater as trouble:
            log.info("shipment.left", shipment_id=shipment_id, cause=str(trouble))
        except Fault as fault:
            if fault.code == "unavailable":
                raise  # the same would be said of the next one
            log.warning("shipment.left", shipment_id=shipment_id, cause=fault.code)
        except Exception:  # noqa: BLE001 - whatever one shipment meets, the others go on
            log.exception("shipment.left", shipment_id=shipment_id)
