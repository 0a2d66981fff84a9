"""Whoever keeps the idempotency keys is away: no POST under a key of the caller's own writes, and no key is spent."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import psycopg
import pytest

from gateway.app import ROUTES
from tests.builders import SKU, Body, Tenant, eventually, movement, shipment
from tests.gateway.asking import Answer
from tests.running import RunningStack
from tests.system.faults import away
from tests.system.test_outage import assert_told, named_away

LEDGER = "/v1/inventory/ledger"


def bodies() -> dict[str, Body]:
    """A request to each route that takes a POST with a body. What acts on a shipment needs one: the matrix of keys has
    those."""
    return {
        LEDGER: movement(1),
        "/v1/inventory/ledger/batch": {"atomic": True, "movements": [movement(2)]},
        "/v1/inventory/transfers": {"sku": SKU, "from_warehouse": "SEA-1", "to_warehouse": "NYC-1", "qty": 4},
        "/v1/shipments": shipment(8),
        "/v1/webhooks/subscribe": {"url": "https://your.app/x", "events": ["*"]},
    }


@asynccontextmanager
async def database_away(stack: RunningStack) -> AsyncIterator[None]:
    """The inventory's database takes no connections and has lost those it had. All others are as they were."""
    async with await psycopg.AsyncConnection.connect(stack.system.stack.postgres_url, autocommit=True) as superuser:
        await superuser.execute("ALTER DATABASE skutrail_inventory ALLOW_CONNECTIONS false")
        try:
            await superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'skutrail_inventory'"
            )
            yield
        finally:
            await superuser.execute("ALTER DATABASE skutrail_inventory ALLOW_CONNECTIONS true")


def service_away(stack: RunningStack) -> AbstractAsyncContextManager[None]:
    return away(stack, "inventory", signal.SIGKILL)


async def written(tenant: Tenant) -> dict[str, int]:
    """How many rows a tenant has of each kind."""

    async def count(path: str) -> int:
        answer = await eventually(lambda: tenant.api.get(path), lambda seen: seen.status == 200)
        return len(answer.json["data"])

    return {path: await count(path) for path in (LEDGER, "/v1/shipments", "/v1/webhooks")}


@pytest.mark.parametrize("trouble", [service_away, database_away])
async def test_a_post_that_cannot_be_told_from_its_twin_is_refused_and_its_key_serves_it_later(
    stack: RunningStack, tenant: Tenant, trouble: Callable[[RunningStack], AbstractAsyncContextManager[None]]
) -> None:
    requests = [(path, body, str(uuid4())) for path, body in bodies().items()]
    assert {path for path, _, _ in requests} == {r.path for r in ROUTES if r.method == "POST" and not r.is_bare}
    await tenant.receive(100)

    async with trouble(stack):
        for path, body, key in requests:
            await assert_told(tenant.api.post(path, body, idempotency_key=key))
    await named_away(tenant)
    before = await written(tenant)
    first = [await ask_until_told(tenant, *request) for request in requests]
    after = await written(tenant)
    again = [await ask_until_told(tenant, *request) for request in requests]

    assert before == {LEDGER: 1, "/v1/shipments": 0, "/v1/webhooks": 0}
    assert [answer.status for answer in first] == [200, 200, 200, 202, 201]
    assert not any("Idempotent-Replayed" in answer.headers for answer in first)
    # The movement, the batch's, both sides of the transfer; what the shipment takes may be there or under way.
    assert after["/v1/shipments"] == after["/v1/webhooks"] == 1
    assert 5 <= after[LEDGER] <= 6
    assert [answer.body for answer in again] == [answer.body for answer in first]
    assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in again)


async def ask_until_told(tenant: Tenant, path: str, body: Body, key: str) -> Answer:
    """As a client retries: the same request under the same key, while it is told 503."""
    return await eventually(
        lambda: tenant.api.post(path, body, idempotency_key=key), lambda answer: answer.status != 503
    )
