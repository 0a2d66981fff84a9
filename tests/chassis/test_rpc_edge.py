"""What every call passes: a deadline, a trace, nothing internal on the way out, and a drain that waits."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import pytest
import structlog

from chassis import rpc, trace
from chassis.database import Database
from chassis.errors import Fault
from skutrail.v1 import orders_pb2, orders_pb2_grpc
from tests.chassis.probes import Admin, is_true, serving, until

GET = orders_pb2.GetOrderRequest(tenant_id="acc_1:test")
ORDER = orders_pb2.Order(id="ord_1")
# What must not get out.
SECRET = "postgresql://skutrail_orders:hunter2@10.0.0.7/skutrail_orders"

Method = Callable[[orders_pb2.GetOrderRequest, rpc.Context], Awaitable[orders_pb2.Order]]


class Orders(orders_pb2_grpc.OrdersServicer):
    """Answers by whatever the test hands it."""

    def __init__(self, method: Method) -> None:
        self._method = method

    async def GetOrder(self, request: orders_pb2.GetOrderRequest, context: rpc.Context) -> orders_pb2.Order:
        return await self._method(request, context)


async def answer(_: orders_pb2.GetOrderRequest, __: rpc.Context) -> orders_pb2.Order:
    return ORDER


@dataclass
class Slow:
    """A method that shows when it began, holds on until released, and cleans up at its leisure."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    may_clean_up: asyncio.Event = field(default_factory=asyncio.Event)
    is_clean: bool = False

    async def __call__(self, _: orders_pb2.GetOrderRequest, __: rpc.Context) -> orders_pb2.Order:
        try:
            self.began.set()
            await self.release.wait()
            return ORDER
        finally:
            await self.may_clean_up.wait()
            self.is_clean = True


async def test_a_call_without_a_deadline_is_refused() -> None:
    async with serving(Orders(answer)) as served:
        with pytest.raises(grpc.aio.AioRpcError, match="needs a deadline") as refusal:
            await served.stub.GetOrder(GET)

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_call_with_too_little_time_left_is_not_begun() -> None:
    began = asyncio.Event()

    async def begin(_: orders_pb2.GetOrderRequest, __: rpc.Context) -> orders_pb2.Order:
        began.set()
        return ORDER

    async with serving(Orders(begin)) as served:
        await rpc.call(served.stub.GetOrder, GET)  # the connection is warm
        began.clear()
        with pytest.raises(Fault, match="deadline_exceeded"):
            await rpc.call(served.stub.GetOrder, GET, timeout_s=rpc.REMAINING_MIN_S * 0.9)

    assert not began.is_set()


async def test_what_a_defect_says_stays_inside_and_is_logged_once() -> None:
    async def fail(_: orders_pb2.GetOrderRequest, __: rpc.Context) -> orders_pb2.Order:
        raise ValueError(f"cannot connect to {SECRET}")

    with structlog.testing.capture_logs() as lines:
        async with serving(Orders(fail)) as served:
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await served.stub.GetOrder(GET, timeout=5)

    assert told.value.code() is grpc.StatusCode.INTERNAL
    everything = f"{told.value.details()} {told.value.trailing_metadata()} {told.value.debug_error_string()}"
    assert "hunter2" not in everything
    assert "ValueError" not in everything
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["call.failed"]


async def test_a_cancellation_that_escapes_a_handler_does_not_leave_its_caller_hanging() -> None:
    async def give_up(_: orders_pb2.GetOrderRequest, __: rpc.Context) -> orders_pb2.Order:
        raise asyncio.CancelledError

    async with serving(Orders(give_up)) as served, asyncio.timeout(10):
        with pytest.raises(Fault, match="unavailable"):
            await rpc.call(served.stub.GetOrder, GET, timeout_s=60)


async def test_a_deadline_that_passes_ends_the_handler_and_tells_that_the_outcome_is_unknown() -> None:
    slow = Slow()
    slow.may_clean_up.set()

    async with serving(Orders(slow)) as served:
        with pytest.raises(Fault, match="deadline_exceeded"):
            await rpc.call(served.stub.GetOrder, GET, timeout_s=0.2)
        await until(lambda: slow.is_clean)

    assert not slow.release.is_set()


async def test_the_deadline_handed_on_is_shorter_than_the_callers() -> None:
    remaining: list[float] = []

    async def tell(_: orders_pb2.GetOrderRequest, context: rpc.Context) -> orders_pb2.Order:
        remaining.append(context.time_remaining() or 0)
        return ORDER

    async with serving(Orders(tell)) as behind:

        async def hand_on(request: orders_pb2.GetOrderRequest, context: rpc.Context) -> orders_pb2.Order:
            remaining.append(context.time_remaining() or 0)
            return await rpc.call(behind.stub.GetOrder, request, timeout_s=60)

        async with serving(Orders(hand_on)) as front:
            await rpc.call(front.stub.GetOrder, GET, timeout_s=5)

    ours, theirs = remaining
    assert ours - 1 < theirs < ours - rpc.DEADLINE_MARGIN_S / 2  # gRPC counts in whole milliseconds


async def test_request_id_and_trace_travel_over_every_hop() -> None:
    seen: list[trace.Trace] = []

    async def tell(_: orders_pb2.GetOrderRequest, __: rpc.Context) -> orders_pb2.Order:
        seen.append(trace.current())
        return ORDER

    async with serving(Orders(tell)) as behind:

        async def hand_on(request: orders_pb2.GetOrderRequest, context: rpc.Context) -> orders_pb2.Order:
            await tell(request, context)
            return await rpc.call(behind.stub.GetOrder, request)

        async with serving(Orders(hand_on)) as front:
            with trace.follow("req_1", trace.new_traceparent()) as ours:
                await rpc.call(front.stub.GetOrder, GET)

    assert seen == [ours, ours]


async def test_stop_refuses_what_is_new_and_waits_for_the_clean_up_of_what_was_given_up() -> None:
    slow = Slow()
    async with serving(Orders(slow)) as served:
        call = asyncio.create_task(rpc.call(served.stub.GetOrder, GET, timeout_s=60))
        await slow.began.wait()

        call.cancel()  # the caller leaves; the handler is still busy with its finally block
        stopping = asyncio.create_task(served.server.stop())
        with pytest.raises(Fault, match="unavailable"):
            await rpc.call(served.stub.GetOrder, GET, timeout_s=5)

        assert not stopping.done()
        slow.may_clean_up.set()
        await stopping
        assert slow.is_clean


async def test_a_call_under_way_is_answered_while_the_server_stops() -> None:
    slow = Slow()
    slow.may_clean_up.set()
    async with serving(Orders(slow)) as served:
        call = asyncio.create_task(rpc.call(served.stub.GetOrder, GET, timeout_s=60))
        await slow.began.wait()

        stopping = asyncio.create_task(served.server.stop())
        async with rpc.channel(f"127.0.0.1:{served.server.port}") as late:
            assert not await rpc.is_serving(late)
        slow.release.set()

        assert await call == ORDER
        await stopping


async def test_two_servers_cannot_share_a_port_unnoticed() -> None:
    async with serving(Orders(answer)) as served:
        second = rpc.Server(f"127.0.0.1:{served.server.port}", ready=is_true)
        with pytest.raises(RuntimeError, match="bind"):
            await second.start(lambda _: None, [])
        await second.stop()


async def test_readiness_follows_the_database_and_liveness_does_not(database: Database, admin: Admin) -> None:
    async with serving(Orders(answer), ready=database.is_up) as served:
        await until(served.is_ready)

        await admin.shut()
        try:
            await until(served.is_unready)
            assert await rpc.is_serving(served.channel, rpc.LIVENESS)
            assert await rpc.is_serving(served.channel, rpc.STARTUP)
        finally:
            await admin.open()
        await until(served.is_ready)


async def test_a_readiness_check_that_breaks_is_not_ready_and_is_asked_again() -> None:
    answers = iter([True])

    async def ready() -> bool:
        return next(answers, None) or _break()

    async with serving(Orders(answer), ready=ready) as served:
        await until(served.is_ready)
        await until(served.is_unready)

        answers = iter([True] * 1_000)
        await until(served.is_ready)


def _break() -> bool:
    raise RuntimeError("a defect in the check")


async def test_what_a_handler_refused_is_not_sent_again_by_the_channel() -> None:
    calls = 0

    async def refuse(_: orders_pb2.GetOrderRequest, __: rpc.Context) -> orders_pb2.Order:
        nonlocal calls
        calls += 1
        raise Fault("unavailable", "The database is away or busy. Try again.")

    async with serving(Orders(refuse)) as served:
        with pytest.raises(Fault, match="unavailable"):
            await rpc.call(served.stub.GetOrder, GET)

    assert calls == 1
