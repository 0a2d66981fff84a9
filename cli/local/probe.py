"""Asking a process on this machine whether it is there. Every question ends by itself; silence means no."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cli.local.stack import LOOPBACK

ANSWER_WITHIN_S = 2.0


async def first_line(port: int, question: bytes = b"") -> bytes:
    """The first line that comes back from a TCP port; empty when nothing does."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S), _connected(port) as (reader, writer):
            writer.write(question)
            return await reader.readline()
    except OSError:  # refused, reset, or (TimeoutError is one) silent
        return b""


async def is_open(port: int) -> bool:
    """Whether anybody listens at a TCP port."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S), _connected(port):
            return True
    except OSError:
        return False


async def answers_http(port: int, path: str) -> bool:
    """Whether GET answers 200."""
    question = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
    status = (await first_line(port, question.encode())).split(b" ", 2)
    return status[1:2] == [b"200"]


async def answers_grpc_health(port: int) -> bool:
    """Whether a service says it is ready, its database included (grpc.health.v1)."""
    # A channel would try for most of a second. Until somebody listens, this is much the cheaper question.
    if not await is_open(port):
        return False
    from chassis import rpc  # imported late: with gRPC in it, it costs more than the rest of the command line

    channel = rpc.channel(f"{LOOPBACK}:{port}")
    try:
        return await rpc.is_serving(channel, rpc.READINESS, timeout_s=ANSWER_WITHIN_S)
    finally:
        await channel.close()


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield reader, writer
    finally:
        writer.close()
