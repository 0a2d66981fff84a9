"""The one error type, and the one table that turns its code into an HTTP status and a gRPC status.

Anything that is not a `Fault` is a defect: callers see `internal_error`, the log sees the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from chassis.logs import log
from skutrail.v1 import common_pb2

DOMAIN = "skutrail"
FIELD_FAULTS_MAX = 50  # more would outgrow what gRPC carries in a trailer


@dataclass(frozen=True)
class ErrorKind:
    http_status: int
    grpc_status: grpc.StatusCode
    title: str
    is_retryable: bool = False


_S = grpc.StatusCode

# Everything a caller can be told, by its stable code.
ERRORS: Mapping[str, ErrorKind] = {
    "malformed_json": ErrorKind(400, _S.INVALID_ARGUMENT, "The body is not strict JSON"),
    "invalid_parameter": ErrorKind(400, _S.INVALID_ARGUMENT, "A query or path parameter is not valid"),
    "cursor_invalid": ErrorKind(400, _S.INVALID_ARGUMENT, "The cursor is not valid here"),
    "idempotency_key_invalid": ErrorKind(400, _S.INVALID_ARGUMENT, "The Idempotency-Key is not valid"),
    "idempotency_key_required": ErrorKind(400, _S.INVALID_ARGUMENT, "An Idempotency-Key is required"),
    "authentication_required": ErrorKind(401, _S.UNAUTHENTICATED, "Authentication is required"),
    "invalid_api_key": ErrorKind(401, _S.UNAUTHENTICATED, "The API key is not valid"),
    "not_found": ErrorKind(404, _S.NOT_FOUND, "There is no such object"),
    "route_not_found": ErrorKind(404, _S.UNIMPLEMENTED, "There is no such path"),
    "method_not_allowed": ErrorKind(405, _S.UNIMPLEMENTED, "The path does not take this method"),
    "not_acceptable": ErrorKind(406, _S.INVALID_ARGUMENT, "No acceptable representation"),
    "request_timeout": ErrorKind(408, _S.DEADLINE_EXCEEDED, "The request did not arrive in time", True),
    "insufficient_stock": ErrorKind(409, _S.FAILED_PRECONDITION, "There is not enough stock"),
    "invalid_state": ErrorKind(409, _S.FAILED_PRECONDITION, "The object's state does not allow this"),
    "version_conflict": ErrorKind(409, _S.ABORTED, "A precondition did not hold"),
    "idempotency_key_in_use": ErrorKind(409, _S.ABORTED, "The first request with this key still runs", True),
    "content_too_large": ErrorKind(413, _S.INVALID_ARGUMENT, "The body is too large"),
    "unsupported_media_type": ErrorKind(415, _S.INVALID_ARGUMENT, "The media type is not supported"),
    "validation_failed": ErrorKind(422, _S.INVALID_ARGUMENT, "The request is not valid"),
    "idempotency_key_reused": ErrorKind(422, _S.FAILED_PRECONDITION, "The key was used for another request"),
    "rate_limited": ErrorKind(429, _S.RESOURCE_EXHAUSTED, "Too many requests", True),
    "internal_error": ErrorKind(500, _S.INTERNAL, "An internal error", True),
    "unavailable": ErrorKind(503, _S.UNAVAILABLE, "Temporarily unavailable", True),
    "deadline_exceeded": ErrorKind(504, _S.DEADLINE_EXCEEDED, "The deadline passed; the outcome is unknown", True),
}

# Facts that are numbers in JSON; every other fact is a string.
NUMERIC_FACTS = frozenset({"requested", "available", "expected", "actual", "retry_after_s"})


@dataclass(frozen=True)
class FieldFault:
    """One fault of a body: `pointer` is a JSON pointer such as /line_items/0/qty, `code` is stable."""

    pointer: str
    code: str
    detail: str


class Fault(Exception):
    """A refusal or failure that a caller may see. `code` is a key of ERRORS; facts are for programs."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        fields: Sequence[FieldFault] = (),
        request_id: str = "",
        **facts: str | int,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.kind = ERRORS[code]
        self.code = code
        self.detail = detail
        self.fields = tuple(fields[:FIELD_FAULTS_MAX])
        self.facts = dict(sorted(facts.items()))
        # Set on a refusal that was stored: its replay names the request that was refused first.
        self.request_id = request_id

    @property
    def http_status(self) -> int:
        return self.kind.http_status

    @property
    def is_kept(self) -> bool:
        """True for a business refusal: it is stored under its idempotency key and stays refused."""
        return self.http_status in (404, 409) and not self.kind.is_retryable


def to_message(fault: Fault, request_id: str = "") -> common_pb2.Fault:
    return common_pb2.Fault(
        code=fault.code,
        detail=fault.detail,
        facts={name: str(value) for name, value in fault.facts.items()},
        fields=[common_pb2.FieldFault(pointer=f.pointer, code=f.code, detail=f.detail) for f in fault.fields],
        request_id=request_id or fault.request_id,
    )


def from_message(message: common_pb2.Fault) -> Fault:
    return Fault(
        message.code,
        message.detail,
        fields=[FieldFault(f.pointer, f.code, f.detail) for f in message.fields],
        request_id=message.request_id,
        **_typed_facts(message.facts),
    )


def _typed_facts(facts: Mapping[str, str]) -> dict[str, str | int]:
    # Sorted: a protobuf map has an order of its own in every process, and a replayed refusal must have the same bytes.
    return {name: int(value) if name in NUMERIC_FACTS else value for name, value in sorted(facts.items())}


def to_status(fault: Fault) -> status_pb2.Status:
    """The google.rpc.Status of a fault: ErrorInfo names the code, BadRequest the fields (AIP-193)."""
    facts = {name: str(value) for name, value in fault.facts.items()}
    if fault.request_id:
        facts["request_id"] = fault.request_id
    details = [_packed(error_details_pb2.ErrorInfo(reason=fault.code.upper(), domain=DOMAIN, metadata=facts))]
    if fault.fields:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=f.pointer, reason=f.code, description=f.detail)
            for f in fault.fields
        ]
        details.append(_packed(error_details_pb2.BadRequest(field_violations=violations)))
    code = code_pb2.Code.Value(fault.kind.grpc_status.name)
    return status_pb2.Status(code=code, message=fault.detail, details=details)


def _packed(detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def from_rpc_error(error: grpc.aio.AioRpcError) -> Fault:
    """Reads the fault out of a failed call. What carries no ErrorInfo of ours is transport trouble or a defect."""
    status = _rich_status(error)
    info, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status is not None else ():
        _ = detail.Unpack(info) or detail.Unpack(fields)
    code = info.reason.lower()
    if info.domain != DOMAIN or code not in ERRORS:
        return _transport_fault(error)
    facts = dict(info.metadata)
    request_id = facts.pop("request_id", "")
    faults = [FieldFault(v.field, v.reason, v.description) for v in fields.field_violations]
    detail_text = error.details() or ERRORS[code].title
    return Fault(code, detail_text, fields=faults, request_id=request_id, **_typed_facts(facts))


def _rich_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:  # the details belong to another status than the transport reports: they are not to be believed
        return None


def _transport_fault(error: grpc.aio.AioRpcError) -> Fault:
    # RESOURCE_EXHAUSTED: the server has too many calls under way.
    if error.code() in (_S.UNAVAILABLE, _S.CANCELLED, _S.RESOURCE_EXHAUSTED):
        return Fault("unavailable", "A service is away. Try again.", retry_after_s=1)
    if error.code() is _S.DEADLINE_EXCEEDED:
        return Fault("deadline_exceeded", "The outcome is unknown. Repeat the request with the same key.")
    log.error("call.broken", code=error.code().name, detail=error.details())
    return Fault("internal_error", "Something went wrong on our side.")
