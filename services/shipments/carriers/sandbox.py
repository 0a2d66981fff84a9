"""The sandbox carrier (top-level package `sandbox`), reached over HTTP as any carrier is.

What the wire does is told apart by one question: may the carrier have done what was asked? A refusal of its own says
no, for good. No connection, 429, or 503 with Retry-After say no, for now. Everything else - silence, a connection that
breaks, 5xx, an answer that cannot be read - says perhaps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from services.shipments.carriers.port import (
    CarrierFailure,
    CarrierRefused,
    CarrierUnavailable,
    Label,
    OutcomeUnknown,
    Purchase,
    Sold,
    Tracking,
)
from services.shipments.domain import Address

T = TypeVar("T")

GROUND = "sandbox_ground"
EXPRESS = "sandbox_express"

CONNECT_WITHIN_S = 2.0
# Kept alive; enough for all that may be under way at once: what the listener buys and voids (64 each), stragglers of
# both kinds (64 each), and three watches of the sweeper (16 each). Who waits for one too long seems not connected.
CONNECTIONS_MAX = 304
# A parcel's labels come with their documents, and a carrier that sold it many times is out of order anyway.
ANSWER_BYTES_MAX = 4 * 1024 * 1024

_EXPRESS_WORDS = ("express", "next", "overnight", "air")
# Refusals that end with whoever mends our settings, or with time: nothing was done, and asking again is right.
_NOT_NOW = frozenset({401, 403, 408, 429})
# The carrier's codes that we pass on as our own; every other refusal is `carrier_refused`.
_CODES = frozenset({"address_rejected", "label_used"})


class SandboxCarrier:
    """Make it where an event loop runs, and close it there."""

    name = "sandbox"
    answers_within = timedelta(seconds=5)
    settles_after = timedelta(seconds=35)  # its slowest sale takes 30 seconds, whether or not we still wait
    takes_keys = True

    def __init__(
        self, url: str, *, answers_within: timedelta = answers_within, connect_within_s: float = CONNECT_WITHIN_S
    ) -> None:
        """`url`: where the carrier is, e.g. http://127.0.0.1:8090."""
        self.answers_within = answers_within
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            timeout=aiohttp.ClientTimeout(
                total=answers_within.total_seconds(), connect=connect_within_s, sock_connect=connect_within_s
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Nothing is inflated, so that no answer can be larger than it is.
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        await self._session.close()

    def choose_service(self, carrier_hint: str | None) -> str:
        hint = (carrier_hint or "").lower()
        return EXPRESS if any(word in hint for word in _EXPRESS_WORDS) else GROUND

    async def buy(self, purchase: Purchase) -> Label:
        headers = {"Idempotency-Key": purchase.attempt_key}
        answer = await self._ask("POST", "/v1/labels", headers=headers, json=_order(purchase))
        sale = _read(answer, _Sale)
        if sale.status != "sold":
            raise CarrierRefused("label_voided", "The carrier has taken this label back.")
        return _label(sale, purchase.reference)

    async def find_by_reference(self, reference: str) -> Label | None:
        async with _or_unavailable():
            answer = await self._ask("GET", "/v1/labels", params={"reference": reference})
            sold = [sale for sale in _read(answer, _Found).labels if sale.status == "sold"]
            return _label(sold[0], reference) if sold else None

    async def void(self, sold: Sold) -> None:
        answer = await self._ask("POST", f"/v1/labels/{quote(sold.tracking_number, safe='')}/void")
        if _read(answer, _Voided).status != "voided":
            raise OutcomeUnknown("The carrier does not say that it took the label back.")

    async def track(self, sold: Sold) -> Tracking:
        async with _or_unavailable():
            answer = await self._ask("GET", f"/v1/labels/{quote(sold.tracking_number, safe='')}/scans")
            seen = {scan.status for scan in _read(answer, _Scans).scans}
        if Tracking.DELIVERED in seen:
            return Tracking.DELIVERED
        return Tracking.IN_TRANSIT if seen else Tracking.PRE_TRANSIT

    async def _ask(self, method: str, path: str, **more: Any) -> bytes:
        """The body of a 2xx. Raises a CarrierFailure for everything else."""
        try:
            async with self._session.request(method, self._url + path, allow_redirects=False, **more) as response:
                return _accept(response, await _read_bounded(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise CarrierUnavailable("The carrier cannot be reached.") from error
        except TimeoutError as error:
            raise OutcomeUnknown("The carrier did not answer in time.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise OutcomeUnknown("The connection to the carrier broke.") from error


class _Sale(msgspec.Struct):
    tracking_number: str
    reference: str
    carrier: str
    service: str
    status: str
    label: bytes


class _Found(msgspec.Struct):
    labels: list[_Sale]


class _Voided(msgspec.Struct):
    status: str


class _Scan(msgspec.Struct):
    status: str


class _Scans(msgspec.Struct):
    scans: list[_Scan]


class _Problem(msgspec.Struct):
    code: str = ""
    detail: str = "The carrier will not, and does not say why."


def _order(purchase: Purchase) -> Mapping[str, Any]:
    """What the carrier is told: the same for every try of an attempt, or its key would be refused."""
    return {
        "reference": purchase.reference,
        "order_id": purchase.order_id,
        "service": purchase.service,
        "ship_from": purchase.ship_from,
        "ship_to": _address(purchase.ship_to),
    }


def _address(address: Address) -> Mapping[str, str | None]:
    return {
        "name": address.name,
        "line1": address.line1,
        "line2": address.line2,
        "city": address.city,
        "state": address.state,
        "postal": address.postal,
        "country": address.country,
    }


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            response.close()  # the rest is not worth reading, and the connection not worth keeping
            raise OutcomeUnknown("The carrier's answer is too large.")
    return bytes(body)


def _accept(response: aiohttp.ClientResponse, body: bytes) -> bytes:
    status = response.status
    if 200 <= status < 300:
        return body
    if status in _NOT_NOW or (status == 503 and "Retry-After" in response.headers):
        raise CarrierUnavailable(f"The carrier cannot serve now ({status}).")
    if 400 <= status < 500:
        problem = _problem(body)
        raise CarrierRefused(problem.code if problem.code in _CODES else "carrier_refused", problem.detail)
    raise OutcomeUnknown(f"The carrier is out of order ({status}).")


def _problem(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Problem()


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OutcomeUnknown("The carrier's answer cannot be read.") from error


def _label(sale: _Sale, reference: str) -> Label:
    if sale.reference != reference:
        raise OutcomeUnknown("The carrier's answer is about another parcel.")
    if not sale.label.startswith(b"%PDF"):
        raise OutcomeUnknown("The carrier's label is no PDF.")
    return Label(
        tracking_number=sale.tracking_number, content=sale.label, carrier=SandboxCarrier.name, service=sale.service
    )


@asynccontextmanager
async def _or_unavailable() -> AsyncIterator[None]:
    """For questions that change nothing: whatever goes wrong, the carrier cannot tell."""
    try:
        yield
    except CarrierFailure as trouble:
        raise CarrierUnavailable(trouble.message) from trouble
