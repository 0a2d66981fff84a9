"""How the document tells refusals: the schema of a problem (RFC 9457), and one example for each code."""

from __future__ import annotations

from collections.abc import Mapping

from chassis.errors import ERRORS, NUMERIC_FACTS, Fault, FieldFault
from gateway import problems
from gateway.openapi_schemas import Schema, record

_REQUEST_ID = "req_01m83ets61f97sqaxcch3crgw8"

_EXAMPLES = (
    Fault("malformed_json", "Expecting value at line 1, column 9."),
    Fault(
        "invalid_parameter",
        "Not valid: limit.",
        fields=[FieldFault("limit", "wrong_type", "Must be a whole number.")],
    ),
    Fault("cursor_invalid", "The cursor is not valid here: forged, expired, or made for other filters."),
    Fault("idempotency_key_invalid", "A key is 1 to 255 visible ASCII characters."),
    Fault("idempotency_key_required", "Send an Idempotency-Key with every POST."),
    Fault("authentication_required", "Send an API key: Authorization: Bearer sk_..."),
    Fault("invalid_api_key", "The API key is not valid."),
    Fault("not_found", "There is no such object."),
    Fault("route_not_found", "There is no such path."),
    Fault("method_not_allowed", "This path takes GET, HEAD.", allow="GET, HEAD"),
    Fault("not_acceptable", "This path answers with application/json."),
    Fault("request_timeout", "The body did not arrive within 10 seconds."),
    Fault("insufficient_stock", "5 requested, 3 available.", requested=5, available=3),
    Fault("invalid_state", "The shipment is shipped: canceled does not apply.", current_status="shipped"),
    Fault("version_conflict", "The balance is 112, not 115.", expected=115, actual=112),
    Fault("idempotency_key_in_use", "The first request with this key still runs.", retry_after_s=1),
    Fault("content_too_large", "A body has at most 1048576 bytes."),
    Fault("unsupported_media_type", "Send the body as application/json in UTF-8.", accept="application/json"),
    Fault(
        "validation_failed",
        "One field is not valid.",
        fields=[FieldFault("/qty", "wrong_type", "Must be a whole number.")],
    ),
    Fault("idempotency_key_reused", "This Idempotency-Key was used for another request."),
    Fault("rate_limited", "The limit is 250/10s.", retry_after_s=3),
    Fault("internal_error", "Something went wrong on our side."),
    Fault("unavailable", "A service is away. Try again.", retry_after_s=1),
    Fault("deadline_exceeded", "The outcome is unknown. Repeat the request with the same key."),
)

# For the components of the document.
EXAMPLES: Mapping[str, Schema] = {
    fault.code: {"summary": fault.kind.title, "value": problems.problem(fault, _REQUEST_ID)} for fault in _EXAMPLES
}


def schema() -> Schema:
    """As gateway.problems tells it: at the end the facts, by their names."""
    text, number = {"type": "string"}, {"type": "integer"}
    error = record(
        {"pointer": text, "parameter": text, "code": text, "detail": text}, may_lack=("pointer", "parameter")
    )
    facts: dict[str, Schema] = {
        **dict.fromkeys(("accept", "accept_encoding", "allow", "current_status"), text),
        **dict.fromkeys(NUMERIC_FACTS, number),
        "away": {"type": "array", "items": text},
        "after": text,
    }
    return record(
        {
            "type": text,
            "title": text,
            "status": number,
            "detail": text,
            "code": {"type": "string", "enum": list(ERRORS)},
            "request_id": text,
            "errors": {"type": "array", "items": error},
            **dict(sorted(facts.items())),
        },
        may_lack=("errors", *facts),
    )
