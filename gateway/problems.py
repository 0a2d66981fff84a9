"""Refusals in HTTP: a Fault becomes application/problem+json (RFC 9457) with the headers its status demands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from chassis.errors import Fault, FieldFault

MEDIA_TYPE = "application/problem+json"

# Faults of these name a parameter; of every other, a place in the body.
_OF_PARAMETERS = frozenset({"invalid_parameter", "cursor_invalid"})
_CHALLENGES = {
    "authentication_required": 'Bearer realm="skutrail"',
    "invalid_api_key": 'Bearer realm="skutrail", error="invalid_token"',
}
# Facts that are names, with commas between them: lists in JSON.
_LISTS = frozenset({"away"})
_HEADERS_OF_FACTS = {
    "retry_after_s": "Retry-After",
    "allow": "Allow",
    "accept": "Accept",
    "accept_encoding": "Accept-Encoding",
}


def respond(fault: Fault, request_id: str) -> web.Response:
    """The whole answer. A refusal that is replayed keeps the request id, and so the bytes, of its first telling."""
    return web.Response(
        status=fault.http_status,
        body=json.dumps(problem(fault, request_id), ensure_ascii=False).encode(),
        content_type=MEDIA_TYPE,
        headers=_headers(fault, request_id),
    )


def problem(fault: Fault, request_id: str) -> dict[str, Any]:
    errors = [_error(field, fault.code) for field in fault.fields]
    return {
        "type": f"/docs/errors#{fault.code}",
        "title": fault.kind.title,
        "status": fault.http_status,
        "detail": fault.detail,
        "code": fault.code,
        "request_id": fault.request_id or request_id,
        **({"errors": errors} if errors else {}),
        **{name: str(fact).split(", ") if name in _LISTS else fact for name, fact in fault.facts.items()},
    }


def is_replayed(fault: Fault, request_id: str) -> bool:
    return fault.request_id not in ("", request_id)


def _error(field: FieldFault, code: str) -> dict[str, str]:
    place = "parameter" if code in _OF_PARAMETERS else "pointer"
    return {place: field.pointer, "code": field.code, "detail": field.detail}


def _headers(fault: Fault, request_id: str) -> Mapping[str, str]:
    headers = {header: str(fault.facts[fact]) for fact, header in _HEADERS_OF_FACTS.items() if fact in fault.facts}
    if fault.code in _CHALLENGES:
        headers["WWW-Authenticate"] = _CHALLENGES[fault.code]
    if fault.http_status == 503:
        headers.setdefault("Retry-After", "1")
    if is_replayed(fault, request_id):
        headers["Idempotent-Replayed"] = "true"
    return headers
