"""The statements that fold news find rows by their keys, however little the planner knows of the tables.

A plan that was made while a table was small stays with its connection while the table grows.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from cli.provision import DatabaseUrls
from services.orders import store
from services.orders.domain import Line, Share, Shipment, ShipmentStatus
from services.orders.store import Query
from tests.plans import assert_it_goes_by_keys, unseen_tables

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ("acc_1:test", "ord_1")
SHIPMENT = Shipment("shp_1", 1, ShipmentStatus.ALLOCATED, (Share("shp_1", "W", 2),), (Line("A", 2, 2),), NOW, NOW)
QUERIES: Mapping[str, Query] = {
    "adding": store.adding_orders({KEY: [SHIPMENT]}, NOW),
    "locking": store.locking_orders([KEY]),
    "reading shipments": store.reading_shipments([KEY]),
    "saving": store.saving_orders({KEY: [SHIPMENT]}),
    "saving shipments": store.saving_shipments([(*KEY, SHIPMENT)]),
}


@pytest.fixture(scope="module")
async def unseen(postgres: str, databases: Mapping[str, DatabaseUrls]) -> str:
    return await unseen_tables("orders", postgres, databases)


@pytest.mark.parametrize("name", QUERIES)
async def test_no_table_is_scanned_and_no_join_is_hashed(unseen: str, name: str) -> None:
    statement, _ = QUERIES[name]

    await assert_it_goes_by_keys(unseen, statement.text)
