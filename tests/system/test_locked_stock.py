"""A stock that somebody has locked for long: who wants it waits, and nobody else, through both doors."""

import asyncio
from functools import partial

import aiohttp
import psycopg

from tests.builders import SKU, Tenant, eventually, open_tenant
from tests.running import RunningStack

LOCK = "SELECT 1 FROM balance WHERE tenant_id = %s AND sku = %s FOR UPDATE"
WAITED_FOR = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def is_waited_for(locker: psycopg.AsyncConnection) -> bool:
    row = await (await locker.execute(WAITED_FOR)).fetchone()
    return row is not None and row[0] > 0


async def test_who_wants_a_locked_stock_holds_up_no_other_tenant(
    stack: RunningStack, session: aiohttp.ClientSession, tenant: Tenant
) -> None:
    other = await open_tenant(stack, session)
    await tenant.receive(10)
    await other.receive(1)

    async with await psycopg.AsyncConnection.connect(stack.system.stack.databases["inventory"].owner) as locker:
        await locker.execute(LOCK, (tenant.id, SKU))
        waiting = asyncio.create_task(tenant.record(-1, reason="pick"))
        await eventually(partial(is_waited_for, locker), bool)
        await other.receive(1)
        is_waiting = not waiting.done()
        await locker.rollback()

    assert is_waiting  # the other was told while the lock was still waited for
    assert (await waiting).status == 200
    assert (await tenant.balance(), await other.balance()) == (9, 2)
