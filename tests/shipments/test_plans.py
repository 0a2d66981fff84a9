"""The statements of a shipment's way find rows by their keys, however little the planner knows of the tables.

A plan that was made while a table was small stays with its connection while the table grows.
"""

from collections.abc import Awaitable, Callable, Mapping

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database, create_engine
from cli.provision import DatabaseUrls
from services.shipments import store
from services.shipments.domain import Status
from services.shipments.store import BoughtLabel, Query
from tests.plans import assert_it_goes_by_keys, generic_plan, sent_by, unseen_tables
from tests.shipments.lives import LATER, NOW, allocated, buying, queued

KEY = ("acc_1:test", "shp_1")
SAVING, SAVING_PARCELS = store.saving([(queued(), buying(allocated()))])
QUERIES: Mapping[str, Query] = {
    "inserting": store.inserting([queued()]),
    "locking": store.locking([KEY]),
    "finding": store.finding([KEY]),
    "saving": SAVING,
    "saving parcels": SAVING_PARCELS,
    "adding labels": store.adding_labels([BoughtLabel(*KEY, 1, b"%PDF", "sandbox", "ground", NOW)]),
}
ALONE: Mapping[str, Callable[[AsyncConnection], Awaitable[object]]] = {
    "labels": lambda tx: store.find_labels(tx, queued()),
    "given back": lambda tx: store.mark_stock_given_back(tx, *KEY),
}
TAKES: Mapping[str, Callable[[AsyncConnection], Awaitable[object]]] = {
    "unattended": lambda tx: store.take_unattended(tx, status=Status.QUEUED, before=NOW, now=LATER),
    "asked to cancel": lambda tx: store.take_asked_to_cancel(tx, before=NOW, now=LATER),
    "labels to void": lambda tx: store.take_with_labels_to_void(tx, before=NOW, now=LATER),
}


@pytest.fixture(scope="module")
async def unseen(postgres: str, databases: Mapping[str, DatabaseUrls]) -> str:
    return await unseen_tables("shipments", postgres, databases)


@pytest.mark.parametrize("name", QUERIES)
async def test_no_table_is_scanned_and_no_join_is_hashed(unseen: str, name: str) -> None:
    statement, _ = QUERIES[name]

    await assert_it_goes_by_keys(unseen, statement.text)


@pytest.mark.parametrize("name", ALONE)
async def test_nor_is_it_where_a_step_is_taken_alone(unseen: str, name: str) -> None:
    await assert_it_goes_by_keys(unseen, await statement_of(ALONE[name], unseen))


@pytest.mark.parametrize("name", TAKES)
async def test_what_the_sweeper_took_is_stamped_by_its_key(unseen: str, name: str) -> None:
    plan = await generic_plan(unseen, await statement_of(TAKES[name], unseen))

    # What there is to take is looked for in the queue, or in a table that is not long enough to have one.
    assert "Conflict Arbiter Indexes: shipment_pkey" in plan, plan
    assert "Join" not in plan, plan


async def statement_of(query: Callable[[AsyncConnection], Awaitable[object]], url: str) -> str:
    database = Database(create_engine(url, pool_size=1))
    async with database.transaction() as tx:
        statement, _ = await sent_by(query, tx)
    await database.engine.dispose()
    return statement
