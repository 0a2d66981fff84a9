"""From an HTTP request to a Call, or to the refusal: who, in which representation, with which query, body and key."""

from __future__ import annotations

import re

from aiohttp import web
from aiohttp.typedefs import Handler

from chassis.errors import Fault
from gateway import body, idempotency, media, query
from gateway.call import UPSTREAM, Access, Call, Route
from gateway.intake import INTAKE
from gateway.keys import ApiKey
from skutrail.v1 import common_pb2

# Set by middleware.py before a request comes to the door.
CALLER: web.RequestKey[ApiKey | Fault] = web.RequestKey("CALLER")
IDEMPOTENCY_KEY = web.RequestKey("IDEMPOTENCY_KEY", str)

# Whether the operator wants every POST to bring a key of its own.
KEY_IS_REQUIRED = web.AppKey("KEY_IS_REQUIRED", bool)

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


def through(route: Route) -> Handler:
    """The route's handler, behind the checks that every route of /v1 shares."""

    async def enter(request: web.Request) -> web.StreamResponse:
        with request.app[INTAKE].holding(request):
            return await route.handler(await _call(route, request))

    return enter


async def _call(route: Route, request: web.Request) -> Call:
    tenant_id = _tenant_of(route, request)
    media.refuse_unacceptable(request, route.produces)
    raw_query = request.raw_path.partition("?")[2]
    asked = query.read(route.query, raw_query)
    if "id" in request.match_info and not _ID.fullmatch(request.match_info["id"]):
        raise Fault("not_found", "There is no such object.")
    upstream = request.app[UPSTREAM]
    if route.method not in ("POST", "PUT", "PATCH"):
        return Call(tenant_id, upstream, request, asked, None, None)
    parsed = await _parsed_body(route, request)
    if route.method != "POST":  # what it asks for is the same the second time: it needs no key
        return Call(tenant_id, upstream, request, asked, parsed.value, None)
    return Call(tenant_id, upstream, request, asked, parsed.value, _key(route, request, raw_query, parsed.canonical))


def read_idempotency_key(request: web.Request) -> str:
    sent = request.headers.getall("Idempotency-Key", [])
    return idempotency.read_key(sent, is_required=request.app[KEY_IS_REQUIRED])


def _tenant_of(route: Route, request: web.Request) -> str:
    caller = request[CALLER]
    if isinstance(caller, ApiKey):
        return caller.tenant_id
    has_token = route.access is Access.KEY_OR_LINK and "token" in request.query
    if has_token and caller.code == "authentication_required":
        return ""
    raise caller


async def _parsed_body(route: Route, request: web.Request) -> body.Body:
    if not route.is_bare:
        media.refuse_unsupported(request)
        return body.parse(await request.app[INTAKE].read(request))
    sent = await request.app[INTAKE].read(request)
    if not sent:
        return body.EMPTY_OBJECT  # whatever Content-Type says of nothing
    media.refuse_unsupported(request)
    return body.parse(sent)


def _key(route: Route, request: web.Request, raw_query: str, canonical: bytes) -> common_pb2.IdempotencyKey:
    # middleware.py has read the header already, and left nothing where it was refused: then this says why.
    key = request.get(IDEMPOTENCY_KEY) or read_idempotency_key(request)
    fingerprint = idempotency.fingerprint(
        route=f"{route.method} {route.path}", path=request.path, query=raw_query, body=canonical
    )
    return common_pb2.IdempotencyKey(key=key, fingerprint=fingerprint)
