"""One request on its way to a service: who asks, for what, under which key. Built by door.py, read by the handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
from aiohttp import web

from gateway.requests import NoQuery
from gateway.upstream import Upstream
from gateway.validation import Strict
from skutrail.v1 import common_pb2

UPSTREAM = web.AppKey("UPSTREAM", Upstream)


@dataclass(frozen=True)
class Call:
    # Empty where a signed token stands for a key.
    tenant_id: str
    upstream: Upstream
    http: web.Request
    # Of the model that the route's line in the table names.
    query: Any
    # Parsed, not yet validated; None without a body.
    body: Any
    # Of a POST: the key it runs under, and its fingerprint.
    idempotency: common_pb2.IdempotencyKey | None

    @property
    def id(self) -> str:
        """The `{id}` of the path."""
        return self.http.match_info["id"]

    @property
    def has_own_key(self) -> bool:
        """Whether the caller named the idempotency key; else the gateway has just made it."""
        return "Idempotency-Key" in self.http.headers


class Access(Enum):
    KEY = "an API key"
    KEY_OR_LINK = "an API key, or the token of a signed link"
    OPEN = "nobody asks"


@dataclass(frozen=True)
class Route:
    """A line of the table in app.py. A handler takes the Call; that of an open route takes the bare request."""

    method: str
    path: str
    handler: Callable[[Any], Awaitable[web.Response]]
    access: Access = Access.KEY
    query: type[Strict] = NoQuery
    produces: str = "application/json"
    # True: the path says it all. No body is needed, and none but an empty object is taken.
    is_bare: bool = False


def respond(value: Mapping[str, Any], *, status: int = 200, location: str = "") -> web.Response:
    headers = {"Content-Type": "application/json"}
    if location:
        headers["Location"] = location
    return web.Response(status=status, body=msgspec.json.encode(value), headers=headers)
