"""Bodies while they arrive: how much of them is held at once, and how long one is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.gateway.conftest import Door

POST = (
    b"POST /v1/inventory/ledger HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk_test_REPLACE\r\n"
    b"Content-Type: application/json\r\n"
)
SIZE = 60_000  # of the 100,000 bytes that the narrow door has room for
BODY = b"{" + b" " * (SIZE - 2) + b"}"


@dataclass(frozen=True)
class Line:
    """A connection whose bytes a test sends one after another."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> bytes:
        """The head of the next answer and its body."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            return head + await self.reader.readexactly(length)


@asynccontextmanager
async def line(port: int) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


def head(size: int = SIZE) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % size


async def answer_to_all_of_it(door: Door) -> bytes:
    async with line(door.port) as other:
        await other.send(head() + BODY)
        return await other.answer()


async def until_refused(door: Door) -> bytes:
    async with asyncio.timeout(10):
        while b" 503 " not in (answer := await answer_to_all_of_it(door)):
            pass
    return answer


async def test_beyond_the_room_for_all_bodies_one_is_told_to_come_back(narrow_door: Door) -> None:
    async with line(narrow_door.port) as slow:
        await slow.send(head() + BODY[:-1])
        refused = await until_refused(narrow_door)
        await slow.send(BODY[-1:])
        finished = await slow.answer()

    assert b'"code": "unavailable"' in refused
    assert b"Retry-After: 1\r\n" in refused
    assert finished.startswith(b"HTTP/1.1 422 ")
    assert (await answer_to_all_of_it(narrow_door)).startswith(b"HTTP/1.1 422 ")


async def test_who_only_announces_bodies_keeps_nobody_out(narrow_door: Door) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):
            idle = await stack.enter_async_context(line(narrow_door.port))
            await idle.send(head() + b"{")

        assert (await answer_to_all_of_it(narrow_door)).startswith(b"HTTP/1.1 422 ")


async def test_a_body_that_breaks_off_gives_its_room_back(narrow_door: Door) -> None:
    for _ in range(5):
        async with line(narrow_door.port) as slow:
            await slow.send(head() + BODY[:-1])
            await until_refused(narrow_door)

        async with asyncio.timeout(10):
            while not (await answer_to_all_of_it(narrow_door)).startswith(b"HTTP/1.1 422 "):
                pass


async def test_bodies_of_unknown_length_count_as_they_come(narrow_door: Door) -> None:
    async with line(narrow_door.port) as slow:
        await slow.send(POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % SIZE + BODY + b"\r\n")
        await until_refused(narrow_door)
        await slow.send(b"0\r\n\r\n")

        assert (await slow.answer()).startswith(b"HTTP/1.1 422 ")


async def test_a_body_that_does_not_come_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.intake.BODY_TIMEOUT_S", 0.2)

    async with line(door.port) as slow:
        await slow.send(head() + b"{")
        answer = await slow.answer()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close\r\n" in answer
    assert b'"code": "request_timeout"' in answer
    assert b"did not arrive" in answer
