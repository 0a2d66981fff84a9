"""One error type, three dialects: what a caller is told survives the wire, and what it must not know does not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
import pytest

from chassis import rpc
from chassis.errors import (
    ERRORS,
    FIELD_FAULTS_MAX,
    Fault,
    FieldFault,
    from_message,
    from_rpc_error,
    to_message,
)
from skutrail.v1 import orders_pb2, orders_pb2_grpc
from tests.chassis.probes import Stub, serving

# What the reference promises (HTTP statuses), and what AIP-193 and the reference give each code in gRPC.
# One code was added to it: request_timeout.
PROMISED = {
    "malformed_json": (400, None),
    "invalid_parameter": (400, "INVALID_ARGUMENT"),
    "cursor_invalid": (400, "INVALID_ARGUMENT"),
    "idempotency_key_invalid": (400, None),
    "idempotency_key_required": (400, None),
    "authentication_required": (401, "UNAUTHENTICATED"),
    "invalid_api_key": (401, "UNAUTHENTICATED"),
    "not_found": (404, "NOT_FOUND"),
    "route_not_found": (404, None),
    "method_not_allowed": (405, None),
    "not_acceptable": (406, None),
    "request_timeout": (408, "DEADLINE_EXCEEDED"),
    "insufficient_stock": (409, "FAILED_PRECONDITION"),
    "invalid_state": (409, "FAILED_PRECONDITION"),
    "version_conflict": (409, "ABORTED"),
    "idempotency_key_in_use": (409, "ABORTED"),
    "content_too_large": (413, None),
    "unsupported_media_type": (415, None),
    "validation_failed": (422, "INVALID_ARGUMENT"),
    "idempotency_key_reused": (422, "FAILED_PRECONDITION"),
    "rate_limited": (429, "RESOURCE_EXHAUSTED"),
    "internal_error": (500, "INTERNAL"),
    "unavailable": (503, "UNAVAILABLE"),
    "deadline_exceeded": (504, "DEADLINE_EXCEEDED"),
}
SAFE_TO_RETRY = {
    *("request_timeout", "idempotency_key_in_use", "rate_limited"),
    *("internal_error", "unavailable", "deadline_exceeded"),
}
FIFTY = [FieldFault(f"/line_items/{n}/qty", "out_of_range", f"must be 1 to {n} – " + "x" * 200) for n in range(50)]


@dataclass
class Refuser(orders_pb2_grpc.OrdersServicer):
    """An orders service that answers every call with one fault."""

    fault: Fault = field(default_factory=lambda: Fault("not_found", "There is no such order."))

    async def GetOrder(self, request: orders_pb2.GetOrderRequest, context: rpc.Context) -> orders_pb2.Order:
        raise self.fault


@dataclass
class Line:
    """A refuser and a stub that calls it over loopback."""

    refuser: Refuser
    stub: Stub

    async def told(self, fault: Fault) -> Fault:
        self.refuser.fault = fault
        with pytest.raises(Fault) as told:
            await rpc.call(self.stub.GetOrder, orders_pb2.GetOrderRequest(), timeout_s=10)
        return told.value


@pytest.fixture(scope="module")
async def line() -> AsyncIterator[Line]:
    refuser = Refuser()
    async with serving(refuser) as served:
        yield Line(refuser, served.stub)


def test_the_table_is_the_published_one() -> None:
    assert {code: kind.http_status for code, kind in ERRORS.items()} == {code: p[0] for code, p in PROMISED.items()}
    assert {code for code, kind in ERRORS.items() if kind.is_retryable} == SAFE_TO_RETRY
    for code, (_, status) in PROMISED.items():
        assert status is None or ERRORS[code].grpc_status.name == status, code


@pytest.mark.parametrize("code", ERRORS)
async def test_every_code_survives_the_wire_with_its_facts_and_fields(line: Line, code: str) -> None:
    sent = Fault(
        code,
        "Grüße: 100% of “it”,\nin two lines.",
        fields=[FieldFault("/a~1b/0", "out_of_range", "must be – 1")],
        request_id="req_1",
        requested=5,
        available=-3,
        retry_after_s=1,
        current_status="shipped",
    )

    told = await line.told(sent)

    assert (told.code, told.detail, told.fields, told.request_id) == (code, sent.detail, sent.fields, "req_1")
    assert told.facts == {"requested": 5, "available": -3, "retry_after_s": 1, "current_status": "shipped"}


async def test_fifty_fields_are_more_than_gRPC_carries_by_default_and_arrive(line: Line) -> None:
    sent = Fault("validation_failed", "The request is not valid.", fields=FIFTY)
    assert len(to_message(sent).SerializeToString()) > 8 * 1024

    assert (await line.told(sent)).fields == tuple(FIFTY)


def test_the_fifty_first_field_is_left_out() -> None:
    fault = Fault("validation_failed", "The request is not valid.", fields=[*FIFTY, FIFTY[0]])

    assert len(fault.fields) == FIELD_FAULTS_MAX == 50


def test_a_stored_refusal_reads_as_it_was_written() -> None:
    sent = Fault("insufficient_stock", "3 are available.", fields=FIFTY[:2], requested=5, available=3)

    kept = from_message(to_message(sent, "req_1"))

    assert (kept.code, kept.detail, kept.facts, kept.fields) == (sent.code, sent.detail, sent.facts, sent.fields)
    assert kept.request_id == "req_1"


def test_business_refusals_are_kept_and_what_time_or_the_caller_mends_is_not() -> None:
    kept = {code for code in ERRORS if Fault(code, "").is_kept}

    assert kept == {"not_found", "route_not_found", "insufficient_stock", "invalid_state", "version_conflict"}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("UNAVAILABLE", "unavailable"),
        ("CANCELLED", "unavailable"),
        ("DEADLINE_EXCEEDED", "deadline_exceeded"),
        ("INTERNAL", "internal_error"),
        ("UNKNOWN", "internal_error"),
        ("RESOURCE_EXHAUSTED", "unavailable"),
        ("UNIMPLEMENTED", "internal_error"),
        ("PERMISSION_DENIED", "internal_error"),
    ],
)
def test_what_the_transport_says_is_told_in_our_words_alone(status: str, code: str) -> None:
    none = grpc.aio.Metadata()
    error = grpc.aio.AioRpcError(grpc.StatusCode[status], none, none, details="ipv4:10.1.2.3:5432 refused")

    fault = from_rpc_error(error)

    assert fault.code == code
    assert "10.1.2.3" not in fault.detail


async def test_nobody_listening_is_unavailable() -> None:
    async with rpc.channel("127.0.0.1:1") as channel:
        with pytest.raises(Fault, match="unavailable"):
            await rpc.call(orders_pb2_grpc.OrdersStub(channel).GetOrder, orders_pb2.GetOrderRequest())
