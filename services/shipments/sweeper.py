"""Takes up the shipments whose next step nobody took: its event was lost, or parked, or its taker died.

It takes the very steps of the listener, so it needs no agreement with it (steps.py says why they may meet). Each watch
goes by itself: an inventory that is away holds up no label, and a slow carrier nobody's stock. For what was shipped
there is no event to wait for: looking is how we hear of the carrier, and what is silent keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
from services.shipments.store import TAKEN_MAX, ShipmentKey

INTERVAL_S = 5.0
AT_ONCE_MAX = 16  # shipments of one watch under way side by side
TRACK_EVERY = timedelta(minutes=15)

# The watches beside those of a status.
ASKED_TO_CANCEL = "asked to cancel"
LABELS_TO_VOID = "labels to void"

Step = Callable[[Steps, str, str], Awaitable[None]]
StepTogether = Callable[[Steps, Sequence[ShipmentKey]], Awaitable[None]]


class Take(Protocol):
    """Takes the shipments that nothing moved, and nobody looked at, since `before`: TAKEN_MAX, longest unseen first."""

    async def __call__(self, tx: AsyncConnection, *, before: datetime, now: datetime) -> Sequence[ShipmentKey]: ...


@dataclass(frozen=True)
class Watch:
    """What is done for a shipment that stays in a status, or that something is still to be done for."""

    take: Take
    step: Step
    every: timedelta
    """For so long nothing moved it and nobody looked at it."""
    together: StepTogether | None = None
    """The step of many at once, where there is one. When it fails they are taken one by one."""


def watches(track_every: timedelta = TRACK_EVERY) -> Mapping[str, Watch]:
    """Every watch by its name. A status that is not here waits for nobody."""
    return {
        Status.QUEUED: _asks_for_stock(Status.QUEUED, timedelta(seconds=10)),
        # Its stock may have come, or gone from what had its label, without our hearing of it: inventory is asked.
        Status.BACKORDERED: _asks_for_stock(Status.BACKORDERED, timedelta(minutes=1)),
        Status.LABEL_READY: _asks_for_stock(Status.LABEL_READY, timedelta(minutes=15)),
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


def _of(status: Status, step: Step, every: timedelta, together: StepTogether | None = None) -> Watch:
    return Watch(partial(store.take_unattended, status=status), step, every, together)


def _asks_for_stock(status: Status, every: timedelta) -> Watch:
    return _of(status, Steps.allocate, every, Steps.allocate_all)


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
        """Takes up all that a watch finds; returns how many. Raises Fault when somebody is away."""
        return await _Sweep(name, self._watches[name], self._database, self._steps, self._clock, self._stopping).run()

    async def _watch(self, name: str) -> None:
        interval_s = min(INTERVAL_S, self._watches[name].every.total_seconds())
        while not self._stopping.is_set():
            try:
                await self.sweep(name)
            except Fault as fault:
                log.warning("sweep.postponed", watch=name, cause=fault.code)
            await pause(interval_s, unless=self._stopping)


class _Sweep:
    """One going through of a watch: batch after batch is taken, until one is not full.

    Whoever is free goes on with the next shipment. A batch is never waited for, so one that is slow takes up one place.
    """

    def __init__(
        self, name: str, watch: Watch, database: Database, steps: Steps, clock: Clock, stopping: asyncio.Event
    ) -> None:
        self._name = name
        self._watch = watch
        self._database = database
        self._steps = steps
        self._clock = clock
        self._stopping = stopping
        self._waiting: deque[ShipmentKey] = deque()
        self._taking = asyncio.Lock()
        self._count = 0
        self._took_all = False
        self._away: Fault | None = None

    async def run(self) -> int:
        async with asyncio.TaskGroup() as at_once:
            for _ in range(AT_ONCE_MAX):
                at_once.create_task(self._go_on())
        if self._away is not None:
            raise self._away
        return self._count

    async def _go_on(self) -> None:
        try:
            while (shipment := await self._next()) is not None:
                with trace.follow("", "", tenant_id=shipment[0]):
                    await self._take_up(*shipment)
        except Fault as fault:
            # The same would be said of the next one. What is under way beside it comes to its end.
            self._away = fault

    async def _next(self) -> ShipmentKey | None:
        async with self._taking:
            while not (self._waiting or self._took_all or self._is_over):
                await self._take_some()
            return self._waiting.popleft() if self._waiting and not self._is_over else None

    @property
    def _is_over(self) -> bool:
        return self._away is not None or self._stopping.is_set()

    async def _take_some(self) -> None:
        now, watch = self._clock(), self._watch
        taken = await self._database.run(lambda tx: watch.take(tx, before=now - watch.every, now=now))
        self._took_all = len(taken) < TAKEN_MAX
        self._count += len(taken)
        if taken:
            failpoints.reach("shipments.taken_up")
            log.info("shipments.taken_up", watch=self._name, count=len(taken))
            self._waiting.extend(await self._not_done_together(taken))

    async def _not_done_together(self, taken: Sequence[ShipmentKey]) -> Sequence[ShipmentKey]:
        if self._watch.together is None:
            return taken
        try:
            with trace.follow("", ""):
                await self._watch.together(self._steps, taken)
        except Exception as error:  # noqa: BLE001 - one by one it turns out whose fault it is
            log.warning("shipments.taken_apart", watch=self._name, count=len(taken), cause=repr(error))
            return taken
        return []

    async def _take_up(self, tenant_id: str, shipment_id: str) -> None:
        try:
            await self._watch.step(self._steps, tenant_id, shipment_id)
        except RetryLater as trouble:
            log.info("shipment.left", shipment_id=shipment_id, watch=self._name, cause=str(trouble))
        except Fault as fault:
            if fault.code == "unavailable":
                raise
            log.warning("shipment.left", shipment_id=shipment_id, watch=self._name, cause=fault.code)
        except Exception:  # noqa: BLE001 - whatever one shipment meets, the others go on
            log.exception("shipment.left", shipment_id=shipment_id, watch=self._name)
