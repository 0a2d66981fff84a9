"""Which representations are given and taken (RFC 9110, sections 8.3, 8.4 and 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from aiohttp import web

from chassis.errors import Fault

JSON = "application/json"


def refuse_unacceptable(request: web.Request, produced: str) -> None:
    """Raises Fault `not_acceptable` when `Accept` excludes what the route produces.

    Refusals are problem+json whatever the caller accepts, as RFC 9457 allows.
    """
    if not is_accepted(",".join(request.headers.getall("Accept", [])), produced):
        raise Fault("not_acceptable", f"This path answers with {produced}.")


@lru_cache(maxsize=1024)  # callers that differ in it are few
def is_accepted(accept: str, media_type: str) -> bool:
    """Whether an Accept header admits a media type: the most specific range that matches decides."""
    kind = media_type.partition("/")[0]
    weights = dict(_range(written) for written in accept.split(",") if written.strip())
    if not weights:
        return True
    for candidate in (media_type, f"{kind}/*", "*/*"):
        if candidate in weights:
            return weights[candidate] > 0
    return False


def _range(written: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in written.split(";"))
    return media_range, _weight(parameters)


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0  # a weight that cannot be read does not exclude
    return 1.0


def refuse_unsupported(request: web.Request) -> None:
    """Raises Fault `unsupported_media_type` for a body that is not plain JSON in UTF-8."""
    types = request.headers.getall("Content-Type", [])
    is_plain = types == [JSON]  # as most write it; the rest is parsed
    if not (is_plain or (len(types) == 1 and _is_json(request))):
        raise Fault("unsupported_media_type", "Send the body as application/json in UTF-8.", accept=JSON)
    codings = ",".join(request.headers.getall("Content-Encoding", ["identity"]))
    if codings.strip().lower() != "identity":
        raise Fault("unsupported_media_type", "Send the body without a content coding.", accept_encoding="identity")


def _is_json(request: web.Request) -> bool:
    return request.content_type == JSON and (request.charset or "utf-8").lower() == "utf-8"
