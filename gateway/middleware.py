"""What every request passes: `edge` (ids, log, metrics, faults, headers) outside, `admit` (who, how often) inside.

Nothing but a Fault is ever told to a caller; whatever else is raised is logged once and answered as internal_error.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import cycle
from typing import NoReturn

from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler

from chassis import trace
from chassis.errors import Fault
from chassis.ids import new_id
from chassis.logs import log
from gateway import problems
from gateway.access import Gatekeeper
from gateway.door import CALLER, IDEMPOTENCY_KEY, read_idempotency_key
from gateway.keys import ApiKey
from gateway.limits import Budget
from gateway.metrics import Metrics
from gateway.traffic import TRAFFIC

GATEKEEPER = web.AppKey("GATEKEEPER", Gatekeeper)
METRICS = web.AppKey("METRICS", Metrics)

BUDGET = web.RequestKey("BUDGET", Budget)
REQUEST_ID = web.RequestKey("REQUEST_ID", str)

# Which requests leave a line: every one that was refused or slow, and of the others one in so many.
LOGGED = web.AppKey("LOGGED", Iterator)
SLOW_S = 1.0

PATH_LOGGED_MAX = 200
_CLIENT_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


@web.middleware
async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.version < HttpVersion10:
        return web.Response(status=505, headers={"Server": "skutrail"})
    started = time.perf_counter()
    request[REQUEST_ID] = request_id = new_id("req")
    with request.app[TRAFFIC].passing(), trace.follow(request_id, request.headers.get("traceparent", "")):
        response, code = await _answer(request, handler)
        _finish(request, response)
        _account(request, response.status, code, time.perf_counter() - started)
    return response


async def _answer(request: web.Request, handler: Handler) -> tuple[web.StreamResponse, str]:
    """The answer, and the code of the fault where it is one."""
    try:
        return await handler(request), ""
    except Exception as error:  # noqa: BLE001 - the last line of defence: see _as_fault
        fault = _as_fault(error, request)
        return problems.respond(fault, request[REQUEST_ID]), fault.code


def _as_fault(error: Exception, request: web.Request) -> Fault:
    if isinstance(error, Fault):
        return error
    if isinstance(error, web.HTTPMethodNotAllowed):
        methods = ", ".join(sorted(error.allowed_methods))
        return Fault("method_not_allowed", f"This path takes {methods}.", allow=methods)
    if isinstance(error, web.HTTPNotFound):
        return Fault("route_not_found", "There is no such path.")
    log.error("request.failed", method=request.method, path=request.path[:PATH_LOGGED_MAX], exc_info=error)
    return Fault("internal_error", "Something went wrong on our side.")


def stamp(response: web.StreamResponse, request_id: str) -> None:
    """What every answer carries."""
    response.headers["Server"] = "skutrail"
    response.headers["Request-Id"] = request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")


def _finish(request: web.Request, response: web.StreamResponse) -> None:
    stamp(response, request[REQUEST_ID])
    headers = response.headers
    client_id = request.headers.get("X-Request-Id", "")
    if _CLIENT_REQUEST_ID.fullmatch(client_id):
        headers["Client-Request-Id"] = client_id
    if IDEMPOTENCY_KEY in request:
        headers["Idempotency-Key"] = request[IDEMPOTENCY_KEY]
    if BUDGET in request:
        headers.update(request[BUDGET].headers(time.time()))
    if request.app[TRAFFIC].is_ending or response.status == 408:  # after a 408, what follows is the rest of a body
        response.force_close()


def _account(request: web.Request, status: int, code: str, seconds: float) -> None:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unmatched"
    method = request.method if route != "unmatched" else "any"  # a caller must not make up labels
    request.app[METRICS].count(method, route, status, seconds)
    sample = request.app[LOGGED]
    if status < 400 and seconds < SLOW_S and not next(sample):
        return
    log.info(
        "request",
        method=request.method,
        route=route,
        path=request.path[:PATH_LOGGED_MAX],
        status=status,
        code=code,
        duration_ms=round(seconds * 1000, 2),
        **_caller_fields(request),
    )


def one_in(every: int) -> Iterator[bool]:
    """True once in so many times, for ever."""
    return cycle([True, *[False] * (every - 1)])


def _caller_fields(request: web.Request) -> dict[str, str]:
    caller = request.get(CALLER)
    return {"tenant_id": caller.tenant_id, "key_id": caller.id} if isinstance(caller, ApiKey) else {}


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """For /v1: who calls, and whether their budget has room. Whether a key is needed is for the route to say."""
    if not request.path.startswith("/v1/"):
        return await handler(request)
    if request.method == "POST":
        _note_idempotency_key(request)
    request[CALLER], budget = await request.app[GATEKEEPER].meet(request)
    if budget is not None:
        request[BUDGET] = budget
        if budget.is_spent:
            _refuse_rate(budget)
    return await handler(request)


def _note_idempotency_key(request: web.Request) -> None:
    """Read before anything can refuse: every answer to a POST names the key it ran, or would have run, under."""
    try:
        request[IDEMPOTENCY_KEY] = read_idempotency_key(request)
    except Fault:
        return  # refused at the door, in its turn: a caller without an API key is told that first


def _refuse_rate(budget: Budget) -> NoReturn:
    raise Fault("rate_limited", f"The limit is {budget.limit}.", retry_after_s=budget.refill_s)
