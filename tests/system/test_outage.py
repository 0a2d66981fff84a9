"""A part is away: callers are told soon and plainly, nothing accepted is lost, and all is well when it is back."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg
import pytest

from tests.builders import Tenant, eventually, shipment
from tests.gateway.asking import Answer
from tests.running import RunningStack
from tests.system.books import faults_of_the_ledger, read_books
from tests.system.faults import away, frozen, listens
from tests.system.load import under_load
from tests.system.subscriber import SECRET, subscriber

TOLD_WITHIN_S = 2.5
READS = {
    "inventory": "/v1/inventory/balance?sku=SKU-1&warehouse=SEA-1",
    "orders": "/v1/orders/ord_1",
    "shipments": "/v1/shipments/shp_1",
    "webhooks": "/v1/webhooks/whk_1",
}


async def timed(question: Awaitable[Answer]) -> tuple[Answer, float]:
    began = time.monotonic()
    answer = await question
    return answer, time.monotonic() - began


async def assert_told(question: Awaitable[Answer]) -> None:
    """503 `unavailable`, with the time to wait, before a client would lose its patience."""
    answer, seconds = await timed(question)
    assert (answer.status, answer.code) == (503, "unavailable"), answer
    assert int(answer.headers["Retry-After"]) >= 1
    assert seconds < TOLD_WITHIN_S


async def named_away(tenant: Tenant, *names: str) -> None:
    """Waits until readiness names these services, and no other, as away. The gateway itself is ready all the while."""

    async def seen() -> tuple[int, list[str]]:
        answer = await tenant.api.get("/readyz")
        return answer.status, answer.json["away"]

    await eventually(seen, lambda found: found == (200, list(names)))


@pytest.mark.parametrize("name", READS)
async def test_a_dead_service_is_told_at_once_and_named_by_readiness(
    stack: RunningStack, tenant: Tenant, name: str
) -> None:
    await tenant.balance()
    async with away(stack, name, signal.SIGKILL):
        await assert_told(tenant.api.get(READS[name]))
        await named_away(tenant, name)

    await named_away(tenant)
    assert (await tenant.api.get(READS[name])).status in (200, 404)


async def test_without_postgres_writes_and_reads_are_refused_soon_and_work_again_after(
    stack: RunningStack, tenant: Tenant
) -> None:
    await tenant.receive(1)
    key = str(uuid4())
    async with away(stack, "postgres", signal.SIGINT):
        await assert_told(tenant.record(2, key=key))
        await assert_told(tenant.api.get(READS["inventory"]))
        await assert_told(tenant.api.post("/v1/shipments", shipment(1)))
        assert (await eventually(lambda: tenant.api.get("/readyz"), lambda seen: seen.status == 503)).code
        assert (await tenant.api.get("/healthz")).status == 200

    again = await eventually(lambda: tenant.record(2, key=key), lambda seen: seen.status == 200)
    assert again.json["balance"] == 3
    await tenant.shipment_that_is(await tenant.ship(3), "label_ready")
    await named_away(tenant)


@pytest.mark.parametrize("name", ["postgres", "inventory"])
async def test_what_hangs_is_told_as_soon_and_the_write_has_one_effect(
    stack: RunningStack, tenant: Tenant, name: str
) -> None:
    await tenant.receive(1)
    key = str(uuid4())
    async with frozen(stack, name):
        answer, seconds = await timed(tenant.record(2, key=key))
        assert (answer.status, answer.code) in ((503, "unavailable"), (504, "deadline_exceeded")), answer
        assert seconds < TOLD_WITHIN_S

    again = await eventually(lambda: tenant.record(2, key=key), lambda seen: seen.status == 200)
    assert again.json["balance"] == 3
    assert await tenant.balance() == 3
    await named_away(tenant)


async def test_writes_are_accepted_without_nats_and_their_events_arrive_after_it_returns(
    stack: RunningStack, tenant: Tenant
) -> None:
    async with subscriber(SECRET) as receiver:
        await tenant.subscribe(receiver.url, "inventory.updated", "shipment.label_ready", secret=SECRET)
        async with away(stack, "nats", signal.SIGTERM):
            for qty in range(1, 6):
                answer, seconds = await timed(tenant.record(qty))
                assert answer.status == 200, answer
                assert seconds < TOLD_WITHIN_S
            shipment_id = await tenant.ship(15)
            assert (await tenant.shipment(shipment_id))["status"] == "queued"

        events = await receiver.events_until(lambda events: len(events) == 6, within_s=30)
        entries = [event["data"] for event in events if event["type"] == "inventory.updated"]
        assert sorted(entry["seq"] for entry in entries) == [1, 2, 3, 4, 5]
        assert [event["data"]["id"] for event in events if event["type"] == "shipment.label_ready"] == [shipment_id]
    await named_away(tenant)


@pytest.mark.parametrize("name", ["gateway", "inventory"])
async def test_a_write_under_way_when_a_process_is_told_to_stop_is_still_answered(
    stack: RunningStack, tenant: Tenant, name: str
) -> None:
    await tenant.receive(1)
    process = stack.system.children[name]
    async with locked_balance(stack, tenant) as is_waited_for:
        write = asyncio.create_task(tenant.record(2))
        await eventually(is_waited_for, bool)
        stack.send_signal(name, signal.SIGTERM)
        await eventually(lambda: listens(stack, name), lambda seen: not seen)

    answer = await write
    assert (answer.status, answer.json["balance"]) == (200, 3), answer
    assert await process.wait_ended() == 0
    await stack.restart(name)
    assert (await eventually(lambda: tenant.record(1), lambda seen: seen.status == 200)).json["balance"] == 4
    await named_away(tenant)


@pytest.mark.parametrize("name", ["gateway", "inventory"])
async def test_a_stop_and_a_start_in_the_middle_of_work_lose_nothing(
    stack: RunningStack, tenant: Tenant, name: str
) -> None:
    process = stack.system.children[name]
    async with under_load(tenant, seed=1, writers=4, shippers=1) as load:
        await load.goes_on()
        assert await process.stop(), "it had to be killed"
        assert await process.wait_ended() == 0
        await stack.restart(name)
        await load.goes_on()

    books = await read_books(stack.system.stack, tenant.id)
    assert [*faults_of_the_ledger(books, load.entries())] == []
    assert {shipment.id for shipment in books.shipments} == load.shipments()


@asynccontextmanager
async def locked_balance(stack: RunningStack, tenant: Tenant) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Holds the balances of a tenant, so that a write stops in its middle; yields the question whether one has."""
    owner = stack.system.stack.databases["inventory"].owner
    async with (
        await psycopg.AsyncConnection.connect(owner) as holder,
        await psycopg.AsyncConnection.connect(owner, autocommit=True) as watcher,
    ):
        await holder.execute("SELECT 1 FROM balance WHERE tenant_id = %s FOR UPDATE", [tenant.id])

        async def is_waited_for() -> bool:
            waiting = await watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            return await waiting.fetchone() is not None

        yield is_waited_for
