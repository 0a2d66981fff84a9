"""In, by event: which step follows which event. Why repetition and disorder are harmless: steps.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chassis.consumer import Consumer, Handler, SomeLater, Together
from chassis.database import Database
from chassis.jetstream import ConsumerSpec, Nats
from services.shipments import topology
from services.shipments.label_steps import Left
from services.shipments.steps import Steps
from services.shipments.store import ShipmentKey
from skutrail.v1 import events_pb2

# One takes up to 64 labels under way at once. A second would make no label quicker, and cost commits: what waits
# shares the next round. And where there is more than the machine can do, stock goes before labels.
WORKERS = {topology.LABEL_STEPS: 1, topology.VOID_STEPS: 1}


def handlers(steps: Steps) -> Mapping[ConsumerSpec, Mapping[str, Handler]]:
    """Per consumer: {event type: step}."""

    async def allocate(event: events_pb2.Event) -> None:
        await steps.allocate(event.tenant_id, event.shipment.id)

    async def release_stock(event: events_pb2.Event) -> None:
        await steps.release_stock(event.tenant_id, event.shipment.id)

    async def buy_labels(event: events_pb2.Event) -> None:
        await steps.buy_labels(event.tenant_id, event.shipment.id)

    async def void_labels(event: events_pb2.Event) -> None:
        await steps.void_labels(event.tenant_id, event.shipment.id)

    async def follow_stock(event: events_pb2.Event) -> None:
        await steps.follow_stock([(event.tenant_id, event.allocation)])

    return {
        topology.STOCK_STEPS: {
            "shipment.created": allocate,
            "shipment.canceled": release_stock,
            "shipment.failed": release_stock,
        },
        topology.LABEL_STEPS: {"shipment.allocated": buy_labels},
        topology.VOID_STEPS: {
            "shipment.backordered": void_labels,
            "shipment.canceled": void_labels,
            "shipment.failed": void_labels,
        },
        topology.STOCK_NEWS: {"allocation.changed": follow_stock},
    }


def together(steps: Steps) -> Mapping[ConsumerSpec, Together]:
    """Of the consumers whose events are taken many at a time: what is done with them."""

    async def take_stock_steps(events: Sequence[events_pb2.Event]) -> None:
        created = [event for event in events if event.type == "shipment.created"]
        await steps.allocate_all([_key(event) for event in created])
        for event in events:
            if event.type != "shipment.created":
                await steps.release_stock(event.tenant_id, event.shipment.id)

    async def take_stock_news(events: Sequence[events_pb2.Event]) -> None:
        await steps.follow_stock([(event.tenant_id, event.allocation) for event in events])

    async def take_label_steps(events: Sequence[events_pb2.Event]) -> None:
        _come_again(events, await steps.labels.buy_all([_key(event) for event in events]))

    async def take_void_steps(events: Sequence[events_pb2.Event]) -> None:
        _come_again(events, await steps.labels.void_all([_key(event) for event in events]))

    return {
        topology.STOCK_STEPS: take_stock_steps,
        topology.STOCK_NEWS: take_stock_news,
        topology.LABEL_STEPS: take_label_steps,
        topology.VOID_STEPS: take_void_steps,
    }


def consumers(nats: Nats, database: Database, steps: Steps) -> list[Consumer]:
    at_once = together(steps)
    return [
        Consumer(nats, spec, by_type, database, at_once.get(spec), WORKERS.get(spec))
        for spec, by_type in handlers(steps).items()
    ]


def _key(event: events_pb2.Event) -> ShipmentKey:
    return event.tenant_id, event.shipment.id


def _come_again(events: Sequence[events_pb2.Event], left: Left) -> None:
    troubles = {event.id: left[_key(event)] for event in events if _key(event) in left}
    if troubles:
        raise SomeLater(troubles)
