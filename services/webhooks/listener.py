"""In, by event: every public event becomes one delivery per subscription that asked for it."""

from collections.abc import Callable, Mapping

from chassis.clock import Clock
from chassis.consumer import Handler
from chassis.database import Database
from chassis.ids import IdMaker
from services.webhooks import operations
from services.webhooks.domain import EVENT_TYPES
from skutrail.v1 import events_pb2


class Listener:
    """`deliveries_written` is called after the commit, so that the sender looks at once."""

    def __init__(
        self, database: Database, *, clock: Clock, make_id: IdMaker, deliveries_written: Callable[[], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._make_id = make_id
        self._deliveries_written = deliveries_written

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return dict.fromkeys(EVENT_TYPES, self.fan_out)

    async def fan_out(self, event: events_pb2.Event) -> None:
        written = await self._database.run(
            lambda tx: operations.fan_out(tx, event, now=self._clock(), make_id=self._make_id)
        )
        if written:
            self._deliveries_written()
