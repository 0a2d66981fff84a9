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

from chassis.errors import ERRORS, Fault
from gateway import idempotency, openapi_problems, openapi_words, problems
from gateway.call import Access, Route
from gateway.fields import Code, OrderId
from gateway.openapi_calls import CALLS, Described
from gateway.openapi_events import deliveries
from gateway.openapi_examples import ANSWERED, ASKED, REHEARSED, SENT
from gateway.openapi_groups import DESCRIPTION, GROUPS, group_of
from gateway.openapi_headers import BUDGET, HEADERS
from gateway.openapi_links import links
from gateway.openapi_schemas import Schema, Schemas, parameters
from gateway.pages import Listing
from gateway.writes import Write

DOCUMENT = web.AppKey("DOCUMENT", bytes)

_SENT_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "1 to 255 visible ASCII characters. Where it is absent one is made, unless the operator demands it.",
    "schema": {"type": "string", "pattern": idempotency.HEADER_PATTERN},
}
# Every id has the form of the one that callers choose themselves; only the code of a warehouse may be more.
_ID = TypeAdapter(OrderId).json_schema()
_CODE = TypeAdapter(Code).json_schema()
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
    schemas.add("Problem", openapi_problems.schema())
    paths: dict[str, Schema] = {}
    for route in filter(is_told, routes):
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, schemas)
    webhooks = deliveries(schemas)
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
            "examples": dict(openapi_problems.EXAMPLES),
            "securitySchemes": {
                "api_key": {"type": "http", "scheme": "bearer", "description": "sk_test_... or sk_live_..."},
                "link": {"type": "apiKey", "in": "query", "name": "token", "description": "That of a label_url."},
            },
        },
    }


def is_told(route: Route) -> bool:
    """All but a path with a slash at its end, which sends a browser to the one without."""
    return route.path == "/" or not route.path.endswith("/")


def _path(route: Route) -> str:
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)


def _operation(route: Route, schemas: Schemas) -> Schema:
    call = CALLS[f"{route.method} {_path(route)}"]
    operation: Schema = {
        "operationId": call.name,
        "summary": call.summary,
        "description": call.told,
        "tags": [group_of(route.path)],
        "security": _SECURITY[route.access],
        "parameters": [_exemplified(parameter, ASKED.get(call.name, {})) for parameter in _parameters(route)],
    }
    model = route.handler.model if isinstance(route.handler, Write) else call.body
    if model is not None and not route.is_bare:
        content = {"schema": schemas.body(model), **_example(SENT, call)}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    operation["responses"] = dict(_responses(route, call, schemas))
    return operation


def _exemplified(parameter: Schema, examples: Mapping[str, str]) -> Schema:
    name = parameter.get("name", "")  # none where it is a reference
    return {**parameter, "example": examples[name]} if name in examples else parameter


def _parameters(route: Route) -> list[Schema]:
    in_path = [_in_path(name, _path(route)) for name in re.findall(r"\{(\w+)\}", _path(route))]
    keyed = [{"$ref": "#/components/parameters/Idempotency-Key"}] if route.method == "POST" else []
    return [*in_path, *parameters(route.query), *keyed]


def _in_path(name: str, path: str) -> Schema:
    told = openapi_words.of_id(path) if name == "id" else openapi_words.PARAMETERS[name]
    schema = _CODE if name == "code" else _ID
    return {"name": name, "in": "path", "required": True, "description": told, "schema": schema}


def _responses(route: Route, call: Described, schemas: Schemas) -> Iterator[tuple[str, Schema]]:
    yield str(call.status), _success(route, call, schemas)
    if call.rehearsal is not None:
        yield "200", _rehearsal(route, call, call.rehearsal(schemas))
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
    response: Schema = {"description": call.answered, "headers": _headers(route, *more)}
    if call.status != 204:
        shape = {} if call.answer is None else {"schema": call.answer(schemas)}
        response["content"] = {call.media_type or route.produces: {**shape, **_example(ANSWERED, call)}}
    if leads_to := links(call.name):
        response["links"] = leads_to
    return response


def _rehearsal(route: Route, call: Described, schema: Schema) -> Schema:
    content = {route.produces: {"schema": schema, **_example(REHEARSED, call)}}
    return {"description": "Of a dry run: what would be decided now.", "headers": _headers(route), "content": content}


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
    if route.method in ("POST", "PUT", "PATCH"):
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
        *(["Idempotent-Replayed"] if route.method == "POST" and any(map(_is_kept, codes)) else []),
    ]
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, narrowed]}
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {
        "description": ". ".join(kind.title for kind in kinds) + ".",
        "headers": _headers(route, *more),
        "content": {problems.MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }


def _is_kept(code: str) -> bool:
    return Fault(code, "").is_kept


def _headers(route: Route, *more: str) -> Schema:
    names = [
        "Request-Id",
        *(BUDGET if route.access is not Access.OPEN else ()),
        *(("Idempotency-Key",) if route.method == "POST" else ()),
        *more,
    ]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
