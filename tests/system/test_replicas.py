"""Two inventories behind two gateways, on the same keys and the same SKUs: they answer as one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import aiohttp
import pytest

from cli.local.stack import LOOPBACK
from tests.builders import Body, Tenant
from tests.running import RunningStack
from tests.system.faults import kept_running
from tests.system.keyed import OPERATIONS, Intent, Operation, Written, difference, intend, stock_up, written
from tests.system.replicas import gateway_to, second_inventory
from tests.system.storm import ANSWERS, BLOWS, Capture, storm

REFUSED = {f"{name}, refused": one for name, one in OPERATIONS.items() if one.refused}
TWINS = 4
"""At each door."""


@pytest.fixture(scope="module")
async def doors(stack: RunningStack) -> AsyncIterator[list[str]]:
    """The gateway on its inventory, and another one on this and on another inventory, by turns."""
    parts = stack.system.stack
    async with second_inventory(parts) as second:
        both = f"ipv4:{LOOPBACK}:{parts.ports['inventory']},{second}"
        async with gateway_to(parts, both) as door:
            yield [stack.base_url, door]


async def test_every_answer_of_two_inventories_under_full_load_is_that_of_one(
    stack: RunningStack, session: aiohttp.ClientSession, doors: list[str], capfd: Capture
) -> None:
    async with storm(stack, session, capfd, doors) as weather:
        await weather.flood.goes_on(ANSWERS)

    assert weather.flood.counts["without a first answer"] <= weather.flood.unknown()


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
async def test_twins_at_both_have_one_effect_and_one_answer(
    stack: RunningStack, tenant: Tenant, doors: list[str], operation: Operation
) -> None:
    await stock_up(tenant)

    intent = await intend(operation, tenant)

    assert await written_by_twins(stack, tenant, doors, intent, operation.body) == operation.writes


@pytest.mark.parametrize("operation", REFUSED.values(), ids=REFUSED.keys())
async def test_twins_that_are_refused_at_both_are_refused_alike(
    stack: RunningStack, tenant: Tenant, doors: list[str], operation: Operation
) -> None:
    assert operation.refused is not None
    intent = await intend(operation, tenant, operation.refused.makes)

    assert await written_by_twins(stack, tenant, doors, intent, operation.refused.body) == {}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_what_an_inventory_began_when_it_was_killed_another_ends_once(
    stack: RunningStack, session: aiohttp.ClientSession, doors: list[str], capfd: Capture
) -> None:
    async with kept_running(stack), storm(stack, session, capfd, doors) as weather:
        await weather.rage(BLOWS // 3)


async def written_by_twins(
    stack: RunningStack, tenant: Tenant, doors: Sequence[str], intent: Intent, body: Body
) -> Written:
    """Sends a request through all doors at once, and once more, and compares what is told."""
    before = await written(stack.system.stack, tenant.id)
    callers = [replace(tenant.api, base_url=door) for door in doors] * TWINS

    answers = await asyncio.gather(*(caller.post(intent.path, body, idempotency_key=intent.key) for caller in callers))
    again = await tenant.api.post(intent.path, body, idempotency_key=intent.key)

    told = [answer for answer in answers if answer.code != "idempotency_key_in_use"]
    assert {(answer.status, answer.body) for answer in told} == {(again.status, again.body)}
    firsts = [answer for answer in told if "Idempotent-Replayed" not in answer.headers]
    assert len(firsts) == 1
    return difference(await written(stack.system.stack, tenant.id), before)
