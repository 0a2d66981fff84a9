"""Takes events from a durable consumer, hands each to its operation, and alone decides ack, nak and parking.

Each worker asks for one message at a time, so an event never waits for a batch to fill, and a poisoned or slow one
never holds up its neighbours. Order is therefore not promised here: handlers compare versions.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from chassis import parking, trace
from chassis.clock import pause
from chassis.database import Database
from chassis.errors import Fault
from chassis.jetstream import ConsumerSpec, Nats
from chassis.logs import log
from skutrail.v1 import events_pb2

Handler = Callable[[events_pb2.Event], Awaitable[None]]

WORKERS = 8
FETCH_S = 2.0  # also how long a stop may wait for an idle worker
RETRY_S = 0.5
POISON_DELIVERIES_MAX = 5  # an event whose handler is broken is parked after so many tries
RETRY_DELAY_MAX_S = 30.0
ERROR_LENGTH_MAX = 2_000


class RetryLater(Exception):
    """A handler met trouble that time heals: the event comes again, without ever being parked."""


class Consumer:
    """Runs the handlers of one durable consumer: {event type: handler}. Types without a handler are acked unseen."""

    def __init__(
        self, nats_connection: Nats, spec: ConsumerSpec, handlers: Mapping[str, Handler], database: Database
    ) -> None:
        self.name = f"consumer.{spec.name}"
        self._nats = nats_connection
        self._spec = spec
        self._handlers = handlers
        self._database = database
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Takes nothing new; what is under way is finished."""
        self._stopping.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(self._work())

    async def _work(self) -> None:
        subscription: JetStreamContext.PullSubscription | None = None
        while not self._stopping.is_set():
            try:
                if subscription is None:
                    js = await self._nats.jetstream()
                    subscription = await js.pull_subscribe_bind(self._spec.name, self._spec.stream)
                for message in await subscription.fetch(1, timeout=FETCH_S):
                    await self._settle(message)
            except nats.errors.TimeoutError:
                continue  # nothing came
            except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
                log.warning("consumer.away", consumer=self._spec.name, cause=type(error).__name__)
                await pause(RETRY_S * random.uniform(0.5, 1.5), unless=self._stopping)  # noqa: S311 - jitter, not a secret

    async def _settle(self, message: Msg) -> None:
        """Ack after the effect is committed; nak with a growing delay on trouble; park what stays broken."""
        deliveries = message.metadata.num_delivered
        try:
            await self._handle(message)
        except RetryLater as trouble:
            await _again(message, deliveries, str(trouble))
        except asyncio.CancelledError:
            # A call inside the handler was given up. It would end this worker, and nobody would notice.
            if _is_being_cancelled():
                raise
            await _again(message, deliveries, "canceled")
        except Fault as fault:
            if fault.kind.is_retryable:
                await _again(message, deliveries, fault.code)
            else:
                await self._park_or_retry(message, deliveries, fault)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, its neighbours go on
            await self._park_or_retry(message, deliveries, error)
        else:
            await message.ack()

    async def _handle(self, message: Msg) -> None:
        if not parking.is_for(self._spec.name, message.headers):
            return
        event = events_pb2.Event.FromString(message.data)
        handler = self._handlers.get(event.type)
        if handler is None:
            return
        with trace.follow("", event.traceparent, event_id=event.id, tenant_id=event.tenant_id):
            async with asyncio.timeout(self._spec.ack_wait.total_seconds() * 0.8):
                await handler(event)
            log.info("event.handled", consumer=self._spec.name, type=event.type)

    async def _park_or_retry(self, message: Msg, deliveries: int, error: Exception) -> None:
        if isinstance(error, TimeoutError) or deliveries < POISON_DELIVERIES_MAX:
            log.warning("event.failed", consumer=self._spec.name, subject=message.subject, exc_info=error)
            await _again(message, deliveries, type(error).__name__)
            return
        try:
            await self._park(message, error)
        except Exception:  # noqa: BLE001 - what is not parked stays in the stream, and its neighbours go on
            log.exception("event.not_parked", consumer=self._spec.name, subject=message.subject)
            await _again(message, deliveries, "not parked")
            return
        await message.ack()

    async def _park(self, message: Msg, error: Exception) -> None:
        park = partial(
            parking.park,
            consumer=self._spec.name,
            event_id=parking.id_of(message.headers, message.metadata.sequence.stream),
            subject=message.subject,
            payload=message.data,
            error=_storable(f"{type(error).__name__}: {error}")[:ERROR_LENGTH_MAX],
        )
        await self._database.run(park)
        log.error("event.parked", consumer=self._spec.name, subject=message.subject, exc_info=error)


def _storable(error: str) -> str:
    """PostgreSQL's text takes no NUL and no lone surrogate."""
    return error.encode(errors="backslashreplace").decode().replace("\0", "\\0")


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _again(message: Msg, deliveries: int, cause: str) -> None:
    delay_s = min(0.2 * 2 ** min(deliveries, 10), RETRY_DELAY_MAX_S)
    log.info("event.postponed", subject=message.subject, cause=cause, delay_s=delay_s, deliveries=deliveries)
    await message.nak(delay=delay_s)
