"""Two gateways and one bucket: what both give together, what both tell, and what they do without the store of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import psycopg
import pytest

from cli.local.children import Child
from cli.local.processes import GATEWAY
from cli.local.stack import free_ports
from gateway.limits import Limit
from tests.builders import eventually
from tests.gateway.asking import Answer, Caller
from tests.running import RunningStack
from tests.wire import Wire, wire_to

PATH = "/v1/nothing"  # counted, and asks no service
HELD_UP_MAX_S = 1.0  # the time limits of a check, and what a busy machine adds


@dataclass(frozen=True)
class Gateway:
    """A gateway process of its own."""

    child: Child
    api: Caller

    async def ask(self, key: str) -> Answer:
        return await self.api.by(key).get(PATH)

    async def events(self) -> list[str]:
        """What it logged of its limits, in order."""
        lines = [json.loads(line) for line in self.child.log_file.read_text().splitlines()]
        return [line["event"] for line in lines if line["event"].startswith("rate_limits.")]

    async def counted_alone(self) -> float:
        text = (await self.api.get("/metrics")).body.decode()
        return float(text.partition("\nskutrail_rate_limit_unshared_total ")[2].split()[0])


@dataclass(frozen=True)
class Pair:
    near: Gateway
    far: Gateway
    wire: Wire
    """Between `far` and the store of the limits; to everything else it has its own way."""

    async def ask_both(self, key: str) -> tuple[int, int]:
        """What each of them tells to be left."""
        near, far = [await gateway.ask(key) for gateway in (self.near, self.far)]
        return int(near.headers["X-RateLimit-Remaining"]), int(far.headers["X-RateLimit-Remaining"])


@pytest.fixture(scope="module")
async def pair(stack: RunningStack, session: aiohttp.ClientSession) -> AsyncIterator[Pair]:
    store = stack.system.stack.databases["gateway"].application
    async with AsyncExitStack() as opened:
        wire = await opened.enter_async_context(wire_to(store))
        near = await opened.enter_async_context(gateway(stack, session, "gateway-near", store))
        far = await opened.enter_async_context(gateway(stack, session, "gateway-far", wire.url))
        yield Pair(near, far, wire)


@asynccontextmanager
async def gateway(stack: RunningStack, session: aiohttp.ClientSession, name: str, url: str) -> AsyncIterator[Gateway]:
    of_all = stack.system.stack
    own = replace(of_all, ports={**of_all.ports, "gateway": free_ports(1)[0]})
    process = replace(
        GATEWAY, name=name, environment=lambda its: {**GATEWAY.environment(its), "SKUTRAIL_RATE_LIMIT_URL": url}
    )
    child = Child(process, own)
    await child.start()
    try:
        await child.wait_healthy()
        yield Gateway(child, Caller(session, own.base_url))
    finally:
        await child.stop()


def remaining(answers: Sequence[Answer]) -> list[int]:
    return [int(answer.headers["X-RateLimit-Remaining"]) for answer in answers]


async def test_two_gateways_together_let_through_what_one_would(stack: RunningStack, pair: Pair) -> None:
    key = await stack.create_key("two-gateways", limit=Limit(30, 6_000))
    gateways = (pair.near, pair.far) * 4

    async def ask_on(one: Gateway) -> list[Answer]:
        return [await one.ask(key) for _ in range(6)]

    answers = [answer for told in await asyncio.gather(*map(ask_on, gateways)) for answer in told]

    let_through = [answer for answer in answers if answer.status == 404]
    assert len(let_through) == 30
    assert {answer.code for answer in answers if answer.status != 404} == {"rate_limited"}
    assert {(await one.events())[-1] for one in gateways} == {"rate_limits.shared"}


async def test_both_tell_of_one_budget_in_both_families_of_headers(stack: RunningStack, pair: Pair) -> None:
    key = await stack.create_key("two-gateways", limit=Limit(3, 600))

    answers = [await one.ask(key) for one in (pair.near, pair.far, pair.near, pair.far, pair.near)]

    assert remaining(answers) == [2, 1, 0, 0, 0]
    assert [answer.status for answer in answers] == [404, 404, 404, 429, 429]
    for answer in answers:
        assert answer.headers["X-RateLimit-Limit"] == "3"
        assert answer.headers["RateLimit-Policy"] == '"default";q=3;w=600'
    for answer in answers[2:]:
        assert 595 <= int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 602
        left, wait = answer.headers["RateLimit"].removeprefix('"default";').split(";")
        assert (left, 195 <= int(wait.removeprefix("t=")) <= 200) == ("r=0", True)
    for answer in answers[3:]:
        assert 195 <= int(answer.headers["Retry-After"]) <= 200


async def test_without_a_key_both_count_one_address(pair: Pair) -> None:
    async def both() -> set[int]:
        return {(await one.ask("")).status for one in (pair.near, pair.far) for _ in range(30)}

    assert await eventually(both, lambda seen: 429 in seen)


async def test_what_is_stored_names_keys_by_their_ids_alone(stack: RunningStack, pair: Pair) -> None:
    key = await stack.create_key("two-gateways", limit=Limit(3, 600))
    await pair.near.ask(key)

    async with await psycopg.AsyncConnection.connect(stack.system.stack.databases["gateway"].owner) as owner:
        known = "SELECT caller FROM rate_bucket JOIN api_key ON id = caller WHERE last_four = %s"
        named = await (await owner.execute(known, [key[-4:]])).fetchall()
        stored = await (await owner.execute("SELECT string_agg(caller, ' ') FROM rate_bucket")).fetchone()

    assert len(named) == 1
    assert stored is not None
    assert key.removeprefix("sk_test_")[:8] not in stored[0]


@pytest.mark.parametrize("trouble", [Wire.hold, Wire.end])
async def test_without_their_store_requests_pass_and_it_is_said_once(
    stack: RunningStack, pair: Pair, trouble: Callable[[Wire], None]
) -> None:
    key = await stack.create_key("two-gateways", limit=Limit(1000, 600))
    await pair.ask_both(key)
    said, counted = len(await pair.far.events()), await pair.far.counted_alone()

    trouble(pair.wire)
    try:
        started = time.monotonic()
        answers = [await pair.far.ask(key) for _ in range(20)]
        seconds = time.monotonic() - started
    finally:
        pair.wire.mend()
    await eventually(pair.far.events, lambda seen: len(seen) == said + 2)
    near, far = await pair.ask_both(key)

    assert {answer.status for answer in answers} == {404}
    assert remaining(answers) == [*range(997, 977, -1)]
    assert seconds < HELD_UP_MAX_S
    assert await pair.far.counted_alone() == counted + 20
    assert (await pair.far.events())[said:] == ["rate_limits.away", "rate_limits.shared"]
    assert near == far + 1
    assert near > 990, "the shared bucket knows nothing of what passed meanwhile"
