"""How the carrier says no: a stable code with its HTTP status, and a sentence for people."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from chassis.logs import log

STATUS_OF: Mapping[str, int] = {
    "malformed": 400,
    "idempotency_key_required": 400,
    "reference_required": 400,
    "not_found": 404,
    "label_used": 409,
    "label_voided": 409,
    "invalid": 422,
    "idempotency_key_reused": 422,
    "address_rejected": 422,
    "rate_limited": 429,
    "broken": 500,
}


class Refusal(Exception):
    """What is asked for is not done. `code` is one of STATUS_OF."""

    def __init__(self, code: str, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


@web.middleware
async def as_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Makes application/problem+json of every refusal, aiohttp's own too."""
    try:
        return await handler(request)
    except Refusal as refusal:
        headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
        return _problem(STATUS_OF[refusal.code], refusal.code, refusal.detail, headers)
    except web.HTTPException as raised:
        return _problem(raised.status, raised.reason.lower().replace(" ", "_"), raised.reason)
    except Exception:  # noqa: BLE001 - the last line of defence: a defect is answered and logged
        log.exception("request.failed", path=request.path)
        return _problem(500, "broken", "The carrier has a defect.")


def _problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = json.dumps({"status": status, "code": code, "detail": detail})
    return web.Response(status=status, text=body, content_type="application/problem+json", headers=headers)
