"""The headers of answers. Which answer bears which is for openapi.py to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.openapi_schemas import Schema

_NUMBER = {"type": "integer", "minimum": 0}


def _always(description: str) -> Schema:
    """One that is there wherever it is told."""
    return {"description": description, "required": True, "schema": {"type": "string"}}


def _maybe(description: str, schema: Mapping[str, Any] | None = None) -> Schema:
    return {"description": description, "schema": schema or {"type": "string"}}


BUDGET = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "RateLimit-Policy")

HEADERS: Mapping[str, Schema] = {
    "Request-Id": _always("Names this answer, in the log as well."),
    "Location": _always("The path of what was made, or of where to go."),
    "ETag": _always("Of the document: send it back in If-None-Match."),
    "WWW-Authenticate": _always("The scheme, and what is wrong with what was sent."),
    "X-RateLimit-Limit": _maybe("Requests per window. Absent where no limit was looked at.", _NUMBER),
    "X-RateLimit-Remaining": _maybe("Requests that are left.", _NUMBER),
    "X-RateLimit-Reset": _maybe("When all of them are back, in Unix seconds.", _NUMBER),
    "RateLimit": _maybe("draft-ietf-httpapi-ratelimit-headers: what is left."),
    "RateLimit-Policy": _maybe("draft-ietf-httpapi-ratelimit-headers: the limit."),
    "Idempotency-Key": _maybe("The key that the request ran under. Absent where the header was refused."),
    "Idempotent-Replayed": _maybe(
        "`true` for the stored answer of an earlier request with the same key; else absent.", {"const": "true"}
    ),
    "Accept": _maybe("What the body may be, where it was something else."),
    "Accept-Encoding": _maybe("How the body may be coded, where it was coded otherwise."),
    "Retry-After": _maybe("Seconds after which to repeat the request.", _NUMBER),
}
