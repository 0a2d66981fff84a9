"""Serves the requests that wait for stock, in the order of rank, as soon as the stock is there; ends what is due.

It asks the state: which waiting requests could be served now. Woken at once by a commit of this process that may
have freed stock, and by itself every INTERVAL_S for what other replicas, crashes and restarts left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from chassis import failpoints, trace
from chassis.clock import Clock, pause
from chassis.database import Database
from chassis.errors import Fault
from chassis.ids import IdMaker
from chassis.logs import log
from chassis.outbox import Relay
from chassis.pipeline import Pipeline
from services.inventory import allocating, queue_store, request_store
from services.inventory.request_store import RequestKey
from services.inventory.store import Query

INTERVAL_S = 1.0
REST_S = 0.05  # between two looks in vain: under load each commit of a movement asks for one
BATCH_MAX = 100
IN_VAIN_MAX = 2  # of a batch, tried alone: the first may be locked by somebody, or too much by itself
PUT_OFF_FOR = timedelta(seconds=10)  # who failed alone: the looks until then begin with others
PUT_OFF_MAX = 1_000

Look = Callable[[datetime, int], Query]
Move = Callable[[Pipeline, Sequence[RequestKey], Clock, IdMaker], Awaitable[int]]


class Waker:
    name = "waker"

    def __init__(self, database: Database, relay: Relay, clock: Clock, new_id: IdMaker) -> None:
        self._database = database
        self._relay = relay
        self._clock = clock
        self._new_id = new_id
        self._not_expired, self._not_served = _PutOff(), _PutOff()
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
                    moved = await self.expire_due() + await self.serve_waiting()
            except Fault as fault:
                log.warning("waking.postponed", cause=fault.code)
                moved = 0
            if not moved:
                await asyncio.sleep(REST_S)
                await pause(INTERVAL_S, unless=self._nudge)

    async def expire_due(self) -> int:
        """Ends a batch of the requests whose time is over; returns how many."""
        ended = await self._move(request_store.expired, allocating.expire, self._not_expired)
        if ended:
            failpoints.reach("inventory.expired")
            log.info("requests.expired", count=ended)
        return ended

    async def serve_waiting(self) -> int:
        """Serves a batch of those that can be served, in the order of rank; returns how many were."""
        served = await self._move(queue_store.serveable, allocating.serve, self._not_served)
        if served:
            failpoints.reach("inventory.served")
            log.info("requests.served", count=served)
        return served

    async def _move(self, look: Look, move: Move, put_off: _PutOff) -> int:
        """Where all together fail, each has its own try: one must not hold up the others. Who failed alone is left out
        for a while, and then the last: nor may it in the looks to come."""
        now = self._clock()
        [rows] = await self._database.run_pipelined(lambda p: p.ask(look(now, BATCH_MAX + len(put_off))))
        first, again = put_off.sort([(row.tenant_id, row.request_id) for row in rows], now)
        del first[BATCH_MAX:]
        if len(first) > 1 and not self._stopping:
            with suppress(Fault):  # it was logged; then each has its own try
                return await self._try(move, first) + await self._move_each(move, again, put_off)
        return await self._move_each(move, [*first, *again], put_off)

    async def _move_each(self, move: Move, keys: Sequence[RequestKey], put_off: _PutOff) -> int:
        """What several meet is the trouble of all: each would wait for the same, and nobody be served meanwhile."""
        moved = in_vain = 0
        for key in keys:
            if self._stopping or in_vain == IN_VAIN_MAX:
                break
            try:
                moved += await self._try(move, [key])
                put_off.forget(key)
            except Fault as fault:
                in_vain += fault.code == "unavailable"
                put_off.add(key, self._clock() + PUT_OFF_FOR)
        return moved

    async def _try(self, move: Move, keys: Sequence[RequestKey]) -> int:
        """Raises Fault, whatever they met."""
        try:
            moved = await self._database.run_pipelined(lambda p: move(p, keys, self._clock, self._new_id))
        except Fault as fault:
            log.warning("requests.not_moved", request_id=keys[0][1], count=len(keys), cause=fault.code)
            raise
        except Exception as error:
            log.exception("requests.not_moved", request_id=keys[0][1], count=len(keys))
            raise Fault("internal_error", "A request could not be moved.") from error
        if moved:
            self._relay.nudge()
        return moved


class _PutOff:
    """Those that failed alone, until when they are left out: the one that was put off first comes first."""

    def __init__(self) -> None:
        self._until: dict[RequestKey, datetime] = {}

    def __len__(self) -> int:
        return len(self._until)

    def sort(self, keys: Sequence[RequestKey], now: datetime) -> tuple[list[RequestKey], list[RequestKey]]:
        """Those that were not put off, in their order, and those that were and are due. Who is not among the keys any
        more is forgotten."""
        asked = set(keys)
        self._until = {key: until for key, until in self._until.items() if key in asked}
        return [key for key in keys if key not in self._until], [k for k, until in self._until.items() if until <= now]

    def add(self, key: RequestKey, until: datetime) -> None:
        self.forget(key)
        if len(self) == PUT_OFF_MAX:
            self.forget(next(iter(self._until)))
        self._until[key] = until

    def forget(self, key: RequestKey) -> None:
        self._until.pop(key, None)
