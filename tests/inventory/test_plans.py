"""The statements of the write path find rows by their keys, however little the planner knows of the tables.

A plan that was made while a table was small stays with its connection while the table grows.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from chassis.idempotency import BatchKeys, Claim
from cli.provision import DatabaseUrls
from services.inventory import pick_store, request_store, store
from services.inventory.domain import Stock, StockKey
from services.inventory.requests import AllocationStatus, HoldChange, HoldFact
from services.inventory.store import Query
from tests.plans import assert_it_goes_by_keys, unseen_tables

KEY = StockKey("t", "s", "w")
REQUEST, SKU = ("t", "shp_1"), ("t", "s")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUERIES: Mapping[str, Query] = {
    "locking": store.locking([KEY]),
    "locking what is free": store.locking_free([KEY]),
    "reading": store.reading([KEY]),
    "own holds": pick_store.open_holds_at([("shp_1", KEY)], NOW),
    "open holds": request_store.open_holds([REQUEST]),
    "requests": request_store.finding([REQUEST]),
    "locking requests": request_store.locking([REQUEST]),
    "stocks of SKUs": request_store.locking_stocks([SKU]),
    "sites": request_store.reading_sites([SKU]),
    "contested": request_store.contested([SKU]),
    "expired": request_store.expired_at([SKU], NOW),
    "describing": request_store.describing([REQUEST]),
    "adding holds": request_store.adding_holds([HoldChange(KEY, "shp_1", HoldFact.HELD, 1)], {}),
    "changing requests": request_store.changing_requests({REQUEST: (AllocationStatus.HELD, b"")}),
    "setting missing": request_store.setting_missing({REQUEST: {"s": 1}}),
    "missing all": request_store.missing_all([REQUEST], waits=True),
    "ending holds": request_store.ending_holds([HoldChange(KEY, "shp_1", HoldFact.RELEASED, 1)]),
    "noting picked": pick_store.noting_picked({("t", "shp_1", "s"): 1}),
    "closing picked": pick_store.closing_picked([REQUEST]),
    "saving": store.saving_stocks([Stock(KEY)]),
    "making": store.making([KEY], 50),
    "keys": BatchKeys([Claim("t", "k", b"f", "req")], NOW).looking(),
}


@pytest.fixture(scope="module")
async def unseen(postgres: str, databases: Mapping[str, DatabaseUrls]) -> str:
    return await unseen_tables("inventory", postgres, databases)


@pytest.mark.parametrize("name", QUERIES)
async def test_no_table_is_scanned_and_no_join_is_hashed(unseen: str, name: str) -> None:
    statement, _ = QUERIES[name]

    await assert_it_goes_by_keys(unseen, statement.text)
