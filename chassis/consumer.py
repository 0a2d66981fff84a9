"""Takes events from a durable consumer, hands each to its operation, and alone decides ack, nak and parking.

Each worker asks for one message at a time, so an event never waits for a batch to fill, and a poisoned or slow one
never holds up its neighbours. Order is therefore not promised here: handlers compare versions. A message may carry
many events; each is tried, and parked, by itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import nats.errors
import nats.js.errors
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from chassis import failpoints, outbox, parking, trace
from chassis.clock import pause
from chassis.database import Database
from chassis.errors import Fault
from chassis.jetstream import ConsumerSpec, Nats
from chassis.logs import log
from skutrail.v1 import events_pb2

Handler = Callable[[events_pb2.Event], Awaitable[None]]
Together = Callable[[Sequence[events_pb2.Event]], Awaitable[None]]

WORKERS = 8
WORKERS_TOGETHER = 2
MESSAGES_MAX, EVENTS_MAX = 16, 256  # taken at once, and handed over at once: a message may be a bundle
MORE_S = 0.1
FETCH_S = 2.0  # also how long a stop may wait for an idle worker
RETRY_S = 0.5
POISON_DELIVERIES_MAX = 5  # an event whose handler is broken is parked after so many tries
RETRY_DELAY_MAX_S = 30.0
ERROR_LENGTH_MAX = 2_000


@dataclass(frozen=True)
class Trouble:
    """Why an event must come again, and when."""

    cause: str
    delay_s: float | None = None
    """By default longer each time. What gets on, and only takes several goes, need not wait."""

    def waits_s(self, deliveries: int) -> float:
        return min(0.2 * 2 ** min(deliveries, 10), RETRY_DELAY_MAX_S) if self.delay_s is None else self.delay_s


class RetryLater(Exception):
    """A handler met trouble that time heals: the event comes again, without ever being parked."""

    def __init__(self, cause: str, delay_s: float | None = None) -> None:
        super().__init__(cause)
        self.trouble = Trouble(cause, delay_s)


class SomeLater(Exception):
    """Of events that were handed over together these met trouble that time heals, by the event's id.

    All others were handled.
    """

    def __init__(self, troubles: Mapping[str, Trouble]) -> None:
        super().__init__(f"{len(troubles)} come again")
        self.troubles = troubles


class Consumer:
    """Runs the handlers of one durable consumer: {event type: handler}. Types without a handler are acked unseen.

    With `together` a worker takes all that is there and hands it over many at a time; where that fails, the handlers
    get the events one by one, but for SomeLater: of those the messages come again.
    """

    def __init__(
        self,
        nats_connection: Nats,
        spec: ConsumerSpec,
        handlers: Mapping[str, Handler],
        database: Database,
        together: Together | None = None,
        workers: int | None = None,
    ) -> None:
        self.name = f"consumer.{spec.name}"
        self._nats = nats_connection
        self._spec = spec
        self._handlers = handlers
        self._database = database
        self._together = together
        self._workers = workers or (WORKERS_TOGETHER if together else WORKERS)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Takes nothing new; what is under way is finished."""
        self._stopping.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._workers):
                workers.create_task(self._work())

    async def _work(self) -> None:
        subscription: JetStreamContext.PullSubscription | None = None
        while not self._stopping.is_set():
            try:
                if subscription is None:
                    js = await self._nats.jetstream()
                    subscription = await js.pull_subscribe_bind(self._spec.name, self._spec.stream)
                messages = await subscription.fetch(1, timeout=FETCH_S)
                failpoints.reach(f"{self._spec.name}.taken")
                if self._together is None:
                    await self._settle(messages[0])
                else:
                    await self._settle_together([*messages, *await _more(subscription, messages[0])])
            except nats.errors.TimeoutError:
                continue  # nothing came
            except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
                log.warning("consumer.away", consumer=self._spec.name, cause=type(error).__name__)
                await pause(RETRY_S * random.uniform(0.5, 1.5), unless=self._stopping)  # noqa: S311 - jitter, not a secret

    async def _settle_together(self, messages: Sequence[Msg]) -> None:
        troubles: dict[str, Trouble] = {}
        try:
            carried = [self._events_of_ours(message) for message in messages]
            events = [event for of_message in carried for event in of_message]
            for start in range(0, len(events), EVENTS_MAX):
                async with asyncio.timeout(self._timeout_s):
                    troubles.update(await self._hand_over(events[start : start + EVENTS_MAX]))
                await _go_on_with(messages)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
        except Exception as error:  # noqa: BLE001 - one by one it turns out whose fault it is
            log.info("events.taken_apart", consumer=self._spec.name, count=len(messages), cause=str(error)[:200])
        else:
            for message, of_message in zip(messages, carried, strict=True):
                await self._end(message, [troubles[event.id] for event in of_message if event.id in troubles])
            return
        for place, message in enumerate(messages):
            await _go_on_with(messages[place:])  # each has its full time from when it begins
            await self._settle(message, messages[place + 1 :])

    async def _hand_over(self, events: Sequence[events_pb2.Event]) -> Mapping[str, Trouble]:
        """The trouble of those that must come again, by the event's id."""
        assert self._together is not None
        if not events:
            return {}
        with trace.follow("", ""):
            try:
                await self._together(events)
            except SomeLater as later:
                return later.troubles
            log.info("events.handled", consumer=self._spec.name, count=len(events))
        return {}

    async def _settle(self, message: Msg, behind: Sequence[Msg] = ()) -> None:
        """Ack after the effects are committed; nak with a delay on trouble; park what stays broken.

        Of a bundle that comes again, those that had their effect have it no second time. Those `behind` wait for it.
        """
        deliveries = message.metadata.num_delivered
        troubles = []
        try:
            events = self._events_of_ours(message)
        except DecodeError as error:
            troubles.append(await self._park_or_retry(message, None, deliveries, error))
        else:
            # All of them, before the first trouble sends the message back: none waits for its neighbour.
            for event in events:
                troubles.append(await self._try(message, event, deliveries))
                if len(events) > 1:
                    await _go_on_with([message, *behind])
        await self._end(message, [trouble for trouble in troubles if trouble])

    async def _end(self, message: Msg, troubles: Sequence[Trouble]) -> None:
        """Its effects are committed, or trouble sends it back."""
        if troubles:
            await _again(message, troubles)
        else:
            failpoints.reach(f"{self._spec.name}.handled")
            await message.ack()

    def _events_of_ours(self, message: Msg) -> Sequence[events_pb2.Event]:
        if not parking.is_for(self._spec.name, message.headers):
            return []
        return [event for event in outbox.events_in(message.data) if event.type in self._handlers]

    async def _try(self, message: Msg, event: events_pb2.Event, deliveries: int) -> Trouble | None:
        """None once the event is handled, or parked; else the trouble for which it must come again."""
        try:
            await self._handle(event)
        except RetryLater as later:
            return later.trouble
        except asyncio.CancelledError:
            # A call inside the handler was given up. It would end this worker, and nobody would notice.
            if _is_being_cancelled():
                raise
            return Trouble("canceled")
        except Fault as fault:
            if fault.kind.is_retryable:
                return Trouble(fault.code)
            return await self._park_or_retry(message, event, deliveries, fault)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, its neighbours go on
            return await self._park_or_retry(message, event, deliveries, error)
        return None

    async def _handle(self, event: events_pb2.Event) -> None:
        with trace.follow("", event.traceparent, event_id=event.id, tenant_id=event.tenant_id):
            async with asyncio.timeout(self._timeout_s):
                await self._handlers[event.type](event)
            log.info("event.handled", consumer=self._spec.name, type=event.type)

    @property
    def _timeout_s(self) -> float:
        return self._spec.ack_wait.total_seconds() * 0.8

    async def _park_or_retry(
        self, message: Msg, event: events_pb2.Event | None, deliveries: int, error: Exception
    ) -> Trouble | None:
        if isinstance(error, TimeoutError) or deliveries < POISON_DELIVERIES_MAX:
            log.warning("event.failed", consumer=self._spec.name, subject=message.subject, exc_info=error)
            return Trouble(type(error).__name__)
        try:
            await self._park(message, event, error)
        except Exception:  # noqa: BLE001 - what is not parked stays in the stream, and its neighbours go on
            log.exception("event.not_parked", consumer=self._spec.name, subject=message.subject)
            return Trouble("not parked")
        return None

    async def _park(self, message: Msg, event: events_pb2.Event | None, error: Exception) -> None:
        """Parks an event, or a message that cannot be read."""
        park = partial(
            parking.park,
            consumer=self._spec.name,
            event_id=event.id if event else parking.id_of(message.headers, message.metadata.sequence.stream),
            subject=message.subject,
            payload=event.SerializeToString() if event else message.data,
            error=_storable(f"{type(error).__name__}: {error}")[:ERROR_LENGTH_MAX],
        )
        await self._database.run(park)
        log.error("event.parked", consumer=self._spec.name, subject=message.subject, exc_info=error)


async def _go_on_with(messages: Sequence[Msg]) -> None:
    """Much work takes long: it must not come to somebody else meanwhile."""
    for message in messages:
        await message.in_progress()


async def _more(subscription: JetStreamContext.PullSubscription, first: Msg) -> Sequence[Msg]:
    """What else lies ready: nothing is waited for, an event alone least of all."""
    ready = min(first.metadata.num_pending, MESSAGES_MAX - 1)
    if not ready:
        return []
    try:
        return await subscription.fetch(ready, timeout=MORE_S)
    except nats.errors.TimeoutError:  # another replica was faster
        return []


def _storable(error: str) -> str:
    """PostgreSQL's text takes no NUL and no lone surrogate."""
    return error.encode(errors="backslashreplace").decode().replace("\0", "\\0")


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _again(message: Msg, troubles: Sequence[Trouble]) -> None:
    """As soon as one of them wants."""
    deliveries = message.metadata.num_delivered
    trouble = min(troubles, key=lambda trouble: trouble.waits_s(deliveries))
    delay_s = trouble.waits_s(deliveries)
    log.info("event.postponed", subject=message.subject, cause=trouble.cause, delay_s=delay_s, deliveries=deliveries)
    await message.nak(delay=delay_s)
