"""NATS JetStream: the connection, the streams and durable consumers, and their one idempotent declaration.

Streams and consumers are declared by `skutrail migrate`; a service only binds to what is declared. JetStream is
transport: whatever it loses is in an outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from chassis.logs import log

CONNECT_RETRY_S = 0.5
FIRST_CONNECTION_S = 1.0
CLOSE_S = 2
CLOSED_BYTES = 1  # no message of ours is as short
_STREAM_NAME_IN_USE = 10058


@dataclass(frozen=True)
class StreamSpec:
    """A stream, every limit explicit. It carries what its consumers have not acknowledged yet, and nothing else.

    `discard new`: when they do not keep up and it is full, it refuses, and the outbox waits; nothing is lost.
    """

    name: str
    subjects: tuple[str, ...]
    bytes_max: int = 512 * 1024 * 1024
    age_max: timedelta = timedelta(days=7)
    message_bytes_max: int = 1024 * 1024
    duplicate_window: timedelta = timedelta(minutes=2)
    replicas: int = 1

    def config(self) -> StreamConfig:
        return StreamConfig(
            name=self.name,
            subjects=list(self.subjects),
            retention=RetentionPolicy.INTEREST,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_bytes=self.bytes_max,
            max_age=self.age_max.total_seconds(),
            max_msg_size=self.message_bytes_max,
            duplicate_window=self.duplicate_window.total_seconds(),
            num_replicas=self.replicas,
        )


@dataclass(frozen=True)
class ConsumerSpec:
    """A durable pull consumer. Redelivery has no bound here: what cannot be handled is parked, never dropped."""

    stream: str
    name: str
    subjects: tuple[str, ...]
    ack_wait: timedelta = timedelta(seconds=30)
    # Counts those that wait for their next try too: once full, their neighbours are not delivered any more.
    in_flight_max: int = 10_000

    def config(self) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self.name,
            filter_subjects=list(self.subjects),
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait.total_seconds(),
            max_ack_pending=self.in_flight_max,
            max_deliver=-1,
        )


async def declare(nats_url: str, streams: Sequence[StreamSpec], consumers: Sequence[ConsumerSpec]) -> None:
    """Creates what is missing and updates what differs. Safe to run at any time, by several at once.

    A new stream takes its first message when its consumers are there: an earlier one would be for nobody, and gone.
    """
    async with connected(nats_url) as js:
        for stream in streams:
            await _prepare_stream(js, stream.config())
        for consumer in consumers:
            await js.add_consumer(consumer.stream, consumer.config())  # creates or updates a durable
        for stream in streams:
            await js.update_stream(stream.config())
            log.info("stream.declared", stream=stream.name)


@asynccontextmanager
async def connected(nats_url: str) -> AsyncIterator[JetStreamContext]:
    """A connection for one piece of work. Raises nats.errors.Error or OSError when there is nobody to connect to."""
    options = {"connect_timeout": 2, "max_reconnect_attempts": 2, "reconnect_time_wait": 0.3}
    client = await nats.connect(nats_url, error_cb=_log_error, **options)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def _prepare_stream(js: JetStreamContext, config: StreamConfig) -> None:
    """Brings a stream up to date, or makes one that refuses every message as too long."""
    closed = config.evolve(max_msg_size=CLOSED_BYTES)
    try:
        found = await js.stream_info(str(config.name))
    except nats.js.errors.NotFoundError:
        await _add_stream(js, closed)
    else:
        await js.update_stream(closed if found.config.max_msg_size == CLOSED_BYTES else config)


async def _add_stream(js: JetStreamContext, config: StreamConfig) -> None:
    try:
        await js.add_stream(config)
    except nats.js.errors.BadRequestError as error:
        if error.err_code != _STREAM_NAME_IN_USE:  # somebody else has made it meanwhile, and opened it already
            raise


class Nats:
    """A connection that is made in the background, re-made for ever, and waited for by those who need it."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._client: Client | None = None
        self._connected = asyncio.Event()
        self.closed = asyncio.Event()
        self._connecting = asyncio.create_task(self._connect())

    def is_up(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def jetstream(self) -> JetStreamContext:
        """The context once connected; a connection that breaks later is mended underneath.

        Raises nats.errors.ConnectionClosedError when there is none after FIRST_CONNECTION_S.
        """
        try:
            async with asyncio.timeout(FIRST_CONNECTION_S):
                await self._connected.wait()
        except TimeoutError as error:
            raise nats.errors.ConnectionClosedError from error
        assert self._client is not None
        return self._client.jetstream(timeout=2)

    async def close(self) -> None:
        """Sends what is still buffered, acks above all, and leaves."""
        self._connecting.cancel()
        await asyncio.wait([self._connecting])
        if self._client is None:
            return
        # Not drain(): of a pull subscription it waits for a queue that is never counted down, until its time is over.
        try:
            await self._client.flush(CLOSE_S)
        except (nats.errors.Error, TimeoutError) as error:
            log.warning("nats.not_flushed", cause=type(error).__name__)
        await self._client.close()

    async def _connect(self) -> None:
        while self._client is None:
            client = Client()
            try:
                await client.connect(self._url, **self._options())
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("nats.away", cause=type(error).__name__)
                await asyncio.sleep(CONNECT_RETRY_S)
            except asyncio.CancelledError:
                await client.close()  # it may have a socket already
                raise
            else:
                self._client = client
        self._connected.set()

    def _options(self) -> dict[str, Any]:
        # The library's defaults give up after two minutes and notice a half-open peer after six.
        return {
            "name": self._name,
            "connect_timeout": 2,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.3,
            "ping_interval": 5,
            "max_outstanding_pings": 2,
            "error_cb": _log_error,
            "closed_cb": self._on_closed,
            "allow_reconnect": True,
        }

    async def _on_closed(self) -> None:
        self.closed.set()


async def _log_error(error: Exception) -> None:
    log.warning("nats.error", cause=type(error).__name__, detail=str(error)[:200])
