"""Names to addresses: the system's resolver on threads of its own, a few of them for each tenant.

A look-up cannot be cancelled. It keeps its thread until the system answers, which may be long after the attempt that
asked has given up. So it is counted until it ends: names that hang cost their own tenant its threads, and nobody else.
"""

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

LOOK_UPS_MAX = 64
LOOK_UPS_PER_TENANT_MAX = 4
TURN_TIMEOUT_S = 2.0  # leaves time enough to look up and to connect

_asking: ContextVar[str] = ContextVar("asking")


class NoTurn(OSError):
    """The look-up was not begun: too many of this tenant, or of all, go on. OSError is what aiohttp expects here."""


@contextmanager
def looked_up_for(tenant_id: str) -> Iterator[None]:
    """Look-ups within are this tenant's. The HTTP client that asks in between cannot pass it on."""
    token = _asking.set(tenant_id)
    try:
        yield
    finally:
        _asking.reset(token)


@dataclass(frozen=True)
class _Question:
    tenant_id: str
    host: str
    family: int


Answers = list[tuple[Any, ...]]


class SystemResolver(AbstractResolver):
    """Ask it within `looked_up_for`. Raises NoTurn, or the system's OSError."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOK_UPS_MAX, thread_name_prefix="resolve")
        self._under_way: dict[_Question, asyncio.Future[Answers]] = {}
        self._ended = asyncio.Event()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answers = await self._ask(_Question(_asking.get(), host, family))
        return [
            ResolveResult(
                hostname=host,
                host=_with_scope(address),
                port=port,
                family=found,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, protocol, _, address in answers
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, question: _Question) -> Answers:
        """Joins the look-up that already goes on for this tenant, so that one slow name costs it one thread."""
        try:
            async with asyncio.timeout(TURN_TIMEOUT_S):
                while not self._has_turn(question):
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError as error:
            raise NoTurn(f"{question.host}: too many names are being looked up") from error
        look_up = self._under_way.get(question) or self._begin(question)
        return await asyncio.shield(look_up)

    def _has_turn(self, question: _Question) -> bool:
        if question in self._under_way:
            return True
        of_tenant = sum(other.tenant_id == question.tenant_id for other in self._under_way)
        return of_tenant < LOOK_UPS_PER_TENANT_MAX and len(self._under_way) < LOOK_UPS_MAX

    def _begin(self, question: _Question) -> asyncio.Future[Answers]:
        loop = asyncio.get_running_loop()
        look_up = loop.run_in_executor(self._threads, _look_up, question.host, question.family)
        self._under_way[question] = look_up
        look_up.add_done_callback(partial(self._end, question))
        return look_up

    def _end(self, question: _Question, look_up: asyncio.Future[Answers]) -> None:
        del self._under_way[question]
        self._ended.set()
        if not look_up.cancelled():
            look_up.exception()  # seen, though whoever asked may be gone


def _look_up(host: str, family: int) -> Answers:
    return list(socket.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))


def _with_scope(address: tuple[Any, ...]) -> str:
    """A scope id must stay visible, so that the guard refuses it."""
    scope = address[3] if len(address) == 4 else 0
    return f"{address[0]}%{scope}" if scope else str(address[0])
