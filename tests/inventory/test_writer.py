"""Movements of many calls in one commit: each is told its own, and none suffers from another."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from chassis import idempotency
from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.errors import Fault
from chassis.idempotency import Claim
from chassis.ids import new_id
from chassis.outbox import events_in
from chassis.trace import Trace, new_traceparent
from services.inventory import store
from services.inventory import writer as writing
from services.inventory.domain import Reason
from services.inventory.operations import Outcome
from services.inventory.writer import Writer
from skutrail.v1 import events_pb2, inventory_pb2
from tests.inventory.conftest import Inventory


@pytest.fixture
async def writer(inventory: Inventory) -> AsyncIterator[Writer]:
    writer = Writer(inventory.database, utc_now, new_id)
    running = asyncio.create_task(writer.run())
    yield writer
    writer.stop()
    await running


def code_of(outcome: Outcome) -> str:
    return outcome.answer.code if isinstance(outcome.answer, Fault) else "ok"


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


async def test_a_twin_that_is_refused_along_with_the_first_is_told_of_the_first(
    inventory: Inventory, writer: Writer
) -> None:
    twins = [inventory.wish(1, Reason.PICK, key="twin") for _ in range(2)]
    causes = [Trace(f"req_{number}", new_traceparent()) for number in range(2)]
    sent = [
        wish._replace(claim=Claim(inventory.tenant_id, "twin", b"f", cause.request_id), cause=cause)
        for wish, cause in zip(twins, causes, strict=True)
    ]

    told = await writer.record(sent)
    [again] = await writer.record([sent[1]])

    refusals = [outcome.answer for outcome in (*told, again) if isinstance(outcome.answer, Fault)]
    assert [refusal.request_id for refusal in refusals] == ["req_0"] * 3


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

    assert [[code_of(outcome) for outcome in call] for call in told] == [
        ["ok"],
        ["idempotency_key_in_use", "ok"],
        ["idempotency_key_in_use"],
        ["ok"],
    ]


async def test_more_than_may_wait_is_refused_at_once(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "QUEUE_PER_TENANT_MAX", 2)
    writer = Writer(inventory.database, utc_now, new_id)

    calls = [asyncio.create_task(writer.record([inventory.wish(1)])) for _ in range(5)]
    await asyncio.sleep(0)
    writer.stop()
    await writer.run()

    assert [code_of((await call)[0]) for call in calls] == ["ok", "ok", "unavailable", "unavailable", "unavailable"]
    assert (await inventory.stock()).on_hand == 2


async def test_while_the_database_is_away_a_batch_is_told_at_once_and_not_call_by_call(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Database(create_engine("postgresql://nobody:x@127.0.0.1:1/nowhere"))
    tried: list[int] = []
    run = nowhere.run_pipelined

    async def counted(operation: Any) -> Any:
        tried.append(1)
        return await run(operation)

    monkeypatch.setattr(nowhere, "run_pipelined", counted)
    writer = Writer(nowhere, utc_now, new_id)
    running = asyncio.create_task(writer.run())
    told = await asyncio.gather(*(writer.record([inventory.wish(1)]) for _ in range(30)))
    writer.stop()
    await running

    assert {code_of(outcome) for [outcome] in told} == {"unavailable"}
    assert len(tried) <= 2
    await nowhere.engine.dispose()


async def test_a_tenant_that_floods_the_queue_starves_nobody(inventory: Inventory) -> None:
    other = Inventory(inventory.database, new_id("tenant"))
    writer = Writer(inventory.database, utc_now, new_id)

    flood = [asyncio.create_task(writer.record([inventory.wish(1)])) for _ in range(writing.QUEUE_PER_TENANT_MAX + 50)]
    await asyncio.sleep(0)
    single = asyncio.create_task(writer.record([other.wish(7)]))
    await asyncio.sleep(0)
    running = asyncio.create_task(writer.run())
    outcome = (await single)[0]
    waiting = sum(not call.done() for call in flood)
    writer.stop()
    await running

    assert code_of(outcome) == "ok"
    assert waiting >= writing.QUEUE_PER_TENANT_MAX - writing.BATCH_MAX
    codes = [code_of((await call)[0]) for call in flood]
    assert codes.count("unavailable") == 50
    assert (await inventory.stock()).on_hand == writing.QUEUE_PER_TENANT_MAX


async def test_a_defect_in_one_movement_fails_none_of_its_neighbours(inventory: Inventory, writer: Writer) -> None:
    # The contract's domain has passed it, the database does not: 2**63 is no balance.
    await inventory.record(inventory.wish(5, sku="FULL"))
    async with inventory.database.transaction() as tx:
        await tx.execute(
            text("UPDATE balance SET on_hand = 9223372036854775807 WHERE tenant_id = :t AND sku = 'FULL'"),
            {"t": inventory.tenant_id},
        )

    told = await asyncio.gather(
        *(writer.record([inventory.wish(1)]) for _ in range(5)),
        writer.record([inventory.wish(1, sku="FULL"), inventory.wish(1)]),
        *(writer.record([inventory.wish(1)]) for _ in range(5)),
    )

    codes = [code_of(outcome) for call in told for outcome in call]
    assert codes == [*["ok"] * 5, "internal_error", *["ok"] * 6]
    assert (await inventory.stock()).on_hand == 11


async def test_what_shares_a_commit_keeps_the_trace_of_its_own_request(inventory: Inventory, writer: Writer) -> None:
    causes = [Trace(f"req_{number}", new_traceparent()) for number in range(3)]

    told = await asyncio.gather(*(writer.record([inventory.wish(1)._replace(cause=cause)]) for cause in causes))

    announced = await events_of(inventory)
    entries = [outcome.answer for [outcome] in told if not isinstance(outcome.answer, Fault)]
    assert [(event.entry.id, event.traceparent) for event in announced] == [
        (entry.id, cause.traceparent) for entry, cause in zip(entries, causes, strict=True)
    ]


async def events_of(inventory: Inventory) -> list[events_pb2.Event]:
    async with inventory.database.transaction() as tx:
        rows = await tx.execute(text("SELECT payload FROM outbox ORDER BY id"))
        events = [event for row in rows for event in events_in(row.payload)]
    return [event for event in events if event.tenant_id == inventory.tenant_id]


async def test_a_stock_that_is_locked_elsewhere_holds_up_nobody_else(inventory: Inventory, writer: Writer) -> None:
    await inventory.move(5, sku="BUSY")
    async with inventory.database.transaction() as tx:
        await store.lock_stocks(tx, [inventory.key("BUSY")])
        began = time.monotonic()
        waiting = asyncio.create_task(writer.record([inventory.wish(1, sku="BUSY"), inventory.wish(2, sku="BUSY")]))
        others = [await writer.record([inventory.wish(1, sku=f"FREE-{number}")]) for number in range(20)]
        seconds = time.monotonic() - began
        is_waiting = not waiting.done()

    assert [code_of(outcome) for [outcome] in others] == ["ok"] * 20
    assert is_waiting
    assert seconds < 1.0  # less than anybody waits for a lock
    told = [outcome.answer for outcome in await waiting]
    assert [entry.balance for entry in told if isinstance(entry, inventory_pb2.LedgerEntry)] == [6, 8]


async def test_a_stock_that_stays_locked_is_told_as_unavailable_and_its_key_is_not_spent(
    inventory: Inventory, writer: Writer
) -> None:
    await inventory.move(5, sku="BUSY")
    wish = inventory.wish(1, sku="BUSY", key="patience")

    async with inventory.database.transaction() as tx:
        await store.lock_stocks(tx, [inventory.key("BUSY")])
        [refused] = await writer.record([wish])
    [recorded] = await writer.record([wish])

    assert code_of(refused) == "unavailable"
    assert (code_of(recorded), recorded.replayed) == ("ok", False)
    assert (await inventory.stock("BUSY")).on_hand == 6


async def test_an_adjustment_that_is_refused_takes_nothing_from_those_who_hold(inventory: Inventory) -> None:
    await inventory.move(10)
    await inventory.allocate("shp_1", ("SKU-1", 10))

    [refused] = await inventory.record(inventory.wish(-5, Reason.ADJUSTMENT, expected_seq=7))

    assert code_of(refused) == "version_conflict"
    assert (await inventory.stock()).held == 10
    assert [event.type for event in await events_of(inventory)] == ["inventory.updated"]
