"""Holds are the sums of facts, and what was resolved once cannot be resolved again: the database sees to it."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from services.inventory import request_store
from services.inventory.domain import Reason
from services.inventory.requests import HoldChange, HoldFact, Policy
from tests.inventory.conftest import Inventory
from tests.inventory.test_tampering import look, url_of

HOUR = timedelta(hours=1)
ENDS = [HoldFact.CONSUMED, HoldFact.RELEASED, HoldFact.EXPIRED, HoldFact.DISPLACED]


async def facts(inventory: Inventory, request_id: str) -> list[tuple[str, str, str, int]]:
    rows = await inventory.ask(
        "SELECT sku, warehouse, fact, units FROM hold_fact"
        f" WHERE tenant_id = :tenant AND request_id = '{request_id}' ORDER BY id"
    )
    return [(row.sku, row.warehouse, HoldFact(row.fact).name, row.units) for row in rows]


async def test_a_life_leaves_its_facts_in_order(inventory: Inventory) -> None:
    await inventory.move(4, warehouse="A")
    await inventory.allocate("shp_1", ("SKU-1", 5), policy=Policy.PARTIAL, expires_at=inventory.clock() + HOUR)
    await inventory.move(1, Reason.PICK, warehouse="A", reference="shp_1")
    await inventory.move(-1, Reason.ADJUSTMENT, warehouse="A")
    await inventory.move(9, warehouse="B")
    await inventory.serve("shp_1")
    inventory.ahead = HOUR
    await inventory.expire_due()

    assert await facts(inventory, "shp_1") == [
        ("SKU-1", "A", "HELD", 4),
        ("SKU-1", "A", "CONSUMED", 1),
        ("SKU-1", "A", "DISPLACED", 3),
        ("SKU-1", "B", "HELD", 4),
        ("SKU-1", "B", "EXPIRED", 4),
    ]
    report = await look(inventory)
    assert report.is_whole, list(report.findings())


async def test_every_end_is_a_fact_of_its_own(inventory: Inventory) -> None:
    await inventory.move(9)
    for name in ("released", "dispatched"):
        await inventory.allocate(name, ("SKU-1", 2))
    for name, end in (("released", inventory.release), ("dispatched", inventory.dispatch)):
        await end(name)
        await end(name)

    assert await facts(inventory, "released") == [("SKU-1", "SEA-1", "HELD", 2), ("SKU-1", "SEA-1", "RELEASED", 2)]
    assert await facts(inventory, "dispatched") == [("SKU-1", "SEA-1", "HELD", 2), ("SKU-1", "SEA-1", "CONSUMED", 2)]


@pytest.mark.parametrize("second", ENDS)
@pytest.mark.parametrize("first", ENDS)
async def test_the_same_units_cannot_end_twice(inventory: Inventory, first: HoldFact, second: HoldFact) -> None:
    """By whatever code: here by the statements themselves, as the service's own role."""
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 3))

    async def end(fact: HoldFact, units: int) -> None:
        changes = [HoldChange(inventory.key(), "shp_1", fact, units)]
        async with inventory.database.transaction() as tx:
            await tx.execute(*request_store.ending_holds(changes))

    await end(first, 2)
    with pytest.raises(IntegrityError, match="hold_open_check"):
        await end(second, 2)
    await end(second, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE hold_fact SET units = 1",
        "DELETE FROM hold_fact",
        "TRUNCATE hold_fact",
        "ALTER TABLE hold_fact ADD COLUMN more text",
        "DELETE FROM hold",
        "DELETE FROM allocation",
        "DELETE FROM allocation_line",
        "DELETE FROM warehouse",
    ],
)
async def test_the_service_cannot_change_what_happened(inventory: Inventory, statement: str) -> None:
    connection = await psycopg.AsyncConnection.connect(url_of(inventory.database))
    async with connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("UPDATE balance SET held = on_hand + 1", "held_is_on_hand"),
        ("UPDATE balance SET held = -1", "balance_held_check"),
        ("UPDATE hold SET open = -1", "hold_open_check"),
        ("UPDATE hold SET consumed = -1", "hold_consumed_check"),
        ("UPDATE allocation_line SET missing = 1, consumed = qty", "missing_is_not_consumed"),
        ("UPDATE allocation_line SET missing = -1", "missing_is_not_consumed"),
        ("UPDATE allocation SET status = 7", "allocation_status_check"),
        ("UPDATE allocation SET priority = 101", "allocation_priority_check"),
        ("UPDATE allocation SET latitude = 1", "place_is_whole"),
    ],
)
async def test_the_database_refuses_what_can_never_be(inventory: Inventory, change: str, constraint: str) -> None:
    await inventory.move(5)
    await inventory.allocate("shp_1", ("SKU-1", 3))

    connection = await psycopg.AsyncConnection.connect(url_of(inventory.database))
    async with connection:
        with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
            await connection.execute(f"{change} WHERE tenant_id = %s".encode(), [inventory.tenant_id])


@pytest.mark.parametrize("units", [0, -1])
async def test_a_fact_is_of_units_and_of_a_kind(inventory: Inventory, units: int) -> None:
    connection = await psycopg.AsyncConnection.connect(url_of(inventory.database))
    insert = b"INSERT INTO hold_fact VALUES (%s, 'shp_1', DEFAULT, 'SKU-1', 'A', %s, %s, now())"
    async with connection:
        with pytest.raises(psycopg.errors.CheckViolation):
            await connection.execute(insert, [inventory.tenant_id, 1, units])
    connection = await psycopg.AsyncConnection.connect(url_of(inventory.database))
    async with connection:
        with pytest.raises(psycopg.errors.CheckViolation):
            await connection.execute(insert, [inventory.tenant_id, 6, 1])
