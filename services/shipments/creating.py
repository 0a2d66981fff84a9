"""Shipments that are asked for: many in one transaction, each under its key, and none harmed by another.

Operates on a Pipeline: two round trips however many they are, the last of them the commit. writer.py calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from chassis import outbox
from chassis.clock import Clock
from chassis.errors import Fault
from chassis.idempotency import KEY_WAIT_MS, BatchKeys, Claim, StoredAnswer
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from chassis.trace import Trace
from services.shipments import domain, requests, store
from services.shipments.domain import Shipment, ShipmentRequest
from services.shipments.events import Announcer
from skutrail.v1 import events_pb2, shipments_pb2


class Wish(NamedTuple):
    """A shipment that is wanted, the key it is created under, and the request that wants it."""

    request: ShipmentRequest
    claim: Claim
    cause: Trace


async def create_shipments(
    pipeline: Pipeline,
    wishes: Sequence[Wish],
    *,
    announcer: Announcer,
    clock: Clock,
    new_id: IdMaker,
    key_wait_ms: int = KEY_WAIT_MS,
) -> list[shipments_pb2.CreateShipmentReply | Fault]:
    """Creates each shipment, or refuses it, or replays what its key was told; one answer per wish, in order.

    What is decided is told to the pipeline: it is true once that is committed. `validation_failed`, with every fault of
    the request, leaves the key free. For a key that still runs elsewhere the commit waits `key_wait_ms`.
    """
    now = clock()
    refusals = {index: fault for index, wish in enumerate(wishes) if (fault := _refusal(wish.request, now))}
    # A key that two requests share is the valid one's: the other leaves it free.
    first = sorted(range(len(wishes)), key=lambda index: index in refusals)
    keys = BatchKeys((wishes[index].claim for index in first), now, key_wait_ms)
    [known] = await pipeline.ask(keys.looking())
    await keys.learn(known, pipeline)
    creating = _Creating(announcer, now, new_id)
    answers = [creating.answer(wish, keys.told(wish.claim), refusals.get(index)) for index, wish in enumerate(wishes)]
    if creating.created:
        pipeline.tell(*store.inserting(creating.created))
        outbox.tell(pipeline, creating.news)
        keys.tell(pipeline, creating.kept)
    return answers


class _Creating:
    """Wishes being granted, one after the other."""

    def __init__(self, announcer: Announcer, now: datetime, new_id: IdMaker) -> None:
        self._announcer = announcer
        self._now = now
        self._new_id = new_id
        self.created: list[Shipment] = []
        self.news: list[events_pb2.Event] = []
        self.kept: dict[Claim, shipments_pb2.CreateShipmentReply] = {}

    def answer(
        self, wish: Wish, told: StoredAnswer | Fault | None, refusal: Fault | None
    ) -> shipments_pb2.CreateShipmentReply | Fault:
        # What its key was told comes first: a request that was valid then may not be any more.
        if told is not None:
            return _replay(told)
        if twin := self.kept.get(wish.claim):
            return shipments_pb2.CreateShipmentReply(shipment=twin.shipment, replayed=True)
        return refusal or self._create(wish)

    def _create(self, wish: Wish) -> shipments_pb2.CreateShipmentReply:
        shipment, announced = domain.create(wish.request, shipment_id=self._new_id("shp"), now=self._now)
        self.created.append(shipment)
        self.news += self._announcer.events(announced, wish.cause)
        reply = shipments_pb2.CreateShipmentReply(shipment=self._announcer.snapshot(shipment, self._now))
        self.kept[wish.claim] = reply
        return reply


def _refusal(request: ShipmentRequest, now: datetime) -> Fault | None:
    try:
        requests.check(request, now)
    except Fault as fault:
        return fault
    return None


def _replay(told: StoredAnswer | Fault) -> shipments_pb2.CreateShipmentReply | Fault:
    if isinstance(told, Fault):
        return told
    if told.fault is not None:
        return told.fault
    reply = shipments_pb2.CreateShipmentReply.FromString(told.reply or b"")
    reply.replayed = True
    return reply
