"""Each process dies once at each of its failpoints, in the middle of lives of shipments: all comes to rest by itself.

A stack of its own. Callers repeat what was not answered, and do nothing else about it; the process is started again.
"""

from __future__ import annotations

import ast
import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from cli.local.system import System
from services.orders import topology as orders
from services.shipments import topology as shipments
from services.webhooks import topology as webhooks
from tests.builders import eventually, open_tenant
from tests.running import RunningStack, create_key, stack_in
from tests.sandbox.running import Sandbox
from tests.system import lives
from tests.system.faults import armed
from tests.system.lives import EVERYDAY, TROUBLE, Life, Story, Told, live
from tests.system.rest import faults_of_rest
from tests.system.subscriber import SECRET, subscriber

ROOT = Path(__file__).resolve().parents[2]
REACHED_WITHIN_S, AT_REST_WITHIN_S = 30, 30
# What orders or webhooks had under their hands comes again after 30 s (ConsumerSpec.ack_wait), a webhook that was being
# sent after 25. Shipments ask for theirs after 10 to 12: stock and labels are waited for. But a label that may be
# bought for what is canceled is looked for until the carrier's slowest sale would be there: 40 s, and a look more.
EXTRA_S = {"orders": 15, "webhooks": 15, "shipments": 45}

Capture = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Point:
    """A process, a place where it dies, and what leads it there."""

    process: str
    failpoint: str
    stories: Sequence[Story] = EVERYDAY


STEPS = {
    "inventory": ("allocated", "served", "released", "dispatched"),
    "shipments": (
        *("created", "allocate_begun", "allocate_answered", "stock_followed"),
        *("purchase_begun", "label_sold", "purchase_settled"),
        *("dispatch_begun", "dispatch_answered", "dispatch_followed", "end_kept"),
        *("cancel_asked", "cancel_answered", "cancel_followed"),
        *("release_begun", "release_answered", "release_marked"),
        *("void_begun", "void_answered", "void_settled"),
        *("arrived", "delivered", "taken_up"),
    ),
}
SEARCHES = ("search_begun", "search_answered", "search_settled")
CONSUMERS = {"shipments": shipments.CONSUMERS, "orders": orders.CONSUMERS, "webhooks": webhooks.CONSUMERS}
MATRIX = [
    *(Point(service, f"{service}.{step}") for service, steps in STEPS.items() for step in steps),
    Point("inventory", "inventory.expired", (lives.expires,)),
    Point("shipments", "shipments.sent_again", (lives.leaves_after_trouble_with_the_carrier,)),
    *(Point("shipments", f"shipments.{step}", TROUBLE) for step in SEARCHES),
    *(Point(service, "relay.published") for service in ("inventory", "shipments", "orders")),
    *(
        Point(service, f"{spec.name}.{step}")
        for service, specs in CONSUMERS.items()
        for spec in specs
        for step in ("taken", "handled")
    ),
]
# Alone in its life, the first kills no purchase of another story: that would come again after 12 s.
A_FEW = [
    (("inventory.dispatched", "shipments.end_kept"), (lives.leaves_from_two_warehouses,)),
    (("inventory.released", "shipments.created"), EVERYDAY),
]


@pytest.fixture(scope="module")
async def mortal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """The whole system, whose shipments ask the carrier every second how far a parcel has come."""
    system = System(stack_in(tmp_path_factory.mktemp("mortal")), report=print)
    child = system.children["shipments"]
    plain = child.process.environment
    child.process = replace(child.process, environment=lambda stack: {**plain(stack), "SKUTRAIL_TRACK_EVERY_S": "1"})
    try:
        await system.start()
        yield RunningStack(system, key=await create_key(system.stack, "local"))
    finally:
        await system.stop()


@pytest.mark.parametrize(("failpoints", "stories"), A_FEW, ids=[" and ".join(names) for names, _ in A_FEW])
async def test_all_comes_to_rest_after_a_death_of_two(
    mortal: RunningStack,
    session: aiohttp.ClientSession,
    capfd: Capture,
    failpoints: Sequence[str],
    stories: Sequence[Story],
) -> None:
    points = [replace(point, stories=stories) for point in MATRIX if point.failpoint in failpoints]
    await survive(mortal, session, capfd, points)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("point", MATRIX, ids=lambda point: f"{point.process}-{point.failpoint}")
async def test_all_comes_to_rest_after_a_death(
    mortal: RunningStack, session: aiohttp.ClientSession, capfd: Capture, point: Point
) -> None:
    await survive(mortal, session, capfd, [point])


def test_the_matrix_has_every_failpoint_and_each_stands_in_one_place() -> None:
    standing = Counter(name for path in _sources() for name in _failpoints(path))

    assert {name: count for name, count in standing.items() if count > 1} == {}
    assert set(standing) == {point.failpoint for point in MATRIX}


async def survive(
    stack: RunningStack, session: aiohttp.ClientSession, capture: Capture, points: Sequence[Point]
) -> None:
    """Lets processes die in the middle of a life, and waits until all is as it must be."""
    tenant = await open_tenant(stack, session)
    life = Life(tenant, Sandbox(stack.system.stack.carrier_url, session))
    async with AsyncExitStack() as opened:
        hears = await opened.enter_async_context(subscriber(SECRET))
        await tenant.subscribe(hears.url, "*", secret=SECRET)
        arming = [opened.enter_async_context(armed(stack, one.process, one.failpoint)) for one in points]
        dying = await asyncio.gather(*arming)
        await live(life, list(dict.fromkeys(story for one in points for story in one.stories)))
        async with asyncio.timeout(REACHED_WITHIN_S):
            died = await asyncio.gather(*dying)

        async def faults() -> list[str]:
            return await faults_of_rest(stack.system.stack, life, hears)

        within_s = AT_REST_WITHIN_S + max(EXTRA_S.get(one.process, 0) for one in points)
        await eventually(faults, lambda found: not found, within_s=within_s, poll_s=0.3)
        rested_s = time.monotonic() - max(died)
        assert await faults_of_repetition(life) == []
        assert await faults() == [], "the repetitions had an effect"
        for shipment_id in [waiting for waiting, end in life.ends.items() if end == "backordered"]:
            await life.cancel(shipment_id)  # what waits would be looked at in the lives to come
    with capture.disabled():
        names = ", ".join(f"{one.process} at {one.failpoint}" for one in points)
        sys.stdout.write(f"\n{rested_s:6.1f} s to rest after the death of {names}")


async def faults_of_repetition(life: Life) -> list[str]:
    """Every key sent once more: the same answer, to the byte."""

    async def repeat(told: Told) -> str | None:
        again = await life.tenant.api.post(told.path, told.sent, idempotency_key=told.key)
        is_same = (again.status, again.body) == (told.answer.status, told.answer.body)
        return None if is_same else f"{told} was repeated with {again}"

    return [fault for fault in [await repeat(told) for told in life.told] if fault]


def _sources() -> list[Path]:
    return [path for folder in ("chassis", "services", "gateway", "sandbox") for path in (ROOT / folder).rglob("*.py")]


def _failpoints(path: Path) -> Iterator[str]:
    """The names that a module can reach; that of a consumer stands for each consumer."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reach"):
            continue
        [name] = node.args
        if isinstance(name, ast.Constant):
            yield str(name.value)
        else:
            [(consumer, step)] = re.findall(r"^f'{(.+)}\.([a-z]+)'$", ast.unparse(name))
            assert consumer == "self._spec.name", path
            yield from (f"{spec.name}.{step}" for specs in CONSUMERS.values() for spec in specs)
