"""What each error code means: where the `type` of every problem lands. Its status and title are chassis.errors'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby

from chassis.errors import ERRORS, ErrorKind

# When it is told, and what of the answer helps.
_WHEN: Mapping[str, str] = {
    "malformed_json": "The body is not JSON as RFC 8259 has it, in UTF-8: broken syntax, a name twice in one object, "
    "NaN or Infinity, more than 32 levels deep, a byte order mark.",
    "invalid_parameter": "A parameter of the query is unknown, missing, there twice or not what it must be, or one of "
    "the path is not. Each fault is in `errors`, with its `parameter`.",
    "cursor_invalid": "The cursor was changed, is older than 3 days, or was made for other filters or by another key's "
    "account. Begin the list anew.",
    "idempotency_key_invalid": "The header is empty, longer than 255 characters, not visible ASCII, or there twice.",
    "idempotency_key_required": "The operator wants an `Idempotency-Key` with every POST, and there was none.",
    "authentication_required": "There is no `Authorization: Bearer sk_...` header.",
    "invalid_api_key": "The key is unknown, mistyped or revoked; which of these is not told.",
    "not_found": "The id names nothing that this key may see. What belongs to another account, or to the other mode of "
    "yours, is not told from what never was.",
    "route_not_found": "The path is none of ours. There is no slash at the end of any.",
    "method_not_allowed": "The path is there and takes other methods: those that `Allow` names.",
    "not_acceptable": "The `Accept` header excludes what this path answers with: JSON, or PDF for a label.",
    "request_timeout": "The body stopped arriving. The connection is closed after this answer.",
    "insufficient_stock": "The balance would fall below zero, or into what is held for a shipment. `requested` and "
    "`available` tell how much, and `GET /v1/inventory/levels` what is on hand and what is held. Nothing was recorded.",
    "invalid_state": "What you asked for is not possible in the state it is in: `current_status` names that.",
    "version_conflict": "The `expected_balance` or `expected_seq` that you sent no longer holds: `expected` and "
    "`actual` tell the two. Read again, decide again.",
    "idempotency_key_in_use": "The first request with this key is still under way. Its answer is there for you soon.",
    "content_too_large": "The body is larger than 1 MiB.",
    "unsupported_media_type": "Send `Content-Type: application/json`, in UTF-8 and not compressed. `Accept` or "
    "`Accept-Encoding` names what is taken.",
    "validation_failed": "The body is JSON, and not what this call takes. Up to 50 faults are in `errors`, each with "
    "its JSON `pointer`. Nothing was written.",
    "idempotency_key_reused": "This key was used for another request, on this path or any other. Make a new key for "
    "every new intent.",
    "rate_limited": "The key, or without a valid key the address, has made too many requests. Nothing was done, and "
    "the idempotency key is not spent.",
    "internal_error": "A defect of ours, and logged. Tell us the `request_id`.",
    "unavailable": "A part of Skutrail is away for a moment.",
    "deadline_exceeded": "There was no answer in time, and nobody can say yet whether it was done.",
}
_OUTCOME_UNKNOWN = ("request_timeout", "internal_error", "deadline_exceeded")


def index() -> str:
    """Every code, as links, by its status."""
    rows = groupby(ERRORS.items(), key=lambda row: row[1].http_status)
    return "\n".join(f"<dt>{status}</dt><dd>{' '.join(_links(row))}</dd>" for status, row in rows)


def sections() -> str:
    """Every code, with an anchor of its name. Raises KeyError for one that nothing is written about."""
    return "\n".join(_section(code, kind) for code, kind in ERRORS.items())


def _links(row: Iterator[tuple[str, ErrorKind]]) -> Iterator[str]:
    return (f'<a href="#{code}"><code>{code}</code></a>' for code, _ in row)


def _section(code: str, kind: ErrorKind) -> str:
    return (
        f'<section id="{code}"><h2><a href="#{code}"><code>{code}</code></a> <span>{kind.http_status}</span></h2>'
        f"<p><b>{escape(kind.title)}.</b> {_marked(_WHEN[code])}</p><p>{_advice(code, kind)}</p></section>"
    )


def _marked(text: str) -> str:
    """Names between backticks become code."""
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def _advice(code: str, kind: ErrorKind) -> str:
    if code in _OUTCOME_UNKNOWN:
        return "Repeat it with the same <code>Idempotency-Key</code>: nothing happens twice."
    if kind.is_retryable:
        return "Safe to repeat, with the same key, after the seconds that <code>Retry-After</code> names."
    return "Repeating it unchanged does not help."
