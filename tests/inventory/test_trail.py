"""Reading the trail: pages, single entries, balances of old, levels, on a real PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chassis.clock import utc_now
from chassis.errors import Fault
from chassis.ids import new_id
from services.inventory import operations
from services.inventory.domain import Reason
from services.inventory.trail import CLOCKS_APART_MAX, Filters
from skutrail.v1 import inventory_pb2
from tests.inventory.conftest import Inventory

START = datetime(2026, 4, 22, 17, 0, tzinfo=UTC)


async def walk(inventory: Inventory, filters: Filters, limit: int = 3) -> list[inventory_pb2.LedgerEntry]:
    """All pages, one after the other."""
    found: list[inventory_pb2.LedgerEntry] = []
    while True:
        after_id = found[-1].id if found else None
        page = await inventory.database.run(
            lambda tx, after_id=after_id: operations.list_entries(
                tx, inventory.tenant_id, filters, after_id=after_id, limit=limit
            )
        )
        found += page.entries
        if not page.has_more:
            return found
        assert len(page.entries) == limit


async def test_the_trail_of_one_key_comes_by_seq(inventory: Inventory) -> None:
    for qty in range(1, 8):
        await inventory.move(qty)
    await inventory.move(1, warehouse="B")

    found = await walk(inventory, Filters(sku="SKU-1", warehouse="SEA-1"))

    assert [(e.seq, e.qty) for e in found] == [(n, n) for n in range(7, 0, -1)]


async def test_every_filter_narrows_and_they_combine(inventory: Inventory) -> None:
    await inventory.record(
        inventory.wish(10, reference="PO-1"),
        inventory.wish(10, warehouse="B", reference="PO-1"),
        inventory.wish(10, sku="X", reference="PO-2"),
        inventory.wish(1, Reason.PICK),
    )

    async def count(**filters: object) -> int:
        return len(await walk(inventory, Filters(**filters)))  # type: ignore[arg-type]

    assert await count() == 4
    assert await count(sku="SKU-1") == 3
    assert await count(warehouse="SEA-1") == 3
    assert await count(reference="PO-1") == 2
    assert await count(reason=Reason.PICK) == 1
    assert await count(sku="SKU-1", warehouse="SEA-1", reason=Reason.RECEIPT) == 1
    assert await count(created_after=utc_now() + timedelta(hours=1)) == 0
    assert await count(created_before=utc_now() + timedelta(hours=1), sku="X") == 1
    assert await count(sku="none") == 0


@pytest.mark.parametrize("chain", [{}, {"sku": "SKU-1"}, {"sku": "SKU-1", "warehouse": "SEA-1"}], ids=len)
async def test_a_window_of_time_is_cut_exactly(inventory: Inventory, chain: dict[str, str]) -> None:
    for qty in range(1, 7):
        await inventory.move(qty)
    entries = await walk(inventory, Filters())
    times = [entry.created_at.ToDatetime(UTC) for entry in entries]

    for after in (None, *times):
        for before in (None, *times):
            found = await walk(inventory, Filters(**chain, created_after=after, created_before=before), limit=2)  # type: ignore[arg-type]

            assert [entry.qty for entry in found] == [
                entry.qty
                for entry, at in zip(entries, times, strict=True)
                if (after is None or at > after) and (before is None or at < before)
            ]


async def test_a_window_may_begin_before_time_and_end_after_it(inventory: Inventory) -> None:
    await inventory.move(1)
    always = Filters(created_after=datetime.min.replace(tzinfo=UTC), created_before=datetime.max.replace(tzinfo=UTC))

    assert len(await walk(inventory, always)) == 1
    assert len(await walk(inventory, replace(always, sku="SKU-1", warehouse="SEA-1"))) == 1


async def test_an_entry_whose_clock_was_ahead_is_found_by_the_time_it_carries(inventory: Inventory) -> None:
    ahead = utc_now() + CLOCKS_APART_MAX / 2
    await inventory.database.run_pipelined(
        lambda pipeline: operations.record_movements(pipeline, [inventory.wish(1)], lambda: ahead, new_id)
    )
    await inventory.move(2)

    found = await walk(inventory, Filters(created_after=ahead - timedelta(seconds=1)))

    assert [entry.qty for entry in found] == [2, 1]


async def test_a_walk_while_others_write_misses_nothing_and_repeats_nothing(inventory: Inventory) -> None:
    for _ in range(40):
        await inventory.move(1)
    before = {entry.id for entry in await walk(inventory, Filters(), limit=100)}
    is_walking = True

    async def write(number: int) -> None:
        while is_walking:
            await inventory.move(1, sku=f"S{number}")

    writers = [asyncio.create_task(write(number)) for number in range(4)]
    for filters in (
        Filters(),
        Filters(sku="SKU-1"),
        Filters(warehouse="SEA-1"),
        Filters(sku="SKU-1", warehouse="SEA-1"),
    ):
        ids = [entry.id for entry in await walk(inventory, filters)]
        assert len(ids) == len(set(ids))
        assert before <= set(ids)
    is_walking = False
    await asyncio.gather(*writers)


async def test_an_entry_is_read_by_its_id_and_only_by_its_tenant(inventory: Inventory) -> None:
    entry = (await inventory.move(5, reference="PO-1")).answer
    assert isinstance(entry, inventory_pb2.LedgerEntry)

    assert await inventory.database.run(lambda tx: operations.read_entry(tx, inventory.tenant_id, entry.id)) == entry
    with pytest.raises(Fault, match="not_found"):
        await inventory.database.run(lambda tx: operations.read_entry(tx, "another/test", entry.id))


async def test_a_balance_of_old_is_that_after_the_last_entry_by_then(inventory: Inventory) -> None:
    for minute in range(1, 12):
        wishes = [inventory.wish(1), inventory.wish(1)] if minute == 5 else [inventory.wish(1)]
        at = START + timedelta(minutes=minute)
        await inventory.database.run_pipelined(
            lambda pipeline, wishes=wishes, at=at: operations.record_movements(pipeline, wishes, lambda: at, new_id)
        )

    async def balance(at: datetime, sku: str = "SKU-1") -> int:
        key = inventory.key(sku)
        return (await inventory.database.run(lambda tx: operations.read_balance(tx, key, utc_now(), at))).balance

    assert await balance(START) == 0
    for minute in range(1, 12):
        assert await balance(START + timedelta(minutes=minute)) == minute + (minute >= 5)
        assert await balance(START + timedelta(minutes=minute, seconds=59)) == minute + (minute >= 5)
    assert await balance(utc_now() + timedelta(days=1)) == 12
    assert await balance(START, "never") == 0


async def test_what_a_refused_movement_names_has_not_begun(inventory: Inventory) -> None:
    await inventory.move(5)
    refused = await inventory.move(1, Reason.PICK, warehouse="TYPO")
    await inventory.move(1, Reason.PICK, sku="TYPO")

    assert isinstance(refused.answer, Fault)
    assert [(level.sku, level.warehouse) for level in await inventory.levels()] == [("SKU-1", "SEA-1")]
    assert [one.warehouse for one in (await inventory.plan(("SKU-1", 9))).candidates] == ["SEA-1"]
    await inventory.allocate("shp_1", ("SKU-1", 9), ("TYPO", 1))
    assert [one.warehouse for one in (await inventory.explain("shp_1")).candidates] == ["SEA-1"]
    assert await inventory.levels("TYPO") == []
    await inventory.move(2, sku="TYPO")
    await inventory.move(2, Reason.PICK, sku="TYPO")
    assert [(level.on_hand, level.waiting) for level in await inventory.levels("TYPO")] == [(0, 1)]


async def test_levels_tell_what_is_held_free_and_waited_for(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(5), inventory.wish(2, warehouse="B"), inventory.wish(1, sku="X"))
    await inventory.allocate("shp_1", ("SKU-1", 4))
    await inventory.allocate("shp_2", ("SKU-1", 6), ("X", 1))

    async def levels(limit: int, **filters: object) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        while True:
            after = (str(rows[-1][0]), str(rows[-1][1])) if rows else None
            page = await inventory.database.run(
                lambda tx, after=after: operations.list_levels(
                    tx,
                    inventory.tenant_id,
                    **{"sku": None, "warehouse": None, **filters},
                    after=after,
                    limit=limit,
                    now=inventory.clock(),
                )
            )
            rows += [(r.sku, r.warehouse, r.on_hand, r.held, r.available, r.waiting) for r in page.levels]
            if not page.has_more:
                return rows

    everything = [("SKU-1", "B", 2, 0, 2, 6), ("SKU-1", "SEA-1", 5, 4, 1, 6), ("X", "SEA-1", 1, 0, 1, 1)]
    assert await levels(1) == await levels(100) == everything
    assert await levels(1, sku="SKU-1") == everything[:2]
    assert await levels(1, warehouse="SEA-1") == everything[1:]
