"""In, by event: every public event becomes one delivery per subscription that asked for it."""

from collections.abc import Callable, Mapping, Sequence

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
        return dict.fromkeys(EVENT_TYPES, lambda event: self.fan_out([event]))

    async def fan_out(self, events: Sequence[events_pb2.Event]) -> None:
        try:
            written = await self._database.run_pipelined(
                lambda pipeline: operations.fan_out(pipeline, events, now=self._clock(), make_id=self._make_id)
            )
        except operations.TooManyDeliveries:
            middle = len(events) // 2
            await self.fan_out(events[:middle])
            await self.fan_out(events[middle:])
            return
        if written:
            self._deliveries_written()
