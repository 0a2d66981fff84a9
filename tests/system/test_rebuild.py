"""`skutrail rebuild orders` on the whole system: it makes the rows that the listener made, also out of nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from chassis import outbox
from tests.builders import Tenant, eventually
from tests.running import RunningStack
from tests.system.outboxes import announced

TABLES = ("sales_order", "order_shipment")
Rows = Sequence[Sequence[object]]


@pytest.fixture
def home(stack: RunningStack, tmp_path: Path) -> Path:
    """As the stack describes itself where `skutrail up` runs it."""
    databases = {name: urls.application for name, urls in stack.system.stack.databases.items()}
    (tmp_path / "stack.json").write_text(json.dumps({"databases": databases}))
    return tmp_path


async def test_the_rows_of_orders_come_back_as_they_were(stack: RunningStack, tenant: Tenant, home: Path) -> None:
    await live(tenant)
    await eventually(lambda: heard_versions(stack, tenant), lambda versions: versions[0] == versions[1])
    before, told = await rows(stack, tenant), await announced(stack.system.stack, "orders", tenant.id)
    lines = (await tenant.api.get("/v1/orders/ord_1/lines")).json

    again = await rebuild(home)
    assert await rows(stack, tenant) == before
    async with await psycopg.AsyncConnection.connect(stack.system.stack.databases["orders"].owner) as owner:
        await owner.execute("TRUNCATE sales_order, order_shipment")
    anew = await rebuild(home)

    assert await rows(stack, tenant) == before
    assert len(await announced(stack.system.stack, "orders", tenant.id)) == len(told)
    assert (await tenant.api.get("/v1/orders/ord_1/lines")).json == lines
    assert all("events told of" in said for said in (again, anew))


async def live(tenant: Tenant) -> None:
    """Some wait, some have their label, one leaves and one is canceled; one waits and is served later."""
    await tenant.receive(5)
    ready = [await tenant.ship(2, order_id=order_id) for order_id in ("ord_1", "ord_2")]
    late = await tenant.ship(3, order_id="ord_1")
    never = await tenant.ship(1, "SKU-NONE", order_id="ord_3")
    for shipment_id in (late, never):
        await tenant.shipment_that_is(shipment_id, "backordered")
    await tenant.receive(2)
    for shipment_id in (*ready, late):
        await tenant.shipment_that_is(shipment_id, "label_ready")
    for shipment_id, end in ((ready[0], "dispatch"), (never, "cancel")):
        assert (await tenant.api.post(f"/v1/shipments/{shipment_id}/{end}", {})).status == 200
    assert (await tenant.api.get("/v1/orders/ord_2/lines")).status == 200


async def heard_versions(stack: RunningStack, tenant: Tenant) -> tuple[set[object], set[object]]:
    """Of each shipment the version that was announced last, and the one that orders have of it."""
    async with await psycopg.AsyncConnection.connect(stack.system.stack.databases["shipments"].owner) as connection:
        found = await connection.execute("SELECT payload FROM outbox WHERE starts_with(key, %s)", [f"{tenant.id}/"])
        events = [event.shipment for row in await found.fetchall() for event in outbox.events_in(row[0])]
    newest = {shipment.id: max(s.version for s in events if s.id == shipment.id) for shipment in events}
    heard = "SELECT shipment_id, version FROM order_shipment WHERE tenant_id = %s AND NOT is_hearsay"
    async with await psycopg.AsyncConnection.connect(stack.system.stack.databases["orders"].owner) as connection:
        return set(newest.items()), set(await (await connection.execute(heard, [tenant.id])).fetchall())


async def rows(stack: RunningStack, tenant: Tenant) -> Rows:
    async with await psycopg.AsyncConnection.connect(stack.system.stack.databases["orders"].owner) as connection:
        found: list[Sequence[object]] = []
        for table in TABLES:
            query = f"SELECT * FROM {table} WHERE tenant_id = %s ORDER BY 1, 2, 3"
            found += await (await connection.execute(query, [tenant.id])).fetchall()  # type: ignore[arg-type]
    return found


async def rebuild(home: Path) -> str:
    """As an operator types it; what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "rebuild", "orders"),
        env={**os.environ, "SKUTRAIL_HOME": str(home)},
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (0, b""), err
    return err.decode()
