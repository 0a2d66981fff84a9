"""Bytes that are not the HTTP a client sends: never a 500, never a word of ours about our insides."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.conftest import Door

HEAD = b"Host: localhost\r\nAuthorization: Bearer sk_test_REPLACE\r\n"
POST = b"POST /v1/inventory/ledger HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"

REFUSED = {
    "HTTP/0.9": (b"GET /healthz HTTP/0.9\r\n\r\n", 505),
    "no version": (b"GET /healthz\r\n\r\n", 505),
    "two hosts": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "length and chunks": (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "an unknown transfer coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "a broken chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "a header line too long": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 400),
    "a blank in a header's name": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    "a folded header": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n", 400),
    "a length beyond the limit": (POST + b"Content-Length: 99999999999\r\n\r\n", 413),
    "an unknown expectation": (POST + b"Content-Length: 2\r\nExpect: miracles\r\n\r\n{}", 417),
}


async def exchange(port: int, raw: bytes) -> bytes:
    """The answer's head and whatever of its body came with it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        async with asyncio.timeout(5):
            return await reader.read(65_536)
    finally:
        writer.close()


@pytest.mark.parametrize(("raw", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_not_plain_http_is_refused(door: Door, raw: bytes, status: int) -> None:
    answer = await exchange(door.port, raw)

    version, told, _ = answer.split(b" ", 2)
    assert version.startswith(b"HTTP/")
    assert int(told) == status
    assert b"Traceback" not in answer


async def test_a_body_that_breaks_off_writes_nothing_and_harms_nobody(door: Door) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(POST + b'Content-Length: 100\r\n\r\n{"sku":')
    await writer.drain()
    writer.transport.abort()

    assert (await door.caller.get("/healthz")).status == 200


async def test_a_query_is_read_as_it_was_sent(door: Door) -> None:
    raw = b"GET /v1/inventory/balance?sku=%ff&warehouse=W HTTP/1.1\r\n" + HEAD + b"\r\n"

    answer = await exchange(door.port, raw)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"invalid_parameter" in answer
