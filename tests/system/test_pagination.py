"""Every list, walked in small pages while eight writers write: nothing that was there is missed, nothing comes twice.

What was there is what the databases had committed before the first page was asked for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import psycopg
import pytest

from gateway.app import ROUTES
from gateway.pages import Listing
from tests.builders import Tenant, eventually, open_tenant, shipment
from tests.gateway.asking import Answer
from tests.gateway.listing import Row, pages
from tests.running import RunningStack

WRITERS, WRITES_PER_PAGE, PAGES_ABOUT = 8, 4, 6
ALREADY_WRITTEN = 120
SCARCE = "SKU-SCARCE"
"""So begin SKUs of which there is none: shipments of them wait for ever, so that their status stays what it was."""


@dataclass(frozen=True)
class Walk:
    # That of the route; an id in it is that of the order which everybody adds to.
    path: str
    service: str
    # The same rows as the filters ask for, as their positions in the list, in its order.
    committed: str
    filters: Mapping[str, str] = field(default_factory=dict)
    position: Callable[[Row], object] = lambda row: row["id"]


def _trail(where: str = "true", **filters: str) -> Walk:
    query = f"SELECT id FROM ledger_entry WHERE tenant_id = %s AND {where} ORDER BY id DESC"
    return Walk("/v1/inventory/ledger", "inventory", query, filters)


def _levels(where: str = "true", **filters: str) -> Walk:
    query = f"SELECT sku, warehouse FROM balance WHERE tenant_id = %s AND seq > 0 AND {where} ORDER BY sku, warehouse"
    return Walk("/v1/inventory/levels", "inventory", query, filters, lambda row: (row["sku"], row["warehouse"]))


def _shipments(where: str = "true", **filters: str) -> Walk:
    query = f"SELECT id FROM shipment WHERE tenant_id = %s AND {where} ORDER BY id DESC"
    return Walk("/v1/shipments", "shipments", query, filters)


def _orders(where: str = "true", **filters: str) -> Walk:
    query = f"SELECT id FROM sales_order WHERE tenant_id = %s AND {where} ORDER BY created_at DESC, id DESC"
    return Walk("/v1/orders", "orders", query, filters)


WALKS = {
    "the trail": _trail(),
    "the trail of a SKU": _trail("sku = 'SKU-1'", sku="SKU-1"),
    "the trail of a warehouse": _trail("warehouse = 'EAST'", warehouse="EAST"),
    "the trail of a reference": _trail("reference = 'PO-1'", reference="PO-1"),
    "the trail of a reason": _trail("reason = 1", reason="receipt"),
    "the trail of a SKU and a reason": _trail("sku = 'SKU-1' AND reason = 1", sku="SKU-1", reason="receipt"),
    "the trail of a window": _trail(created_after="2020-01-01T00:00:00Z", created_before="2999-01-01T00:00:00Z"),
    "the trail of a chain": Walk(
        "/v1/inventory/ledger",
        "inventory",
        "SELECT seq FROM ledger_entry WHERE tenant_id = %s AND sku = 'SKU-1' AND warehouse = 'EAST' ORDER BY seq DESC",
        {"sku": "SKU-1", "warehouse": "EAST"},
        lambda row: row["seq"],
    ),
    "the levels": _levels(),
    "the levels of a warehouse": _levels("warehouse = 'EAST'", warehouse="EAST"),
    "the lines of an order": Walk(
        "/v1/orders/{id}/lines",
        "orders",
        """
        SELECT DISTINCT unnest(skus) AS sku FROM order_shipment
        WHERE tenant_id = %s AND order_id = 'ord_1' ORDER BY sku
        """,
        position=lambda row: row["sku"],
    ),
    "the warehouses": Walk(
        "/v1/warehouses",
        "inventory",
        "SELECT code FROM warehouse WHERE tenant_id = %s ORDER BY code",
        position=lambda row: row["code"],
    ),
    "the shipments": _shipments(),
    "the shipments of an order": _shipments("order_id = 'ord_1'", order_id="ord_1"),
    "the shipments that wait": _shipments("status = 'backordered'", status="backordered"),
    "the orders": _orders(),
    "the orders that wait": _orders("status = 2", status="backordered"),
    "the webhooks": Walk(
        "/v1/webhooks", "webhooks", "SELECT id FROM subscription WHERE tenant_id = %s ORDER BY id DESC"
    ),
}


@dataclass
class Office:
    """A tenant on which everybody writes at once."""

    stack: RunningStack
    tenant: Tenant
    orders: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """One for each write that the writers owe: as many come as pages are read, on a fast machine and on a slow one."""
    done: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.Task[None]] = field(default_factory=list)

    async def write(self, chance: random.Random) -> None:
        while True:
            await self.orders.acquire()
            try:
                await self.write_one(chance)
            finally:
                self.done.set()

    async def go_on(self) -> None:
        """Has more written, and returns when the first of it is; the others write while the next page is read."""
        for failed in filter(asyncio.Task.done, self.writers):
            failed.result()
        self.done.clear()
        for _ in range(WRITES_PER_PAGE):
            self.orders.release()
        await self.done.wait()

    async def write_one(self, chance: random.Random) -> None:
        write = chance.choices((self._move, self._ship, self._subscribe, self._describe), (60, 20, 10, 10))[0]
        answer = await write(chance)
        assert answer.status < 300, answer

    async def _move(self, chance: random.Random) -> Answer:
        # Some of it in a chain that many write, some in new ones, in the middle of the levels.
        sku = chance.choice(("SKU-1", "SKU-1", f"SKU-{chance.randrange(50)}"))
        return await self.tenant.record(
            1,
            sku,
            reason=chance.choice(("receipt", "adjustment")),
            warehouse=chance.choice(("EAST", "EAST", f"WH-{chance.randrange(50)}")),
            reference=chance.choice(("PO-1", "PO-2", None)),
        )

    async def _ship(self, chance: random.Random) -> Answer:
        order_id = chance.choice(("ord_1", f"ord_{uuid4().hex}"))
        sku = f"{SCARCE}-{chance.randrange(100)}"
        return await self.tenant.api.post("/v1/shipments", shipment(1, sku, order_id=order_id))

    async def _subscribe(self, chance: random.Random) -> Answer:
        body = {"url": "https://your.app/hook", "events": ["webhook.ping"]}
        return await self.tenant.api.post("/v1/webhooks/subscribe", body)

    async def _describe(self, chance: random.Random) -> Answer:
        # Some anew and some again.
        return await self.tenant.api.put(f"/v1/warehouses/WH-{chance.randrange(200)}", {"priority": 1})

    async def committed(self, walk: Walk) -> list[Any]:
        """The positions of the rows that a walk is to find."""
        url = self.stack.system.stack.databases[walk.service].owner
        async with await psycopg.AsyncConnection.connect(url) as connection:
            rows = await (await connection.execute(walk.committed, [self.tenant.id])).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]


@pytest.fixture(scope="module")
async def office(stack: RunningStack, session: aiohttp.ClientSession) -> AsyncIterator[Office]:
    """At work, in the background of every test."""
    office = Office(stack, await open_tenant(stack, session))
    chance = random.Random(7)
    for _ in range(ALREADY_WRITTEN // WRITERS):
        await asyncio.gather(*(office.write_one(chance) for _ in range(WRITERS)))
    await eventually(lambda: office.committed(WALKS["the orders that wait"]), lambda orders: len(orders) > 5)
    office.writers += [asyncio.create_task(office.write(random.Random(number))) for number in range(WRITERS)]
    yield office
    for writer in office.writers:
        writer.cancel()
    await asyncio.wait(office.writers)


async def walk_while_others_write(office: Office, walk: Walk) -> None:
    before = await office.committed(walk)
    assert len(before) > 5
    limit = len(before) // PAGES_ABOUT + 1

    seen = []
    async for page in pages(office.tenant.api, walk.path.format(id="ord_1"), limit=limit, **walk.filters):
        seen += [walk.position(row) for row in page]
        await office.go_on()

    after = await office.committed(walk)
    assert len(seen) == len(set(seen)), "something came twice"
    # What left the filter during the walk need not be in it; only what has a status can.
    assert not (set(before) & set(after)) - set(seen), "something was missed"
    places = {position: place for place, position in enumerate(after)}
    assert sorted(seen, key=places.__getitem__) == seen, "something came out of its order"


def test_every_list_is_walked() -> None:
    lists = {route.path for route in ROUTES if isinstance(route.handler, Listing)}

    assert {walk.path for walk in WALKS.values()} == lists


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
async def test_a_walk_misses_nothing_and_repeats_nothing_while_eight_write(office: Office, walk: Walk) -> None:
    await walk_while_others_write(office, walk)


@pytest.mark.slow
async def test_walks_at_the_same_time_miss_nothing_and_repeat_nothing(office: Office) -> None:
    for _ in range(3):
        await asyncio.gather(*(walk_while_others_write(office, walk) for walk in WALKS.values()))
