"""A gateway that is told to stop: what is under way is answered, and nothing is lost that had been sent."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.gateway.conftest import Door
from tests.gateway.test_bodies_under_way import BODY, head, line

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def until_closed(port: int) -> None:
    """Returns once nobody listens any more."""
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                return
            writer.transport.abort()


async def test_a_body_that_is_still_arriving_is_read_to_its_end(leaving_door: Door) -> None:
    async with line(leaving_door.port) as slow:
        await slow.send(head() + BODY[:10])
        stopping = asyncio.create_task(leaving_door.serving.stop())
        await until_closed(leaving_door.port)
        await slow.send(BODY[10:])
        answer = await slow.answer()

    assert answer.startswith(b"HTTP/1.1 422 ")
    assert b"Connection: close\r\n" in answer
    await stopping


async def test_a_request_on_an_idle_connection_is_still_answered(leaving_door: Door) -> None:
    async with line(leaving_door.port) as idle:
        await idle.send(GET)
        first = await idle.answer()
        stopping = asyncio.create_task(leaving_door.serving.stop())
        await until_closed(leaving_door.port)
        await idle.send(GET)
        last = await idle.answer()

    assert b"Connection: close" not in first
    assert last.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close\r\n" in last
    await stopping


async def test_a_body_that_a_stop_cuts_off_is_no_fault_of_its_sender(
    leaving_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.serving.DRAIN_S", 0.2)

    async with line(leaving_door.port) as slow:
        await slow.send(head() + BODY[:10])
        # Answered behind it, so that the body is being waited for.
        assert (await leaving_door.caller.get("/healthz")).status == 200
        stopping = asyncio.create_task(leaving_door.serving.stop())
        answer = await slow.answer()

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code": "unavailable"' in answer
    assert b"Retry-After: 1\r\n" in answer
    await stopping


async def test_nothing_under_way_is_not_waited_for(leaving_door: Door) -> None:
    async with line(leaving_door.port) as idle:
        await idle.send(GET)
        await idle.answer()
        started = time.monotonic()

        await leaving_door.serving.stop()

        assert time.monotonic() - started < 2
        assert await idle.reader.read() == b""
