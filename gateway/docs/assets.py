"""The files that the pages load: ours, and Swagger UI's, which stay where their package was installed.

Their address names what is in them all, so each may be kept for ever; a release that changes one changes the address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from aiohttp import web

from chassis.errors import Fault

# The package is looked up and never imported: it is a plugin of something else, and we want its files alone.
PACKAGE, FOLDER = "mkdocs-swagger-ui-tag", "mkdocs_swagger_ui_tag/swagger-ui"
# The map is there because the style sheet names it, and a browser's tools complain where it is not.
THEIRS = ("javascripts/swagger-ui-bundle.js", "stylesheets/swagger-ui.css", "stylesheets/swagger-ui.css.map")
_OURS = ("icon.svg", "prose.css", "reference.css", "reference.js", "style.css")

_MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "map": "application/json",
    "svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    content: bytes
    media_type: str
    digest: str


@dataclass(frozen=True)
class Assets:
    by_name: Mapping[str, Asset]
    version: str

    @property
    def folder(self) -> str:
        """The path that all their addresses begin with."""
        return f"/docs/assets/{self.version}"


ASSETS = web.AppKey("ASSETS", Assets)


def load() -> Assets:
    """Raises PackageNotFoundError or FileNotFoundError where the installation lacks some."""
    by_name = {name: _asset(name, content) for name, content in (*_ours(), *_theirs())}
    named = "".join(f"{name} {asset.digest}\n" for name, asset in by_name.items())
    return Assets(by_name, hashlib.sha256(named.encode()).hexdigest()[:16])


async def show(request: web.Request) -> web.Response:
    assets, wanted = request.app[ASSETS], request.match_info
    asset = assets.by_name.get(wanted["name"])
    if asset is None or wanted["version"] != assets.version:
        raise Fault("not_found", "There is no such file.")
    held = request.if_none_match or ()
    is_held = any(tag.value in (asset.digest, "*") for tag in held)
    response = web.Response(status=304) if is_held else web.Response(body=asset.content)
    response.etag = asset.digest
    response.headers["Cache-Control"] = _FOR_EVER
    if not is_held:
        response.headers["Content-Type"] = asset.media_type
    return response


def _asset(name: str, content: bytes) -> Asset:
    return Asset(content, _MEDIA_TYPES[name.rpartition(".")[2]], hashlib.sha256(content).hexdigest())


def _ours() -> Iterator[tuple[str, bytes]]:
    folder = files("gateway.docs") / "static"
    for name in _OURS:
        yield name, (folder / name).read_bytes()


def _theirs() -> Iterator[tuple[str, bytes]]:
    package = distribution(PACKAGE)
    for path in THEIRS:
        yield path.rpartition("/")[2], Path(str(package.locate_file(f"{FOLDER}/{path}"))).read_bytes()
