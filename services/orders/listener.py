"""In, by event: every kind of news of a shipment is folded the same way, because it carries the whole snapshot."""

from __future__ import annotations

from collections.abc import Mapping

from chassis import wire
from chassis.clock import Clock
from chassis.consumer import Handler
from chassis.database import Database
from chassis.ids import IdMaker
from chassis.outbox import Relay
from services.orders import operations
from services.orders.events import shipment_of
from skutrail.v1 import events_pb2

_SHIPMENT_NEWS = ("created", "allocated", "backordered", "label_ready", "shipped", "delivered", "canceled", "failed")


def handlers(database: Database, relay: Relay, clock: Clock, new_id: IdMaker) -> Mapping[str, Handler]:
    async def fold(event: events_pb2.Event) -> None:
        shipment = shipment_of(event.shipment, told_at=wire.moment(event.occurred_at))
        changed = await database.run(
            lambda tx: operations.fold_shipments(
                tx, event.tenant_id, event.shipment.order_id, [shipment], clock(), new_id
            )
        )
        if changed:
            relay.nudge()

    return {f"shipment.{news}": fold for news in _SHIPMENT_NEWS}
