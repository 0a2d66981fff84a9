"""Movements of many calls in one commit: each is told its own, and none suffers from another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from chassis import idempotency
from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.errors import Fault
from chassis.ids import new_id
from services.inventory import writer as writing
from services.inventory.domain import Reason
from services.inventory.operations import Outcome
from services.inventory.writer import Writer
from skutrail.v1 import inventory_pb2
from tests.inventory.conftest import Inventory


@pytest.fixture
async def writer(inventory: Inventory) -> AsyncIterator[Writer]:
    writer = Writer(inventory.database, utc_now, new_id)
    running = asyncio.create_task(writer.run())
    yield writer
    writer.stop()
    await running


async def commits(inventory: Inventory) -> int:
    """Transactions that wrote entries of this tenant."""
    async with inventory.database.transaction() as tx:
        query = text("SELECT count(DISTINCT CAST(xmin AS text)) FROM ledger_entry WHERE tenant_id = :tenant")
        return int((await tx.execute(query, {"tenant": inventory.tenant_id})).scalar_one())


async def test_what_arrives_while_a_commit_is_under_way_shares_the_next(inventory: Inventory, writer: Writer) -> None:
    outcomes = await asyncio.gather(*(writer.record([inventory.wish(1)]) for _ in range(60)))

    entries = [told[0].answer for told in outcomes]
    assert sorted(e.seq for e in entries if isinstance(e, inventory_pb2.LedgerEntry)) == list(range(1, 61))
    assert [e.balance for e in entries if isinstance(e, inventory_pb2.LedgerEntry)] == list(range(1, 61))
    assert await commits(inventory) <= 3


async def test_each_caller_is_told_its_own_and_twins_the_same(inventory: Inventory, writer: Writer) -> None:
    await inventory.move(3)

    told = await asyncio.gather(
        writer.record([inventory.wish(1, Reason.PICK), inventory.wish(9, Reason.PICK)]),
        writer.record([inventory.wish(0)]),
        writer.record([inventory.wish(2, Reason.PICK, key="twin")]),
        writer.record([inventory.wish(2, Reason.PICK, key="twin")]),
    )

    def word(outcome: Outcome) -> object:
        return outcome.answer.code if isinstance(outcome.answer, Fault) else outcome.answer.balance

    assert [[word(outcome) for outcome in call] for call in told] == [
        [2, "insufficient_stock"], ["validation_failed"], [0], [0]
    ]  # fmt: skip
    assert [told[2][0].replayed, told[3][0].replayed] == [False, True]


async def test_a_call_that_was_given_up_is_recorded_all_the_same(inventory: Inventory, writer: Writer) -> None:
    given_up = asyncio.create_task(writer.record([inventory.wish(5, key="k")]))
    await asyncio.sleep(0)
    given_up.cancel()

    told = await writer.record([inventory.wish(5, key="k")])

    assert told[0].replayed
    assert (await inventory.stock()).on_hand == 5


async def test_a_key_that_runs_elsewhere_fails_none_of_its_neighbours(inventory: Inventory, writer: Writer) -> None:
    busy = inventory.wish(1, key="busy")
    assert busy.claim is not None

    async with inventory.database.transaction() as tx:
        await idempotency.claim(tx, busy.claim, utc_now())
        told = await asyncio.gather(
            writer.record([inventory.wish(1)]),
            writer.record([busy, inventory.wish(1)]),
            writer.record([busy]),
            writer.record([inventory.wish(1)]),
        )

    codes = [[o.answer.code if isinstance(o.answer, Fault) else "ok" for o in call] for call in told]
    assert codes == [["ok"], ["idempotency_key_in_use", "ok"], ["idempotency_key_in_use"], ["ok"]]


async def test_more_than_may_wait_is_refused_at_once(
    inventory: Inventory, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "QUEUE_MAX", 2)

    told = await asyncio.gather(*(writer.record([inventory.wish(1)]) for _ in range(5)), return_exceptions=True)

    refused = [outcome for outcome in told if isinstance(outcome, Fault)]
    assert {fault.code for fault in refused} == {"unavailable"}
    assert len(refused) == 3
    assert (await inventory.stock()).on_hand == 2


async def test_while_the_database_is_away_a_batch_is_told_at_once_and_not_call_by_call(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Database(create_engine("postgresql://nobody:x@127.0.0.1:1/nowhere"))
    tried: list[int] = []
    run = nowhere.run

    async def counted(operation: Any) -> Any:
        tried.append(1)
        return await run(operation)

    monkeypatch.setattr(nowhere, "run", counted)
    writer = Writer(nowhere, utc_now, new_id)
    running = asyncio.create_task(writer.run())
    told = await asyncio.gather(*(writer.record([inventory.wish(1)]) for _ in range(30)), return_exceptions=True)
    writer.stop()
    await running

    assert {fault.code for fault in told if isinstance(fault, Fault)} == {"unavailable"}
    assert len(told) == 30
    assert len(tried) <= 2
    await nowhere.engine.dispose()
