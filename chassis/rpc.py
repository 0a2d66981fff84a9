"""gRPC: the server every service runs, and the channels and calls between them.

One interceptor stands before every method: it demands a deadline, follows the request's trace, maps faults, keeps
everything else inside, counts what is under way and writes one log line per call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from chassis import trace
from chassis.clock import pause
from chassis.errors import Fault, from_rpc_error, to_status
from chassis.logs import log

Reply = TypeVar("Reply", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]

# Names of the health service: "" once started, readiness with its dependencies, liveness of the event loop alone.
STARTUP, READINESS, LIVENESS = "", "readiness", "liveness"

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
DEADLINE_DEFAULT_S = 2.0
DEADLINE_MARGIN_S = 0.02  # what a hop keeps for itself when it hands its deadline on
REMAINING_MIN_S = 0.05  # a call with less left is refused before it starts
DRAIN_S = 20.0
CALLS_MAX = 1_000  # under way at once; more are refused, and are tried again by their channel

# When the call under way must have ended, in seconds of time.monotonic(); None outside of any call.
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)

_KEEPALIVE = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
]
_SERVER_OPTIONS = [
    *_KEEPALIVE,
    ("grpc.so_reuseport", 0),  # two servers on one port would share its calls without a word
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # Clients come back and resolve anew: that is how an added replica gets its share.
    ("grpc.max_connection_age_ms", 60_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    ("grpc.max_metadata_size", 65_536),
]
_RETRY_UNAVAILABLE = """{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "0.5s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]
  }}]
}"""
_CHANNEL_OPTIONS = [
    *_KEEPALIVE,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    ("grpc.max_metadata_size", 65_536),
    ("grpc.absolute_max_metadata_size", 131_072),
    ("grpc.service_config", _RETRY_UNAVAILABLE),
]


class Server:
    """A gRPC server with health and reflection. `ready` is asked every second and told to whoever asks health."""

    def __init__(self, listen: str, ready: Callable[[], Awaitable[bool]]) -> None:
        self._in_flight = _InFlight()
        self._server = grpc.aio.server(
            interceptors=[_Edge(self._in_flight)], options=_SERVER_OPTIONS, maximum_concurrent_rpcs=CALLS_MAX
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._listen = listen
        self._ready = ready
        self._watch: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, add_servicer: Callable[[grpc.aio.Server], None], service_names: Sequence[str]) -> None:
        add_servicer(self._server)
        reflection.enable_server_reflection(
            [*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        self.port = self._server.add_insecure_port(self._listen)
        for name in (STARTUP, LIVENESS):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._health.set(READINESS, health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.start()
        self._watch = asyncio.create_task(self._watch_readiness())

    async def stop(self) -> None:
        """Says NOT_SERVING, refuses what is new, and waits for what is under way, its clean-up included."""
        if self._watch is not None:
            self._watch.cancel()
        await self._health.set(READINESS, health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.stop(DRAIN_S)
        # The server returns before its handlers have left their last finally block.
        await self._in_flight.wait_until_idle(5.0)

    async def _watch_readiness(self) -> None:
        was = None
        while True:
            is_ready = await self._is_ready()
            if is_ready != was:
                log.info("readiness.changed", ready=is_ready)
                status = health_pb2.HealthCheckResponse
                await self._health.set(READINESS, status.SERVING if is_ready else status.NOT_SERVING)
            was = is_ready
            await asyncio.sleep(1.0)

    async def _is_ready(self) -> bool:
        try:
            return await self._ready()
        except Exception:  # noqa: BLE001 - a check that breaks must not leave the last answer standing for ever
            log.exception("readiness.unknown")
            return False


class _InFlight:
    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        self._count += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if self._count == 0:
            self._idle.set()

    async def wait_until_idle(self, seconds: float) -> None:
        if not await pause(seconds, unless=self._idle):
            log.error("drain.incomplete", in_flight=self._count)


class _Edge(grpc.aio.ServerInterceptor):
    """What every unary method passes."""

    def __init__(self, in_flight: _InFlight) -> None:
        self._in_flight = in_flight

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None or handler.unary_unary is None or details.method.startswith("/grpc."):
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._guarded(handler.unary_unary, details.method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _guarded(self, method: Any, name: str) -> Any:
        async def call(request: Message, context: Context) -> Message:
            metadata = dict(context.invocation_metadata() or ())
            request_id, parent = str(metadata.get("x-request-id", "")), str(metadata.get("traceparent", ""))
            with self._in_flight, trace.follow(request_id, parent, tenant_id=getattr(request, "tenant_id", "")):
                return await _answer(method, name, request, context)

        return call


async def _answer(method: Any, name: str, request: Message, context: Context) -> Message:
    started = time.perf_counter()
    code = "ok"
    try:
        _demand_deadline(context)
        reply: Message = await method(request, context)
    except Fault as fault:
        code = fault.code
        await context.abort_with_status(_final(to_status(fault)))
        raise
    except asyncio.CancelledError:
        code = "canceled"
        # A cancellation that the caller did not cause would otherwise leave it hanging for ever (grpc#29248).
        if not context.cancelled():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the call was given up")
        raise
    except Exception:
        code = "internal_error"
        log.exception("call.failed", method=name)
        await context.abort_with_status(_final(to_status(_INTERNAL)))
        raise
    else:
        return reply
    finally:
        log.info("call", method=name, code=code, duration_ms=round((time.perf_counter() - started) * 1000, 2))


@dataclass(frozen=True)
class _Status(grpc.Status):
    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def _final(status: status_pb2.Status) -> _Status:
    """What we refuse we refuse once: only what never reached a handler is for the channel to try again."""
    plain = rpc_status.to_status(status)
    return _Status(plain.code, plain.details, (*(plain.trailing_metadata or ()), ("grpc-retry-pushback-ms", "-1")))


_INTERNAL = Fault("internal_error", "Something went wrong on our side.")


def _demand_deadline(context: Context) -> None:
    remaining = context.time_remaining()
    if remaining is None:
        raise Fault("validation_failed", "Every call needs a deadline.")
    if remaining < REMAINING_MIN_S:
        raise Fault("deadline_exceeded", "Too little time is left for this call.")
    _deadline.set(time.monotonic() + remaining)


def channel(address: str) -> grpc.aio.Channel:
    """A channel to a service: `host:port` or `dns:///name:port`, round robin over what the name resolves to."""
    return grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)


async def call(
    method: Callable[..., Awaitable[Reply]], request: Message, *, timeout_s: float = DEADLINE_DEFAULT_S
) -> Reply:
    """Calls a stub's method as part of the current trace, within the caller's own deadline. Raises Fault."""
    current = trace.current()
    metadata = (("x-request-id", current.request_id), ("traceparent", current.traceparent))
    try:
        return await method(request, timeout=_within_deadline(timeout_s), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


def _within_deadline(timeout_s: float) -> float:
    deadline = _deadline.get()
    if deadline is None:
        return timeout_s
    return max(min(timeout_s, deadline - time.monotonic() - DEADLINE_MARGIN_S), 0.001)


async def is_serving(address_channel: grpc.aio.Channel, name: str = READINESS, timeout_s: float = 1.0) -> bool:
    """Asks a service's health. False when it says no or does not say anything."""
    try:
        request = health_pb2.HealthCheckRequest(service=name)
        reply = await health_pb2_grpc.HealthStub(address_channel).Check(request, timeout=timeout_s)  # type: ignore[attr-defined]
    except grpc.aio.AioRpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
