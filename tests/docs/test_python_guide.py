"""The Python guide does what it says: its blocks run as one program, over a good network and over a bad one.

The parts that matter most are also asked one by one: what is sent again and what is not, and what a receiver believes.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import operator
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
import standardwebhooks
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from chassis.errors import ERRORS, Fault
from gateway import docs as receivers
from gateway import problems
from services.webhooks import signing
from tests.docs.guide import blocks, printed, program
from tests.docs.mishaps import network
from tests.running import RunningStack

LEDGER = "/v1/inventory/ledger"


async def output_of(url: str, key: str) -> list[str]:
    """The lines that the guide's program prints. Fails with what it says where it does not come to its end."""
    given = {"SKUTRAIL_URL": url, "SKUTRAIL_KEY": key, "NO_PROXY": "127.0.0.1"}
    pipe = asyncio.subprocess.PIPE
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", program(), stdout=pipe, stderr=pipe, env=given
    )
    try:
        output, errors = await asyncio.wait_for(run.communicate(), timeout=60)
    finally:
        if run.returncode is None:
            run.kill()
    assert run.returncode == 0, errors.decode()
    return output.decode().splitlines()


def is_named_pick(request: web.Request) -> bool:
    return request.headers.get("Idempotency-Key", "").startswith("pick-")


async def trail(stack: RunningStack, key: str) -> list[tuple[int, str]]:
    async with httpx.AsyncClient(base_url=stack.base_url, headers={"Authorization": f"Bearer {key}"}) as client:
        page = (await client.get(LEDGER)).json()
    return [(entry["qty"], entry["reason"]) for entry in page["data"]]


async def test_the_blocks_run_as_one_program_and_print_what_they_say(stack: RunningStack) -> None:
    key = await stack.create_key(f"guide-{uuid4().hex[:8]}")

    assert len(printed()) > 10
    assert await output_of(stack.base_url, key) == printed()


async def test_over_a_bad_network_it_prints_the_same_and_picks_once(stack: RunningStack) -> None:
    key = await stack.create_key(f"guide-{uuid4().hex[:8]}")
    refused = [web.Response(status=status, headers={"Retry-After": "1"}) for status in (503, 429)]

    async with network(stack.base_url, None, *refused, is_meant=is_named_pick) as between:
        output = await output_of(between.url, key)

    assert output == printed()
    # The first was recorded and its answer lost. The last is the page's own repetition.
    told = [(seen.status, seen.replayed) for seen in between.tries]
    assert told == [(200, False), (503, False), (429, False), (200, True), (200, True)]
    assert len({seen.key for seen in between.tries}) == 1
    unavailable, limited, served = between.tries[1:4]
    assert limited.at - unavailable.at >= 1
    assert served.at - limited.at >= 1
    assert await trail(stack, key) == [*[(-2, "pick")] * 2, (-3, "pick"), (-5, "pick"), (120, "receipt")]


@pytest.fixture
def guide(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """What the guide defines before it records anything. It is in more of a hurry here."""
    monkeypatch.setenv("SKUTRAIL_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SKUTRAIL_KEY", "sk_test_REPLACE")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    names: dict[str, Any] = {"PAUSES_S": ()}
    for block in (*blocks("A client"), *blocks("Send, and send again"), blocks("Hearing of what happens")[0]):
        exec(block, names)
    names["PAUSES_S"] = (0.01,) * len(names["PAUSES_S"])
    yield SimpleNamespace(names=names, send=names["send"], Refused=names["Refused"], verified=names["verified"])
    names["client"].close()


def refusal(code: str, **facts: int) -> web.Response:
    """As the gateway tells it."""
    return problems.respond(Fault(code, "As it happens.", **facts), "req_1")


async def send(guide: SimpleNamespace, url: str) -> Any:
    return await asyncio.to_thread(guide.send, "POST", url + LEDGER, json={})


@pytest.mark.parametrize("code", ERRORS)
async def test_what_the_error_table_calls_safe_is_sent_again_and_nothing_else(
    code: str, guide: SimpleNamespace
) -> None:
    done = web.Response(text="done")

    async with network("", refusal(code), done) as between:
        if ERRORS[code].is_retryable:
            assert (await send(guide, between.url)).text == "done"
        else:
            with pytest.raises(guide.Refused) as refused:
                await send(guide, between.url)
            assert refused.value.code == code

    assert len(between.tries) == 1 + ERRORS[code].is_retryable
    assert len({seen.key for seen in between.tries}) == 1


async def test_it_gives_up_after_six_tries_with_the_last_refusal(guide: SimpleNamespace) -> None:
    async with network("", *[refusal("internal_error") for _ in range(7)]) as between:
        with pytest.raises(guide.Refused, match="internal_error"):
            await send(guide, between.url)

    assert len(between.tries) == 6


async def test_it_does_not_come_back_before_a_retry_after_that_is_too_long_to_wait_for(guide: SimpleNamespace) -> None:
    async with network("", refusal("rate_limited", retry_after_s=61)) as between:
        with pytest.raises(guide.Refused, match="rate_limited"):
            await send(guide, between.url)

    assert len(between.tries) == 1


@pytest.mark.parametrize(("breaks_at_once", "error"), [(True, httpx.TransportError), (False, httpx.ReadTimeout)])
async def test_a_connection_that_breaks_or_stays_silent_is_tried_again(
    breaks_at_once: bool, error: type[Exception], guide: SimpleNamespace
) -> None:
    opened: list[asyncio.StreamWriter] = []

    def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        if breaks_at_once:
            writer.close()

    guide.names["client"].timeout = 0.1
    async with await asyncio.start_server(meet, "127.0.0.1", 0) as server:
        with pytest.raises(error):
            await send(guide, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for writer in opened:
            writer.close()

    assert len(opened) == 6


async def test_where_nobody_listens_it_tries_and_then_says_so(guide: SimpleNamespace) -> None:
    async with network("") as between:
        pass  # its port is free again

    with pytest.raises(httpx.ConnectError):
        await send(guide, between.url)


async def test_an_answer_of_something_in_between_is_a_refusal_too(guide: SimpleNamespace) -> None:
    async with network("", web.Response(status=403, text="<h1>Forbidden</h1>")) as between:
        with pytest.raises(guide.Refused, match="http_403"):
            await send(guide, between.url)


BODY = b'{"id": "evt_1", "type": "shipment.label_ready"}'
SNIPPET = (Path(receivers.__file__).parent / "snippets" / "receive_webhooks.py").read_text()


def key_lookup(program: str) -> Callable[[str], bytes]:
    """The function `key_of` of a receiver."""
    names: dict[str, Any] = {"base64": base64}
    exec(re.findall(r"^def key_of.*?\n(?=\n\n|\Z)", program, re.MULTILINE | re.DOTALL)[0], names)
    return names["key_of"]  # type: ignore[no-any-return]


KEY_LOOKUPS = [key_lookup(program()), key_lookup(SNIPPET)]


def strip_padding(encoded: str) -> str:
    return encoded.rstrip("=")


def signed(secret: str, *, age: timedelta = timedelta(0), body: bytes = BODY) -> dict[str, str]:
    """The headers that the reference library of Standard Webhooks makes."""
    at = datetime.now(UTC) - age
    signature = standardwebhooks.Webhook(secret).sign("evt_1", at, body.decode())
    return {"webhook-id": "evt_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def test_the_receiver_believes_what_is_signed_as_standard_webhooks_say(guide: SimpleNamespace) -> None:
    headers = signed(guide.names["SECRET"])
    rotating = {**headers, "webhook-signature": f"v1,b3RoZXI= v2,new {headers['webhook-signature']}"}

    assert guide.verified(headers, BODY)["id"] == "evt_1"
    assert guide.verified(rotating, BODY)["id"] == "evt_1"


def test_the_receiver_believes_nothing_else(guide: SimpleNamespace) -> None:
    secret = guide.names["SECRET"]
    good = signed(secret)
    forged = [
        (good, BODY.replace(b"ready", b"steady")),
        (signed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), BODY),
        (signed(secret, age=timedelta(minutes=6)), BODY),
        (signed(secret, age=-timedelta(minutes=6)), BODY),
        ({**good, "webhook-id": "evt_2"}, BODY),
        ({**good, "webhook-signature": "v1,\xe4"}, BODY),
        ({**good, "webhook-signature": ""}, BODY),
        ({**good, "webhook-timestamp": "now"}, BODY),
        ({}, BODY),
    ]
    for headers, body in forged:
        with pytest.raises(ValueError, match=r"signed|invalid literal"):
            guide.verified(headers, body)


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=80)
BASE64 = st.binary(min_size=1, max_size=80).map(lambda key: base64.b64encode(key).decode())
SECRETS = PRINTABLE | st.builds(operator.add, st.just(signing.PREFIX), PRINTABLE | BASE64 | BASE64.map(strip_padding))


@given(SECRETS)
@example("whsec_REPLACE")
@example("whsec_")
@example("whsec_A")
@example("it is no secret")
def test_the_receivers_take_every_secret_as_we_sign_with_it(secret: str) -> None:
    for key_of in KEY_LOOKUPS:
        assert key_of(secret) in signing.keys_of(secret)


async def test_the_receiver_takes_an_event_once_and_answers_every_copy(
    guide: SimpleNamespace, capfd: pytest.CaptureFixture[str]
) -> None:
    exec(blocks("Hearing of what happens")[1], guide.names)
    server, inbox = guide.names["server"], guide.names["inbox"]
    headers = signed(guide.names["SECRET"])

    def deliver(body: bytes) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        connection.request("POST", "/skutrail", body, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    try:
        statuses = [await asyncio.to_thread(deliver, body) for body in (BODY, BODY, b"{}")]
    finally:
        server.shutdown()
        server.server_close()

    assert statuses == [204, 204, 401]
    assert [inbox.get_nowait(), inbox.empty()] == [json.loads(BODY), True]
    assert "refused: not signed with this secret" in capfd.readouterr().err
