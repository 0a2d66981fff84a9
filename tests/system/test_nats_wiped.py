"""NATS loses its store in the middle of work: everything that was announced arrives all the same, once."""

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from cli.local import nats
from cli.local.home import keep_secrets, open_home
from cli.local.processes import migration_environment
from cli.local.stack import Stack, choose_ports
from cli.local.system import System
from services.webhooks.domain import EVENT_TYPES
from tests.builders import Tenant, eventually, open_tenant
from tests.running import RunningStack, create_key
from tests.system.faults import frozen
from tests.system.outboxes import ANNOUNCERS, announced
from tests.system.subscriber import SECRET, Subscriber, subscriber

SERVICES = ("inventory", "shipments", "orders", "webhooks")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def own_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """Nobody else's: what others have told must not be told again, and at its end all must be well."""
    home = open_home(tmp_path_factory.mktemp("wiped"))
    system = System(Stack(home=home, secrets=keep_secrets(home), ports=choose_ports()), report=print)
    try:
        await system.start()
        yield RunningStack(system, key=await create_key(system.stack, "local"))
    finally:
        await system.stop()


@pytest.fixture
async def tenant(own_stack: RunningStack, session: aiohttp.ClientSession) -> Tenant:
    return await open_tenant(own_stack, session)


async def types(stack: RunningStack, *arguments: str) -> tuple[int | None, str]:
    """What an operator types, with the settings of the migration; returns the exit code and what is told."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *arguments),
        env={"PATH": os.environ["PATH"], **migration_environment(stack.system.stack)},
        stdout=PIPE,
        stderr=PIPE,
    )
    out, errors = await process.communicate()
    return process.returncode, f"{out.decode()}{errors.decode()}"


async def public_events(stack: RunningStack, tenant: Tenant) -> set[str]:
    """The ids of all that was ever announced to the tenant."""
    found = [event for name in ANNOUNCERS for event in await announced(stack.system.stack, name, tenant.id)]
    return {event.event_id for event in found if event.type in EVENT_TYPES}


async def all_told(stack: RunningStack, tenant: Tenant, receiver: Subscriber, within_s: float = 30) -> set[str]:
    """Waits until each of them has arrived at the subscriber."""

    async def missing() -> set[str]:
        return await public_events(stack, tenant) - receiver.events().keys()

    await eventually(missing, lambda ids: not ids, within_s=within_s)
    return set(receiver.events())


async def test_everything_arrives_once_after_nats_has_lost_its_store(own_stack: RunningStack, tenant: Tenant) -> None:
    began = datetime.now(UTC) - timedelta(minutes=1)
    pids = {name: own_stack.system.children[name].running for name in SERVICES}
    async with subscriber(SECRET) as receiver:
        await tenant.subscribe(receiver.url, "*", secret=SECRET)
        await tenant.receive(100)
        before = [await tenant.ship(1) for _ in range(3)]
        for shipment_id in before:
            await tenant.shipment_that_is(shipment_id, "label_ready")
        told_before = await all_told(own_stack, tenant, receiver)

        # Published, and taken by nobody: the store loses it.
        async with frozen(own_stack, "webhooks"), frozen(own_stack, "orders"):
            await tenant.receive(1)
            lost = await tenant.ship(1)
            await tenant.shipment_that_is(lost, "label_ready")
            await own_stack.kill("nats", signal.SIGKILL)
        shutil.rmtree(nats.data_folder(own_stack.system.stack))
        meanwhile = [await tenant.ship(1) for _ in range(3)]
        await tenant.receive(1)
        await own_stack.restart("nats")
        meanwhile.append(await tenant.ship(1))

        code, told = await types(own_stack, "republish", f"--since={began.isoformat()}")
        assert code == 0, told
        assert all(f"{name:9}" in told for name in ANNOUNCERS), told

        for shipment_id in [lost, *meanwhile]:
            await tenant.shipment_that_is(shipment_id, "label_ready", within_s=30)
        arrived = await all_told(own_stack, tenant, receiver)
        assert arrived > told_before
        await own_orders_caught_up(tenant, 8)
        await all_told(own_stack, tenant, receiver)
        deliveries = Counter(delivery.headers["webhook-id"] for delivery in receiver.deliveries)
        assert set(deliveries.values()) == {1}, deliveries
        assert {name: own_stack.system.children[name].running for name in SERVICES} == pids

    code, told = await eventually(lambda: types(own_stack, "doctor"), lambda seen: seen[0] == 0, within_s=30)
    assert told == "All is well.\n"


async def own_orders_caught_up(tenant: Tenant, count: int) -> None:
    async def statuses() -> list[str]:
        answer = await tenant.api.get("/v1/orders?limit=100")
        return [order["status"] for order in answer.json["data"]]

    await eventually(statuses, lambda seen: seen == ["allocated"] * count)


async def test_what_waited_arrives_by_itself_when_the_streams_are_declared_again(
    own_stack: RunningStack, tenant: Tenant
) -> None:
    async with subscriber(SECRET) as receiver:
        await tenant.subscribe(receiver.url, "*", secret=SECRET)
        await tenant.receive(10)
        await all_told(own_stack, tenant, receiver)
        await own_stack.kill("nats", signal.SIGKILL)
        shutil.rmtree(nats.data_folder(own_stack.system.stack))
        shipment_id = await tenant.ship(1)
        await own_stack.restart("nats")

        code, told = await types(own_stack, "migrate")

        assert code == 0, told
        await tenant.shipment_that_is(shipment_id, "label_ready", within_s=30)
        await all_told(own_stack, tenant, receiver)
