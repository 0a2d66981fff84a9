"""Every POST under one key: repeated, twinned, changed, misdirected, refused and killed, it has one effect or none.

What happened is counted in the databases. What was told is compared byte for byte.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import uuid4

import aiohttp
import pytest

from gateway.app import ROUTES
from tests.builders import Body, Tenant, eventually
from tests.gateway.asking import Answer, Caller
from tests.running import RunningStack
from tests.system.keyed import (
    NOBODY,
    OPERATIONS,
    Intent,
    Operation,
    Refused,
    Written,
    difference,
    intend,
    relieve,
    stock_up,
    written,
)
from tests.system.second_gateway import SecondGateway, second_gateway

every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
every_owner = pytest.mark.parametrize("owner", sorted({operation.owner for operation in OPERATIONS.values()}))


@dataclass(frozen=True)
class Desk:
    """A tenant that nobody else uses, at both gateways, and what was written of it since."""

    stack: RunningStack
    tenant: Tenant
    elsewhere: Caller
    before: dict[str, int] = field(default_factory=dict)

    async def intend(self, *operations: Operation, refused: Refused | None = None) -> list[Intent]:
        """What each is to act on is made, and none of that counts as written."""
        makes = refused.makes if refused else None
        intents = [await intend(operation, self.tenant, makes) for operation in operations]
        self.before.update(await written(self.stack.system.stack, self.tenant.id))
        return intents

    async def post(self, intent: Intent, body: Body | None = None) -> Answer:
        return await self._post(self.tenant.api, intent, body)

    async def post_elsewhere(self, intent: Intent) -> Answer:
        return await self._post(self.elsewhere, intent)

    async def _post(self, caller: Caller, intent: Intent, body: Body | None = None) -> Answer:
        sent = intent.operation.body if body is None else body
        return await caller.post(intent.path, sent, idempotency_key=intent.key)

    async def written(self) -> Written:
        """Since something was intended."""
        return difference(await written(self.stack.system.stack, self.tenant.id), self.before)


@pytest.fixture(scope="module")
async def second(stack: RunningStack) -> AsyncIterator[SecondGateway]:
    async with second_gateway(stack.system.stack) as gateway:
        yield gateway


@pytest.fixture
async def desk(stack: RunningStack, tenant: Tenant, second: SecondGateway) -> AsyncIterator[Desk]:
    await stock_up(tenant)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        elsewhere = replace(tenant.api, session=session, base_url=second.base_url)
        yield Desk(stack, tenant, elsewhere)


def assert_replayed(again: Answer, first: Answer) -> None:
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    for name in ("Content-Type", "Location", "Idempotency-Key"):
        assert again.headers.get(name) == first.headers.get(name)


def assert_reused(answer: Answer) -> None:
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")


def test_every_post_of_the_gateway_has_its_rows_here() -> None:
    posts = {route.path for route in ROUTES if route.method == "POST"}

    assert {operation.path for operation in OPERATIONS.values()} == posts


@every_operation
async def test_a_repetition_is_told_the_same_and_does_nothing(desk: Desk, operation: Operation) -> None:
    [intent] = await desk.intend(operation)

    first = await desk.post(intent)
    again = await desk.post(intent)

    assert first.status in (200, 201, 202)
    assert "Idempotent-Replayed" not in first.headers
    assert_replayed(again, first)
    assert await desk.written() == operation.writes


@every_operation
async def test_another_gateway_tells_the_same(desk: Desk, operation: Operation) -> None:
    here, there = await desk.intend(operation, operation)

    first_here = await desk.post(here)
    first_there = await desk.post_elsewhere(there)

    assert_replayed(await desk.post_elsewhere(here), first_here)
    assert_replayed(await desk.post(there), first_there)

    assert await desk.written() == {kind: 2 * count for kind, count in operation.writes.items()}


@every_operation
async def test_another_body_is_refused_and_writes_nothing(desk: Desk, operation: Operation) -> None:
    [intent] = await desk.intend(operation)

    first = await desk.post(intent)
    assert_reused(await desk.post(intent, operation.other))

    assert_replayed(await desk.post(intent), first)
    assert await desk.written() == operation.writes


@every_operation
async def test_every_other_route_is_refused_and_writes_nothing(desk: Desk, operation: Operation) -> None:
    [intent] = await desk.intend(operation)

    first = await desk.post(intent)
    for other in OPERATIONS.values():
        if other.path != operation.path:
            assert_reused(await desk.post(Intent(other, intent.key, other.path.format(id=NOBODY))))

    assert_replayed(await desk.post(intent), first)
    assert await desk.written() == operation.writes


@pytest.mark.parametrize("operation", [one for one in OPERATIONS.values() if one.makes], ids=lambda one: one.path)
async def test_another_object_is_another_request(desk: Desk, operation: Operation) -> None:
    one, other = await desk.intend(operation, operation)

    first = await desk.post(one)
    assert_reused(await desk.post(replace(other, key=one.key)))

    assert_replayed(await desk.post(one), first)
    assert await desk.written() == operation.writes


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.refused])
async def test_a_refusal_stays_refused_when_the_stock_has_arrived(desk: Desk, name: str) -> None:
    refusal = OPERATIONS[name].refused
    assert refusal is not None
    [intent] = await desk.intend(OPERATIONS[name], refused=refusal)

    refused = await desk.post(intent, refusal.body)
    assert refusal.code.encode() in refused.body
    assert await desk.written() == {}
    await relieve(desk.tenant)

    async def granted() -> bool:
        answer = await desk.post(replace(intent, key=str(uuid4())), refusal.body)
        return answer.status == 200 and refusal.code.encode() not in answer.body

    await eventually(granted, bool)
    assert_replayed(await desk.post(intent, refusal.body), refused)


async def twins(desk: Desk, intent: Intent, count: int) -> None:
    """So many at once, by turns at the one gateway and the other: one runs, and the others are told the same."""
    barrier = asyncio.Barrier(count)

    async def twin(number: int) -> Answer:
        post = desk.post_elsewhere if number % 2 else desk.post
        await barrier.wait()
        return await post(intent)

    answers = await asyncio.gather(*(twin(number) for number in range(count)))
    told = [answer for answer in answers if answer.status != 409]
    early = [answer for answer in answers if answer.status == 409]
    assert {answer.code for answer in early} <= {"idempotency_key_in_use"}
    assert all(answer.headers["Retry-After"] == "1" for answer in early)
    assert {answer.body for answer in told} == {(await desk.post(intent)).body}
    assert [answer.headers.get("Idempotent-Replayed") for answer in told].count(None) <= 1


async def warm_up(desk: Desk, connections: int) -> None:
    callers = (desk.tenant.api, desk.elsewhere)
    await asyncio.gather(*(caller.get("/healthz") for caller in callers * connections))


@every_operation
async def test_twins_at_two_gateways_have_one_effect(desk: Desk, operation: Operation) -> None:
    two, four = await desk.intend(operation, operation)
    await warm_up(desk, 2)

    await twins(desk, two, 2)
    await twins(desk, four, 4)

    assert await desk.written() == {kind: 2 * count for kind, count in operation.writes.items()}


@pytest.mark.slow
@every_operation
async def test_many_twins_many_times_have_one_effect_each(desk: Desk, operation: Operation) -> None:
    intents = await desk.intend(*[operation] * 40)
    await warm_up(desk, 4)

    for intent in intents:
        await twins(desk, intent, 8)

    assert await desk.written() == {kind: 40 * count for kind, count in operation.writes.items()}


async def kill_before_the_answers(
    desk: Desk, second: SecondGateway, owner: str, intents: Sequence[Intent], *, times: int = 1
) -> None:
    """kill -9 of a service as soon as its commits are seen, before a word of them is told; then all is asked again.

    `times`: how often all was written behind it.
    """
    line = second.lines[owner]

    line.is_mute = True
    asked = [asyncio.create_task(desk.post_elsewhere(intent)) for intent in intents]
    await eventually(desk.written, lambda seen: seen == all_written(owner, times=times))
    await desk.stack.kill(owner)
    unanswered = await asyncio.gather(*asked)
    line.is_mute = False
    await desk.stack.restart(owner)

    assert {answer.code for answer in unanswered} <= {"unavailable", "deadline_exceeded"}
    for intent in intents:
        first = await answered(partial(desk.post, intent))
        assert first.status in (200, 201, 202)
        assert first.headers["Idempotent-Replayed"] == "true"
        assert_replayed(await answered(partial(desk.post_elsewhere, intent)), first)


async def answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer, once the gateways have found the service again."""
    return await eventually(ask, lambda answer: answer.status not in (503, 504))


def owned_by(owner: str) -> list[Operation]:
    return [operation for operation in OPERATIONS.values() if operation.owner == owner]


def all_written(owner: str, *, times: int) -> Written:
    total: Counter[str] = Counter()
    for operation in owned_by(owner):
        total.update(operation.writes)
    return {kind: times * count for kind, count in total.items()}


@every_owner
async def test_what_was_committed_and_never_told_is_told_after_a_kill(
    desk: Desk, second: SecondGateway, owner: str
) -> None:
    intents = await desk.intend(*owned_by(owner))

    await kill_before_the_answers(desk, second, owner, intents)

    assert await desk.written() == all_written(owner, times=1)


@pytest.mark.slow
@every_owner
async def test_what_was_committed_and_never_told_is_told_after_many_kills(
    desk: Desk, second: SecondGateway, owner: str
) -> None:
    rounds, operations = 5, owned_by(owner)
    intents = await desk.intend(*operations * rounds)

    for times in range(1, rounds + 1):
        behind = intents[(times - 1) * len(operations) : times * len(operations)]
        await kill_before_the_answers(desk, second, owner, behind, times=times)

    assert await desk.written() == all_written(owner, times=rounds)
