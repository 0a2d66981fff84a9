"""Two gateways and one bucket: what both give together, what both tell, and what they do without the store of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
HELD_UP_MAX_S = 5.0  # twenty requests that each waited for the store would take longer


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

    async def undisturbed(self, ask: Callable[[], Awaitable[list[Answer]]]) -> list[Answer]:
        """What is told while both share: on a busy machine the store may be late, and a gateway then counts alone."""

        async def once() -> list[Answer]:
            alone = await self.counted_alone()
            answers = await ask()
            return answers if await self.counted_alone() == alone else []

        return await eventually(once, bool, within_s=30)

    async def counted_alone(self) -> float:
        return await self.near.counted_alone() + await self.far.counted_alone()

    async def is_shared(self) -> bool:
        return {(await one.events())[-1] for one in (self.near, self.far)} == {"rate_limits.shared"}

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
    async def ask() -> list[Answer]:
        key = await stack.create_key("two-gateways", limit=Limit(30, 6_000))

        async def ask_on(one: Gateway) -> list[Answer]:
            return [await one.ask(key) for _ in range(6)]

        told = await asyncio.gather(*map(ask_on, (pair.near, pair.far) * 4))
        return [answer for answers in told for answer in answers]

    answers = await pair.undisturbed(ask)

    let_through = [answer for answer in answers if answer.status == 404]
    assert len(let_through) == 30
    assert {answer.code for answer in answers if answer.status != 404} == {"rate_limited"}


async def test_both_tell_of_one_budget_in_both_families_of_headers(stack: RunningStack, pair: Pair) -> None:
    async def ask() -> list[Answer]:
        key = await stack.create_key("two-gateways", limit=Limit(3, 600))
        return [await one.ask(key) for one in (pair.near, pair.far, pair.near, pair.far, pair.near)]

    answers = await pair.undisturbed(ask)

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
    # A key that was never seen draws on the budget of its address first, which others may have spent.
    for one in (pair.near, pair.far):
        await eventually(lambda one=one: one.ask(key), lambda answer: answer.status == 404)  # type: ignore[misc]
    await eventually(pair.is_shared, bool)
    said, counted = len(await pair.far.events()), await pair.far.counted_alone()

    trouble(pair.wire)
    try:
        started = time.monotonic()
        answers = [await pair.far.ask(key) for _ in range(20)]
        seconds = time.monotonic() - started
        away_for = (await pair.far.events())[said:]
        counted_now = await pair.far.counted_alone()
    finally:
        pair.wire.mend()
    await eventually(pair.is_shared, bool)
    # The shared bucket knows nothing of what passed meanwhile.
    await eventually(lambda: pair.ask_both(key), lambda left: 980 < left[1] == left[0] - 1, poll_s=0.5)

    assert {answer.status for answer in answers} == {404}
    left = remaining(answers)
    assert left == [*range(left[0], left[0] - 20, -1)]
    assert seconds < HELD_UP_MAX_S
    assert counted_now == counted + 20
    assert away_for == ["rate_limits.away"]
