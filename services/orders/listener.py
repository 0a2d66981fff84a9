"""In, by event: every kind of news of a shipment is folded the same way, because it carries the whole snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chassis import wire
from chassis.clock import Clock
from chassis.consumer import Handler
from chassis.database import Database
from chassis.ids import IdMaker
from chassis.outbox import Relay
from chassis.trace import Trace
from services.orders import operations
from services.orders.events import shipment_of
from services.orders.operations import News
from skutrail.v1 import events_pb2

_SHIPMENT_NEWS = ("created", "allocated", "backordered", "label_ready", "shipped", "delivered", "canceled", "failed")


class Listener:
    def __init__(self, database: Database, relay: Relay, clock: Clock, new_id: IdMaker) -> None:
        self._database = database
        self._relay = relay
        self._clock = clock
        self._new_id = new_id

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {f"shipment.{news}": lambda event: self.fold([event]) for news in _SHIPMENT_NEWS}

    async def fold(self, events: Sequence[events_pb2.Event]) -> None:
        """All of them or, where one cannot be folded, none."""
        news = [_news_in(event) for event in events]
        announced = await self._database.run_pipelined(
            lambda pipeline: operations.fold(pipeline, news, self._clock(), self._new_id)
        )
        if announced:
            self._relay.nudge()


def _news_in(event: events_pb2.Event) -> News:
    snapshot = shipment_of(event.shipment, told_at=wire.moment(event.occurred_at))
    return News(event.tenant_id, event.shipment.order_id, snapshot, Trace(traceparent=event.traceparent))
