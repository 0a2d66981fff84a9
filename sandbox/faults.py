"""Faults by the name of the recipient, so that whoever integrates can see every kind of trouble a carrier makes.

A name of the table strikes every purchase for it, again and again. Followed by ` x` and a number, as in
`SANDBOX_TIMEOUT x2`, it strikes that many purchases of a reference and lets the next one through. Only purchases are
struck: finding, voiding and tracking work as ever.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web

from sandbox.problems import Refusal

RETRY_AFTER_S = 1


class Fault(StrEnum):
    TIMEOUT = "SANDBOX_TIMEOUT"
    """No answer, and nothing sold. The connection is cut after a minute."""
    BROKEN = "SANDBOX_5XX"
    """500, and nothing sold; the caller cannot know."""
    REJECT_ADDRESS = "SANDBOX_REJECT_ADDRESS"
    """422 `address_rejected`."""
    RATE_LIMIT = "SANDBOX_RATE_LIMIT"
    """429 with Retry-After."""
    EMPTY = "SANDBOX_EMPTY_200"
    """200 without a body, and nothing sold."""
    SLOW = "SANDBOX_SLOW_30S"
    """Sold and answered after 30 seconds, whether or not the caller still waits."""
    LATE_SUCCESS = "SANDBOX_LATE_SUCCESS"
    """Sold at once, and the connection cut instead of an answer."""


@dataclass(frozen=True)
class Ordered:
    """A fault that a recipient's name asks for."""

    fault: Fault
    times: int | None
    """How many purchases of a reference it strikes; all of them if None."""


@dataclass(frozen=True)
class Pace:
    """How long the slow ones take, and the sales they have under way."""

    hang_s: float = 60.0
    slow_s: float = 30.0
    under_way: set[asyncio.Task[web.StreamResponse]] = field(default_factory=set)


PACE = web.AppKey("PACE", Pace)

Sell = Callable[[], Awaitable[web.StreamResponse]]
Strike = Callable[[web.Request, Sell], Awaitable[web.StreamResponse]]

_NAME = re.compile(r"(?P<fault>SANDBOX_[A-Z0-9_]+)(?: x(?P<times>[0-9]{1,3}))?")


def ordered_by(name: str) -> Ordered | None:
    """The fault that a recipient's name asks for, exactly written; None for everybody else."""
    found = _NAME.fullmatch(name)
    if found is None or found["fault"] not in set(Fault):
        return None
    return Ordered(Fault(found["fault"]), int(found["times"]) if found["times"] else None)


async def _hang(request: web.Request, _: Sell) -> web.StreamResponse:
    await asyncio.sleep(request.app[PACE].hang_s)
    return _cut_off(request)


async def _break(_: web.Request, __: Sell) -> web.StreamResponse:
    raise Refusal("broken", "The sandbox carrier is out of order.")


async def _reject(_: web.Request, __: Sell) -> web.StreamResponse:
    raise Refusal("address_rejected", "The sandbox carrier does not deliver to this address.")


async def _limit(_: web.Request, __: Sell) -> web.StreamResponse:
    raise Refusal("rate_limited", "The sandbox carrier has no time now.", retry_after_s=RETRY_AFTER_S)


async def _answer_nothing(_: web.Request, __: Sell) -> web.StreamResponse:
    return web.Response()


async def _sell_slowly(request: web.Request, sell: Sell) -> web.StreamResponse:
    pace = request.app[PACE]

    async def sell_later() -> web.StreamResponse:
        await asyncio.sleep(pace.slow_s)
        return await sell()

    # A caller that hangs up cancels its handler, not the sale.
    sale = asyncio.create_task(sell_later())
    pace.under_way.add(sale)
    sale.add_done_callback(pace.under_way.discard)
    return await asyncio.shield(sale)


async def _sell_and_cut_off(request: web.Request, sell: Sell) -> web.StreamResponse:
    await sell()
    return _cut_off(request)


def _cut_off(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


STRIKES: Mapping[Fault, Strike] = {
    Fault.TIMEOUT: _hang,
    Fault.BROKEN: _break,
    Fault.REJECT_ADDRESS: _reject,
    Fault.RATE_LIMIT: _limit,
    Fault.EMPTY: _answer_nothing,
    Fault.SLOW: _sell_slowly,
    Fault.LATE_SUCCESS: _sell_and_cut_off,
}
