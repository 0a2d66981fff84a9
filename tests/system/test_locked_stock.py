"""A stock that somebody has locked for long: who wants it waits, and nobody else, through both doors."""

import asyncio

import aiohttp
import psycopg

from tests.builders import SKU, Tenant, open_tenant
from tests.running import RunningStack

LOCK = "SELECT 1 FROM balance WHERE tenant_id = %s AND sku = %s FOR UPDATE"


async def test_who_wants_a_locked_stock_holds_up_no_other_tenant(
    stack: RunningStack, session: aiohttp.ClientSession, tenant: Tenant
) -> None:
    other = await open_tenant(stack, session)
    await tenant.receive(10)
    await other.receive(1)

    async with await psycopg.AsyncConnection.connect(stack.system.stack.databases["inventory"].owner) as locker:
        await locker.execute(LOCK, (tenant.id, SKU))
        waiting = asyncio.create_task(tenant.record(-1, reason="pick"))
        await other.receive(1)
        is_waiting = not waiting.done()
        await locker.rollback()

    assert is_waiting  # the other was told while the lock was still waited for
    assert (await waiting).status == 200
    assert (await tenant.balance(), await other.balance()) == (9, 2)
