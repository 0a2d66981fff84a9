"""A page costs the same however deep it lies: the plans of the lists' own statements, on tables of a size to matter.

PostgreSQL is asked how many blocks the statement touched, which says the same on every machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database, create_engine
from chassis.ids import earliest_id
from cli.provision import DatabaseUrls
from services.inventory.domain import Reason
from services.inventory.trail import Filters, list_entries, list_levels
from services.orders.domain import OrderStatus
from services.orders.store import list_ids
from services.shipments.domain import Status
from services.shipments.store import list_shipments
from tests.plans import Plan, plan_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

TENANT = "deep/test"
ENTRIES, SHIPMENTS, ORDERS = 1_000_000, 100_000, 100_000
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2027, 1, 1, tzinfo=UTC)
LIMIT = 101
"""The longest page, and the row that tells whether there is another."""
BUFFERS_MAX = 200

# Row n is born n seconds after the start. Its id is what `earliest_id` makes of that instant, with n at its end.
BORN = """
    CREATE FUNCTION pg_temp.born(prefix text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $f$
        SELECT prefix || '_' || string_agg(
            substr('0123456789abcdefghjkmnpqrstvwxyz', ((millis >> (45 - 5 * p)) & 31)::int + 1, 1), '' ORDER BY p
        ) || lpad(n::text, 16, '0')
        FROM generate_series(0, 9) p,
            LATERAL (SELECT (extract(epoch FROM timestamptz '2026-01-01 00:00Z')::bigint + n) * 1000 AS millis) birth
    $f$
"""
# Most rows share one SKU, warehouse, reason and reference; one in twenty differs in one of them.
FILL_LEDGER = f"""
    INSERT INTO ledger_entry (tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at, hash)
    SELECT %(tenant)s, sku, warehouse, seq, pg_temp.born('inv', n), 1, seq, reason, reference,
           timestamptz '2026-01-01 00:00Z' + n * interval '1 second', sha256('')
    FROM (
        SELECT *, row_number() OVER (PARTITION BY sku, warehouse ORDER BY n) AS seq FROM (
            SELECT n,
                   CASE n %% 20 WHEN 0 THEN 'SKU-' || n %% 10000 ELSE 'HOT' END AS sku,
                   CASE n %% 20 WHEN 1 THEN 'WH-' || n %% 50 ELSE 'SEA-1' END AS warehouse,
                   CASE n %% 20 WHEN 2 THEN 2 ELSE 1 END AS reason,
                   CASE n %% 20 WHEN 3 THEN 'PO-' || n ELSE 'PO-HOT' END AS reference
            FROM generate_series(1, {ENTRIES}) n
        ) row
    ) row ORDER BY n
"""
FILL_BALANCES = """
    INSERT INTO balance (tenant_id, sku, warehouse, on_hand, seq, updated_at)
    SELECT tenant_id, sku, warehouse, max(seq), max(seq), max(created_at) FROM ledger_entry
    WHERE tenant_id = %(tenant)s GROUP BY tenant_id, sku, warehouse
"""
# 100,000 more, and a history of requests of which twenty still wait.
FILL_LEVELS = """
    INSERT INTO balance (tenant_id, sku, warehouse, on_hand, seq, updated_at)
    SELECT %(tenant)s, 'LEVEL-' || lpad((n / 10)::text, 6, '0'), 'WH-' || n %% 10, 100, 1, now()
    FROM generate_series(0, 99999) n;
    INSERT INTO allocation (tenant_id, request_id, status, created_at)
    SELECT %(tenant)s, 'shp_' || n, CASE n %% 2500 WHEN 0 THEN 1 ELSE 4 END, now() FROM generate_series(1, 50000) n;
    INSERT INTO allocation_line (tenant_id, request_id, sku, qty)
    SELECT %(tenant)s, 'shp_' || n, 'LEVEL-' || lpad((n %% 10000)::text, 6, '0'), 5 FROM generate_series(1, 50000) n
"""
FILL_SHIPMENTS = f"""
    INSERT INTO shipment (tenant_id, id, order_id, status, ship_to, line_items, allocations, version,
        allocation_version, created_at, updated_at, looked_at)
    SELECT %(tenant)s, pg_temp.born('shp', n), CASE n %% 20 WHEN 0 THEN 'ord_' || n ELSE 'ord_hot' END,
        CASE n %% 20 WHEN 1 THEN 'queued' ELSE 'shipped' END, '{{"name": "A", "line1": "B", "line2": null,
        "city": "C", "state": null, "postal": "D", "country": "US"}}', '[{{"sku": "HOT", "qty": 1}}]',
        CASE n %% 20 WHEN 1 THEN jsonb '[]' ELSE '[{{"sku": "HOT", "warehouse": "SEA-1", "qty": 1}}]' END,
        1, 1, now(), now(), now()
    FROM generate_series(1, {SHIPMENTS}) n
"""
FILL_PARCELS = """
    INSERT INTO parcel (tenant_id, shipment_id, warehouse, number, reference, label_status, tracking_number)
    SELECT tenant_id, id, 'SEA-1', 1, id, 'ready', id FROM shipment
    WHERE tenant_id = %(tenant)s AND status = 'shipped'
"""
FILL_ORDERS = f"""
    INSERT INTO sales_order (tenant_id, id, status, created_at, updated_at)
    SELECT %(tenant)s, 'ord_' || n, CASE n %% 20 WHEN 1 THEN 1 ELSE 6 END,
        timestamptz '2026-01-01 00:00Z' + n * interval '1 second', now()
    FROM generate_series(1, {ORDERS}) n
"""

Query = Callable[[AsyncConnection], Awaitable[object]]


def at(n: int) -> datetime:
    return START + timedelta(seconds=n)


def id_of(prefix: str, n: int) -> str:
    return earliest_id(prefix, at(n))[: -len("0000000000000000")] + f"{n:016}"


@asynccontextmanager
async def filled(urls: DatabaseUrls, fill: str, tables: tuple[str, ...]) -> AsyncIterator[Database]:
    """A service's database with the rows of one large tenant, which are gone behind the block."""
    async with await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as owner:
        await owner.execute(BORN)
        for statement in fill.split(";"):
            await owner.execute(statement, {"tenant": TENANT})
        await owner.execute(f"VACUUM ANALYZE {', '.join(tables)}")
        database = Database(create_engine(urls.application))
        try:
            yield database
        finally:
            await database.engine.dispose()
            for table in reversed(tables):
                await owner.execute(f"DELETE FROM {table} WHERE tenant_id = %(tenant)s", {"tenant": TENANT})
            await owner.execute(f"VACUUM ANALYZE {', '.join(tables)}")


@pytest.fixture(scope="module")
async def inventory(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    tables = ("ledger_entry", "balance", "allocation", "allocation_line")
    async with filled(databases["inventory"], f"{FILL_LEDGER};{FILL_BALANCES};{FILL_LEVELS}", tables) as database:
        yield database


@pytest.fixture(scope="module")
async def shipments(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    tables = ("shipment", "parcel")
    async with filled(databases["shipments"], f"{FILL_SHIPMENTS};{FILL_PARCELS}", tables) as database:
        yield database


@pytest.fixture(scope="module")
async def orders(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    async with filled(databases["orders"], FILL_ORDERS, ("sales_order",)) as database:
        yield database


async def the_same_at_any_depth(
    database: Database, page: Callable[[Any], Query], deep: object, *, buffers_max: int = BUFFERS_MAX
) -> tuple[Plan, Plan]:
    """Asserts it of the first page and of one far behind it, and returns their plans."""
    first, far = await plan_of(database, page(None)), await plan_of(database, page(deep))
    told = f"{first.buffers} buffers by {first.steps}, deep {far.buffers} by {far.steps}"
    assert (first.rows, far.rows) == (LIMIT, LIMIT), told
    assert max(first.buffers, far.buffers) < buffers_max, told
    assert far.buffers <= 2 * first.buffers, told
    assert not any("Seq Scan" in step for step in (*first.steps, *far.steps)), told
    return first, far


TRAIL = {
    "everything": Filters(),
    "a SKU": Filters(sku="HOT"),
    "a warehouse": Filters(warehouse="SEA-1"),
    "a chain": Filters(sku="HOT", warehouse="SEA-1"),
    "a reference": Filters(reference="PO-HOT"),
    "a reason": Filters(reason=Reason.RECEIPT),
    "a window": Filters(created_after=at(1_000), created_before=at(900_000)),
    "a SKU in a window": Filters(sku="HOT", created_after=at(1_000), created_before=at(900_000)),
    "a warehouse in a window": Filters(warehouse="SEA-1", created_after=at(1_000), created_before=at(900_000)),
    "a chain in a window": Filters(sku="HOT", warehouse="SEA-1", created_after=at(1_000), created_before=at(900_000)),
    "a reference in a window": Filters(reference="PO-HOT", created_after=at(1_000), created_before=at(900_000)),
    "a reason in a window": Filters(reason=Reason.RECEIPT, created_after=at(1_000), created_before=at(900_000)),
    "a chain's reason": Filters(sku="HOT", warehouse="SEA-1", reason=Reason.RECEIPT),
    "a SKU's reference": Filters(sku="HOT", reference="PO-HOT"),
}
FEW = {
    "a reason that never was": (Filters(reason=Reason.ADJUSTMENT), 0),
    "a SKU's reason that never was": (Filters(sku="HOT", reason=Reason.ADJUSTMENT), 0),
    "a reference of one entry": (Filters(reference="PO-500003"), 1),
    "a chain's reference of one entry": (Filters(sku="HOT", warehouse="SEA-1", reference="PO-500003"), 1),
    "a SKU in a narrow window": (Filters(sku="HOT", created_after=at(500_000), created_before=at(500_010)), 9),
    "a narrow window": (Filters(created_after=at(500_000), created_before=at(500_010)), 9),
    "a narrow window of a chain": (
        Filters(sku="HOT", warehouse="SEA-1", created_after=at(500_000), created_before=at(500_010)),
        8,
    ),
    "a window behind all": (Filters(created_before=START), 0),
}


@pytest.mark.parametrize("filters", TRAIL.values(), ids=TRAIL.keys())
async def test_a_page_of_the_trail_costs_the_same_900_000_entries_deep(inventory: Database, filters: Filters) -> None:
    def page(after_id: str | None) -> Query:
        return lambda tx: list_entries(tx, TENANT, filters, after_id=after_id, limit=LIMIT)

    plans = await the_same_at_any_depth(inventory, page, id_of("inv", ENTRIES - 900_000 + 10))

    for plan in plans:
        assert not any("Sort" in step for step in plan.steps), plan.steps


@pytest.mark.parametrize(("filters", "rows"), FEW.values(), ids=FEW.keys())
async def test_a_few_entries_among_a_million_are_found_without_a_search(
    inventory: Database, filters: Filters, rows: int
) -> None:
    plan = await plan_of(inventory, lambda tx: list_entries(tx, TENANT, filters, after_id=None, limit=LIMIT))

    assert plan.rows == rows
    assert plan.buffers < BUFFERS_MAX, plan.steps


@pytest.mark.parametrize("warehouse", [None, "WH-3"], ids=["everything", "a warehouse"])
async def test_a_page_of_levels_costs_the_same_90_000_keys_deep(inventory: Database, warehouse: str | None) -> None:
    def page(after: tuple[str, str] | None) -> Query:
        return lambda tx: list_levels(tx, TENANT, sku=None, warehouse=warehouse, after=after, limit=LIMIT, now=NOW)

    # Each is looked up among the holds that expire, and its SKU among the lines that miss some of it.
    await the_same_at_any_depth(inventory, page, ("LEVEL-009000", "WH-2"), buffers_max=5 * LIMIT)


async def test_the_levels_of_one_sku_do_not_search_the_history_of_requests(inventory: Database) -> None:
    plan = await plan_of(
        inventory,
        lambda tx: list_levels(tx, TENANT, sku="LEVEL-002500", warehouse=None, after=None, limit=LIMIT, now=NOW),
    )

    assert plan.rows == 10
    assert plan.buffers < BUFFERS_MAX, plan.steps


@pytest.mark.parametrize("status", [None, Status.SHIPPED], ids=["any status", "one status"])
@pytest.mark.parametrize("order_id", [None, "ord_hot"], ids=["any order", "one order"])
async def test_a_page_of_shipments_costs_the_same_90_000_deep(
    shipments: Database, order_id: str | None, status: Status | None
) -> None:
    def page(after_id: str | None) -> Query:
        return lambda tx: list_shipments(tx, TENANT, order_id=order_id, status=status, after_id=after_id, limit=LIMIT)

    # Each brings its parcels along: an index of four levels at most, once for every row.
    await the_same_at_any_depth(shipments, page, id_of("shp", SHIPMENTS - 90_000), buffers_max=5 * LIMIT)


@pytest.mark.parametrize("status", [None, OrderStatus.SHIPPED], ids=["any status", "one status"])
async def test_a_page_of_orders_costs_the_same_90_000_deep(orders: Database, status: OrderStatus | None) -> None:
    def page(after_id: str | None) -> Query:
        return lambda tx: list_ids(tx, TENANT, status=status, after_id=after_id, limit=LIMIT)

    await the_same_at_any_depth(orders, page, f"ord_{ORDERS - 90_000}")
