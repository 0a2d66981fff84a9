"""The statements of the write path find rows by their keys, however little the planner knows of the tables.

A plan that was made while a table was small stays with its connection while the table grows, and autovacuum counts the
rows of a large one again only when many more have changed.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import TextClause, text

from chassis.database import Database, create_engine
from chassis.idempotency import BatchKeys, Claim
from chassis.migrate import upgrade
from cli.provision import DatabaseUrls
from services.inventory import pick_store, queue_store, request_store, store
from services.inventory.domain import Entry, Reason, Stock, StockKey
from services.inventory.requests import AllocationStatus, HoldChange, HoldFact, StockRequest
from services.inventory.store import Query
from tests.inventory.conftest import fresh_database
from tests.plans import assert_it_goes_by_keys, unseen_tables

KEY = StockKey("t", "s", "w")
REQUEST, SKU = ("t", "shp_1"), ("t", "s")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WANTED = StockRequest("t", "shp_1", [("s", 1)])
QUERIES: Mapping[str, Query] = {
    "locking": store.locking([KEY]),
    "locking what is free": store.locking_free([KEY]),
    "reading": store.reading([KEY]),
    "own holds": pick_store.open_holds_at([("shp_1", KEY)], NOW),
    "open holds": request_store.open_holds([REQUEST]),
    "open holds, youngest first": request_store.open_holds_youngest_first(KEY),
    "requests": request_store.finding([REQUEST]),
    "locking requests": request_store.locking([REQUEST]),
    "locking stocks of SKUs": request_store.locking_stocks([SKU]),
    "reading stocks of SKUs": request_store.reading_stocks([SKU], NOW),
    "sites": request_store.reading_sites([SKU]),
    "contested": request_store.contested([SKU]),
    "expired at": request_store.expired_at([SKU], NOW),
    "expired": request_store.expired(NOW, 1),
    "the queue": queue_store.serveable(NOW, 1),
    "the queue of SKUs": queue_store.serveable_of([SKU], NOW, 1),
    "kept before": queue_store.kept_before(WANTED, NOW),
    "describing": request_store.describing([REQUEST]),
    "decision": request_store.reading_decision(*REQUEST),
    "adding requests": request_store.adding_requests([(WANTED, AllocationStatus.HELD, None)], NOW),
    "adding lines": request_store.adding_lines({REQUEST: {"s": 1}}, {REQUEST: {}}),
    "adding facts": request_store.adding_facts([HoldChange(KEY, "shp_1", HoldFact.HELD, 1)], NOW),
    "adding holds": request_store.adding_holds([HoldChange(KEY, "shp_1", HoldFact.HELD, 1)], {}),
    "changing requests": request_store.changing_requests({REQUEST: (AllocationStatus.HELD, b"")}),
    "setting missing": request_store.setting_missing({REQUEST: {"s": 1}}),
    "missing all": request_store.missing_all([REQUEST], waits=True),
    "ending holds": request_store.ending_holds([HoldChange(KEY, "shp_1", HoldFact.RELEASED, 1)]),
    "noting picked": pick_store.noting_picked({("t", "shp_1", "s"): 1}),
    "closing picked": pick_store.closing_picked([REQUEST]),
    "saving": store.saving_stocks([Stock(KEY)]),
    "making": store.making([KEY], 50),
    "adding entries": store.adding_entries([Entry("inv_1", KEY, 1, 1, 1, Reason.RECEIPT, None, NOW)], [b""]),
    "keys": BatchKeys([Claim("t", "k", b"f", "req")], NOW).looking(),
}


@pytest.fixture(scope="module")
async def unseen(postgres: str, databases: Mapping[str, DatabaseUrls]) -> str:
    return await unseen_tables("inventory", postgres, databases)


@pytest.mark.parametrize("name", QUERIES)
async def test_no_table_is_scanned_and_no_join_is_hashed(unseen: str, name: str) -> None:
    statement, _ = QUERIES[name]

    await assert_it_goes_by_keys(unseen, statement.text)


def test_every_statement_is_asked_for_its_plan() -> None:
    asked = {id(statement) for statement, _ in QUERIES.values()}
    for module in (store, request_store, pick_store, queue_store):
        for name, value in vars(module).items():
            assert not isinstance(value, TextClause) or id(value) in asked, f"{module.__name__}.{name}"


WAITING = 300


# `rows_max`: for one that waits; each step of a plan counts its own. Of what is not there, nobody's lines are read.
@pytest.mark.parametrize(("free", "rows_max"), [(0, 15), (10 * WAITING, 60)])
@pytest.mark.parametrize("name", ["the queue", "the queue of SKUs", "kept before"])
async def test_a_look_costs_what_waits_though_nobody_waited_when_the_rows_were_counted(
    crowded: Database, name: str, free: int, rows_max: int
) -> None:
    statement, given = QUERIES[name]
    async with crowded.transaction() as tx:
        await tx.execute(text("UPDATE balance SET on_hand = :free"), {"free": free})
    async with crowded.transaction() as tx:
        [[plan]] = await tx.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}"), given)

    touched = _rows_touched(plan[0]["Plan"])

    assert touched < rows_max * WAITING, json.dumps(plan, indent=1)


@pytest.fixture(scope="module")
async def crowded(postgres: str, databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    """All wait for one SKU, and each for one of its own; the planner remembers that nobody did."""
    async with fresh_database(postgres, databases["inventory"]) as place:
        await asyncio.to_thread(upgrade, "inventory", place.owner)
        async with await psycopg.AsyncConnection.connect(place.owner) as owner:
            for table in ("allocation", "allocation_line", "balance"):
                await owner.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
            await _add_requests(owner, "shp_ended", AllocationStatus.RELEASED, 5_000, missing=0)
            await owner.execute("ANALYZE")
            await _add_requests(owner, "shp_waiting", AllocationStatus.WAITING, WAITING, missing=1)
            known = "SELECT DISTINCT tenant_id, sku, 'w' FROM allocation_line"
            await owner.execute(f"INSERT INTO balance (tenant_id, sku, warehouse) {known}".encode())
        database = Database(create_engine(place.application))
        yield database
        await database.engine.dispose()


async def _add_requests(
    owner: psycopg.AsyncConnection, name: str, status: AllocationStatus, count: int, *, missing: int
) -> None:
    """Two lines each: the SKU that all want, and one that nobody else wants."""
    await owner.execute(
        "INSERT INTO allocation (tenant_id, request_id, status, created_at)"
        " SELECT 't', %s || n, %s, %s FROM generate_series(1, %s) n",
        (name, int(status), NOW, count),
    )
    await owner.execute(
        "INSERT INTO allocation_line (tenant_id, request_id, sku, qty, missing)"
        " SELECT 't', %s || n, sku, 1, %s FROM generate_series(1, %s) n, LATERAL (VALUES ('s'), ('s' || n)) AS l (sku)",
        (name, missing, count),
    )


def _rows_touched(node: Mapping[str, Any]) -> float:
    seen = sum(value for name, value in node.items() if name == "Actual Rows" or name.startswith("Rows Removed by"))
    return float(seen * node["Actual Loops"]) + sum(map(_rows_touched, node.get("Plans", ())))
