"""/openapi.json: every route of the table, told to programs (OpenAPI 3.1). Made once, at the start.

Nothing is described twice: bodies and queries are their models, answers their contracts, refusals the error table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import groupby
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter

from chassis.errors import ERRORS, NUMERIC_FACTS
from gateway import idempotency, problems
from gateway.call import Access, Route
from gateway.openapi_calls import CALLS, EVENTS, UNCAUSED, Described
from gateway.openapi_examples import ANSWERED, ASKED, SENT
from gateway.openapi_groups import DESCRIPTION, GROUPS, group_of
from gateway.openapi_headers import BUDGET, HEADERS
from gateway.openapi_links import links
from gateway.openapi_schemas import Schema, Schemas, parameters, record
from gateway.pages import Listing
from gateway.requests import OrderId
from gateway.writes import Write

DOCUMENT = web.AppKey("DOCUMENT", bytes)

_REASONS = {200: "Done.", 201: "Made.", 202: "Taken; the rest follows.", 204: "Done; there is nothing to tell."}
_SENT_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "1 to 255 visible ASCII characters. Where it is absent one is made, unless the operator demands it.",
    "schema": {"type": "string", "pattern": idempotency.HEADER_PATTERN},
}
# Every id has the form of the one that callers choose themselves.
_ID = TypeAdapter(OrderId).json_schema()
_SECURITY: Mapping[Access, list[Schema]] = {
    Access.KEY: [{"api_key": []}],
    Access.KEY_OR_LINK: [{"api_key": []}, {"link": []}],
    Access.OPEN: [],
}

# What may refuse a route, by its kind.
_ANY = ("internal_error", "invalid_parameter")
_OF_V1 = (
    "authentication_required",
    "invalid_api_key",
    "not_acceptable",
    "rate_limited",
    "unavailable",
    "deadline_exceeded",
)
_OF_BODIES = (
    "malformed_json",
    "request_timeout",
    "content_too_large",
    "unsupported_media_type",
    "validation_failed",
)
_OF_KEYS = (
    "idempotency_key_invalid",
    "idempotency_key_required",
    "idempotency_key_in_use",
    "idempotency_key_reused",
)


async def show(request: web.Request) -> web.Response:
    return web.Response(body=request.app[DOCUMENT], content_type="application/json")


def render(routes: Sequence[Route]) -> bytes:
    return json.dumps(describe(routes), ensure_ascii=False).encode()


def describe(routes: Sequence[Route]) -> Schema:
    """The document. Raises KeyError for a route that openapi_calls.py does not know."""
    schemas = Schemas()
    schemas.add("Problem", _problem())
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, schemas)
    webhooks = {event: {"post": _delivery(event, schemas)} for event in EVENTS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Skutrail API", "version": version("skutrail"), "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": told} for name, told in GROUPS.items()],
        "paths": paths,
        "webhooks": webhooks,
        "components": {
            "schemas": schemas.named,
            "parameters": {"Idempotency-Key": _SENT_KEY},
            "headers": dict(HEADERS),
            "securitySchemes": {
                "api_key": {"type": "http", "scheme": "bearer", "description": "sk_test_... or sk_live_..."},
                "link": {"type": "apiKey", "in": "query", "name": "token", "description": "That of a label_url."},
            },
        },
    }


def _path(route: Route) -> str:
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)


def _operation(route: Route, schemas: Schemas) -> Schema:
    call = CALLS[f"{route.method} {_path(route)}"]
    operation: Schema = {
        "operationId": call.name,
        "summary": call.summary,
        "tags": [group_of(route.path)],
        "security": _SECURITY[route.access],
        "parameters": [_exemplified(parameter, ASKED.get(call.name, {})) for parameter in _parameters(route)],
    }
    model = route.handler.model if isinstance(route.handler, Write) else call.body
    if model is not None:
        content = {"schema": schemas.body(model), **_example(SENT, call)}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    operation["responses"] = dict(_responses(route, call, schemas))
    return operation


def _exemplified(parameter: Schema, examples: Mapping[str, str]) -> Schema:
    name = parameter.get("name", "")  # none where it is a reference
    return {**parameter, "example": examples[name]} if name in examples else parameter


def _parameters(route: Route) -> list[Schema]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": _ID} for name in re.findall(r"\{(\w+)\}", _path(route))
    ]
    keyed = [{"$ref": "#/components/parameters/Idempotency-Key"}] if route.method == "POST" else []
    return [*in_path, *parameters(route.query), *keyed]


def _responses(route: Route, call: Described, schemas: Schemas) -> Iterator[tuple[str, Schema]]:
    yield str(call.status), _success(route, call, schemas)
    if call.is_document:
        yield "304", {"description": "It is still what If-None-Match names.", "headers": _headers(route, "ETag")}
    codes = sorted(_codes(route, call), key=lambda code: ERRORS[code].http_status)
    for status, group in groupby(codes, key=lambda code: ERRORS[code].http_status):
        yield str(status), _refusal(route, list(group))


def _success(route: Route, call: Described, schemas: Schemas) -> Schema:
    more = [
        *(["Location"] if call.has_location else []),
        *(["Idempotent-Replayed"] if route.method == "POST" else []),
        *(["ETag"] if call.is_document else []),
    ]
    response: Schema = {"description": _REASONS[call.status], "headers": _headers(route, *more)}
    if call.status != 204:
        shape = {} if call.answer is None else {"schema": call.answer(schemas)}
        response["content"] = {call.media_type or route.produces: {**shape, **_example(ANSWERED, call)}}
    if leads_to := links(call.name):
        response["links"] = leads_to
    return response


def _example(examples: Any, call: Described) -> Schema:
    return {"example": examples[call.name]} if call.name in examples else {}


def _codes(route: Route, call: Described) -> Iterator[str]:
    yield from _ANY
    yield from call.refusals
    if route.access is Access.OPEN:
        return
    yield from _OF_V1
    if "{id}" in _path(route):
        yield "not_found"
    if isinstance(route.handler, Listing):
        yield "cursor_invalid"
    if route.method in ("POST", "PATCH"):
        yield from _OF_BODIES
    if route.method == "POST":
        yield from _OF_KEYS


def _refusal(route: Route, codes: list[str]) -> Schema:
    kinds = [ERRORS[code] for code in codes]
    status = kinds[0].http_status
    more = [
        *(["WWW-Authenticate"] if status == 401 else []),
        *(["Accept", "Accept-Encoding"] if status == 415 else []),
        *(["Retry-After"] if status in (429, 503) or "idempotency_key_in_use" in codes else []),
        *(["Idempotent-Replayed"] if any(kind.http_status == 409 and not kind.is_retryable for kind in kinds) else []),
    ]
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, narrowed]}
    return {
        "description": ". ".join(kind.title for kind in kinds) + ".",
        "headers": _headers(route, *more),
        "content": {problems.MEDIA_TYPE: {"schema": schema}},
    }


def _headers(route: Route, *more: str) -> Schema:
    names = [
        "Request-Id",
        *(BUDGET if route.access is not Access.OPEN else ()),
        *(("Idempotency-Key",) if route.method == "POST" else ()),
        *more,
    ]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem() -> Schema:
    """RFC 9457, as gateway.problems tells it; facts follow, and numbers are those of NUMERIC_FACTS."""
    text, number = {"type": "string"}, {"type": "integer"}
    error = record(
        {"pointer": text, "parameter": text, "code": text, "detail": text}, may_lack=("pointer", "parameter")
    )
    facts = dict.fromkeys(sorted(NUMERIC_FACTS), number)
    return record(
        {
            "type": text,
            "title": text,
            "status": number,
            "detail": text,
            "code": {"type": "string", "enum": list(ERRORS)},
            "request_id": text,
            "errors": {"type": "array", "items": error},
            **facts,
        },
        may_lack=("errors", *facts),
    )


def _delivery(event: str, schemas: Schemas) -> Schema:
    """What is posted to a subscriber (Standard Webhooks)."""
    text = {"type": "string"}
    moment = {"type": "string", "format": "date-time"}
    body = record({"id": text, "type": {"const": event}, "timestamp": moment, "data": EVENTS[event](schemas)})
    signed = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "operationId": event.replace(".", "_"),
        "summary": "Posted to every webhook that asked for it",
        **({"description": "Nothing causes it yet."} if event in UNCAUSED else {}),
        "security": [],
        "parameters": [{"name": name, "in": "header", "required": True, "schema": text} for name in signed],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "2XX": {"description": "Taken: it is not sent again."},
            "410": {"description": "Nobody is here any more: the webhook is disabled."},
        },
    }
