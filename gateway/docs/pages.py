"""The pages: prose out of pages/, filled in and framed. None loads anything from elsewhere, none has inline code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from aiohttp import web

from chassis.idempotency import RETENTION
from gateway.docs import curl, errors
from gateway.docs.assets import ASSETS
from gateway.idempotency import KEY_LENGTH_MAX
from gateway.openapi_events import UNCAUSED

_TITLES = {
    "/docs": "Start",
    "/docs/reference": "Reference",
    "/docs/idempotency": "Idempotency",
    "/docs/webhooks": "Webhooks",
    "/docs/errors": "Errors",
}


@dataclass(frozen=True)
class Kind:
    """What the pages of a kind may load, and their style sheets."""

    policy: str
    sheets: tuple[str, ...]


_NOWHERE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PROSE = Kind(f"{_NOWHERE}; style-src 'self'; img-src 'self'", ("style.css", "prose.css"))
# Swagger UI draws with icons in data: addresses, and calls the API that it stands on.
_REFERENCE = Kind(
    f"{_NOWHERE}; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'",
    ("style.css", "swagger-ui.css", "reference.css"),
)


async def to_start(_: web.Request) -> web.Response:
    """From the addresses that people type. Found, not for ever: a browser would never ask again."""
    return web.Response(status=302, text="/docs\n", headers={"Location": "/docs"})


async def start(request: web.Request) -> web.Response:
    base = _base(request)
    calls = (curl.record_movement, curl.get_balance, curl.create_shipment, curl.get_order, curl.subscribe)
    return _page(request, "start", base=base, **{call.__name__: escape(call(base), quote=False) for call in calls})


async def reference(request: web.Request) -> web.Response:
    return _page(request, "reference", _REFERENCE, assets=request.app[ASSETS].folder)


async def idempotency(request: web.Request) -> web.Response:
    return _page(
        request, "idempotency", base=_base(request), kept_days=str(RETENTION.days), length_max=str(KEY_LENGTH_MAX)
    )


async def webhooks(request: web.Request) -> web.Response:
    return _page(
        request,
        "webhooks",
        base=_base(request),
        not_sent=", ".join(f"<code>{event}</code>" for event in UNCAUSED),
        python=escape(_text("snippets/receive_webhooks.py"), quote=False),
        node=escape(_text("snippets/receive_webhooks.mjs"), quote=False),
    )


async def every_error(request: web.Request) -> web.Response:
    return _page(request, "errors", index=errors.index(), sections=errors.sections())


def _base(request: web.Request) -> str:
    return escape(f"{request.scheme}://{request.host}")


def _page(request: web.Request, name: str, kind: Kind = _PROSE, /, **words: str) -> web.Response:
    """Raises KeyError where the prose has a `$name` that is not in `words`."""
    folder = request.app[ASSETS].folder
    html = Template(_text("pages/frame.html")).substitute(
        sheets="\n".join(f'<link rel="stylesheet" href="{folder}/{sheet}">' for sheet in kind.sheets),
        title=_TITLES[request.path],
        assets=folder,
        links="\n".join(_link(path, is_here=path == request.path) for path in _TITLES),
        content=Template(_text(f"pages/{name}.html")).substitute(words),
        name=name,
    )
    return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": kind.policy})


def _link(path: str, *, is_here: bool) -> str:
    return f'<a href="{path}"{" aria-current=page" if is_here else ""}>{_TITLES[path]}</a>'


@cache
def _text(name: str) -> str:
    return (files("gateway.docs") / name).read_text(encoding="utf-8")
