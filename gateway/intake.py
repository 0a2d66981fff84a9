"""Bodies on their way in: how many bytes are held at once, how long one may take, and what becomes of it at a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from chassis.errors import Fault

BODY_BYTES_MAX = 1024 * 1024
BODY_TIMEOUT_S = 10.0
# A body that is read takes up to four times its bytes. With the process itself, that fits the pod (deploy/k8s).
HELD_BYTES_MAX = 32 * 1024 * 1024

_HELD = web.RequestKey("HELD", int)


class Intake:
    """Reads bodies, of all requests together no more than `bytes_max` at once.

    Bytes count as they come, not as they are announced: who only announces a body keeps nobody else out.
    """

    def __init__(self, bytes_max: int = HELD_BYTES_MAX) -> None:
        self._free = bytes_max
        self._clocks: set[asyncio.Timeout] = set()
        self._is_closed = False

    @contextmanager
    def holding(self, request: web.Request) -> Iterator[None]:
        """Around a whole request: what `read` took for it is given back at its end, for the values live as long."""
        request[_HELD] = 0
        try:
            yield
        finally:
            self._free += request[_HELD]

    async def read(self, request: web.Request) -> bytes:
        """The body. Raises Fault `content_too_large`, `request_timeout`, `malformed_json` for one that broke off, and
        `unavailable` where there is no room for it or the process stops."""
        announced = request.content_length or 0
        self._demand_room(announced, announced)
        if request.content.is_eof() and request.content.exception() is None:  # it came with the head, as most do
            return self._take(request, request.content.read_nowait())
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S) as clock:
                self._clocks.add(clock)
                return await self._gather(request)
        except TimeoutError:
            raise self._late() from None
        except (web.RequestPayloadError, ConnectionError):
            raise Fault("malformed_json", "The body broke off.") from None
        finally:
            self._clocks.discard(clock)

    def close(self) -> None:
        """For a process that stops: what has not arrived by now is refused."""
        self._is_closed = True
        for clock in self._clocks:
            if not clock.expired():
                clock.reschedule(asyncio.get_running_loop().time())

    async def _gather(self, request: web.Request) -> bytes:
        # Not request.read(), which lets the connection buffer two mebibytes that nobody counts.
        body = bytearray()
        while chunk := await request.content.readany():
            body += self._take(request, chunk)
        return bytes(body)

    def _take(self, request: web.Request, chunk: bytes) -> bytes:
        self._demand_room(request[_HELD] + len(chunk), len(chunk))
        self._free -= len(chunk)
        request[_HELD] += len(chunk)
        return chunk

    def _demand_room(self, size: int, more: int) -> None:
        if size > BODY_BYTES_MAX:
            raise Fault("content_too_large", f"A body has at most {BODY_BYTES_MAX} bytes.")
        if more > self._free or self._is_closed:
            raise _unavailable()

    def _late(self) -> Fault:
        if self._is_closed:
            return _unavailable()
        return Fault("request_timeout", f"The body did not arrive within {BODY_TIMEOUT_S:.0f} seconds.")


def _unavailable() -> Fault:
    return Fault("unavailable", "There is no room for the body now. Try again.", retry_after_s=1)


INTAKE = web.AppKey("INTAKE", Intake)
