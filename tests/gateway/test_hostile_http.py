"""Bytes that are not the HTTP a client sends: never a 500, never a word of ours about our insides."""

from __future__ import annotations

import asyncio
import json

import pytest

from chassis.errors import ERRORS
from tests.gateway.conftest import Door

HEAD = b"Host: localhost\r\nAuthorization: Bearer sk_test_REPLACE\r\n"
POST = b"POST /v1/inventory/ledger HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"

GET = b"GET /healthz HTTP/1.1\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# What aiohttp refuses before the application sees it, and what a proxy could read otherwise.
REFUSED = {
    "two hosts": (GET + b"Host: a\r\nHost: canary\r\n\r\n", "invalid_parameter"),
    "no host": (GET + b"Canary: 1\r\n\r\n", "invalid_parameter"),
    "length and chunks": (
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "invalid_parameter",
    ),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "invalid_parameter"),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", "invalid_parameter"),
    "an unknown transfer coding": (
        POST + b"Transfer-Encoding: canary\r\n\r\n0\r\n\r\n",
        "invalid_parameter",
    ),
    "a broken chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "invalid_parameter"),
    "a header line too long": (GET + b"Host: a\r\nX: " + b"canary" * 1500 + b"\r\n\r\n", "invalid_parameter"),
    "a query too long": (
        b"GET /v1/orders/x?" + b"canary" * 1500 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        "invalid_parameter",
    ),
    "a target that is no URL": (b"GET http://[::1/canary HTTP/1.1\r\nHost: a\r\n\r\n", "invalid_parameter"),
    "a target with a port that is none": (
        b"GET http://canary:99999/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "invalid_parameter",
    ),
    "a blank in a header's name": (GET + b"Host: a\r\nCanary : y\r\n\r\n", "invalid_parameter"),
    "a folded header": (GET + b"Host: a\r\nX: y\r\n canary\r\n\r\n", "invalid_parameter"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n", "invalid_parameter"),
    "a length beyond the limit": (POST + b"Content-Length: 99999999999\r\n\r\n", "content_too_large"),
    "an unknown expectation": (
        POST + b"Content-Length: 2\r\nExpect: canary<b>\r\n\r\n{}",
        "invalid_parameter",
    ),
    "an unknown expectation of no path": (
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: canary\r\n\r\n{}",
        "invalid_parameter",
    ),
}

# Too old for headers.
OLD = {"HTTP/0.9": b"GET /healthz HTTP/0.9\r\n\r\n", "no version": b"GET /healthz\r\n\r\n"}


async def exchange(port: int, raw: bytes) -> bytes:
    """The answer's head and whatever of its body came with it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        async with asyncio.timeout(5):
            answer = b""
            while b"\r\n\r\n" not in answer.removeprefix(CONTINUE) and (more := await reader.read(65_536)):
                answer += more
            return answer
    finally:
        writer.close()


@pytest.mark.parametrize(("raw", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_not_plain_http_is_refused_in_our_words(door: Door, raw: bytes, code: str) -> None:
    head, _, body = (await exchange(door.port, raw)).partition(b"\r\n\r\n")

    status_line, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    problem = json.loads(body)
    assert problem["code"] == code
    assert int(status_line.split(" ")[1]) == problem["status"] == ERRORS[code].http_status
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Server"] == "skutrail"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Request-Id"] == problem["request_id"]
    assert b"canary" not in body.lower()


@pytest.mark.parametrize("raw", OLD.values(), ids=OLD.keys())
async def test_a_version_without_headers_is_refused(door: Door, raw: bytes) -> None:
    answer = await exchange(door.port, raw)

    assert answer.split(b" ")[1] == b"505"


async def test_a_client_that_expects_to_continue_is_told_to(door: Door) -> None:
    raw = POST + b"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n{}"

    answer = await exchange(door.port, raw)

    assert answer.startswith(CONTINUE)
    assert b"HTTP/1.1 422 " in answer


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
