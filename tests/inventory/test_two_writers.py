"""Two inventory processes on one database, as far as the database sees them: what meets there comes to one order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import idempotency
from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.errors import Fault
from chassis.ids import new_id
from chassis.pipeline import Pipeline
from cli.provision import DatabaseUrls
from services.inventory import operations, store
from services.inventory.operations import Outcome, Wish
from services.inventory.writer import Writer
from skutrail.v1 import inventory_pb2
from tests.builders import eventually
from tests.inventory.conftest import Inventory

ROUNDS = 20
NEIGHBOURS, DELAY_MAX_S = 200, 0.5
Record = Callable[[Pipeline], Awaitable[list[Outcome]]]


@pytest.fixture(scope="module")
async def far_database(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    """Connections of another process."""
    database = Database(create_engine(databases["inventory"].application))
    yield database
    await database.engine.dispose()


@pytest.fixture
def far(inventory: Inventory, far_database: Database) -> Inventory:
    return Inventory(far_database, inventory.tenant_id)


@asynccontextmanager
async def writing(*databases: Database) -> AsyncIterator[list[Writer]]:
    writers = [Writer(database, utc_now, new_id) for database in databases]
    running = [asyncio.create_task(writer.run()) for writer in writers]
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop()
        await asyncio.gather(*running)


def recording(*wishes: Wish) -> Record:
    return lambda pipeline: operations.record_movements(pipeline, wishes, utc_now, new_id)


def entry_of(outcome: Outcome) -> inventory_pb2.LedgerEntry:
    assert isinstance(outcome.answer, inventory_pb2.LedgerEntry), outcome
    return outcome.answer


async def test_a_key_that_the_other_adds_meanwhile_is_replayed(inventory: Inventory, far: Inventory) -> None:
    wish = inventory.wish(5, key="k")

    async with inventory.database.transaction() as tx:
        pipeline = await Pipeline.on(tx)
        [first] = await recording(wish)(pipeline)
        await pipeline.flush()
        # The SKU is new: the other one looks for the key, finds none, and waits at the balance that is being made.
        later = asyncio.create_task(far.record(wish))
        await eventually(lambda: locks_waited_for(inventory), bool)
        await pipeline.commit()
    [second] = await later

    assert (second.answer, second.replayed) == (first.answer, True)
    assert (await inventory.stock()).on_hand == 5


async def test_of_two_movements_that_are_decided_under_one_key_one_is_recorded(
    inventory: Inventory, far: Inventory
) -> None:
    decided, committed = asyncio.Event(), asyncio.Event()
    other = recording(inventory.wish(7, sku="SKU-2", key="k", fingerprint=b"other"), inventory.wish(1, sku="SKU-3"))

    async def record_late(pipeline: Pipeline) -> list[Outcome]:
        outcomes = await other(pipeline)
        decided.set()
        await committed.wait()
        return outcomes

    later = asyncio.create_task(far.database.run_pipelined(record_late))
    await decided.wait()
    await inventory.record(inventory.wish(5, key="k"))
    committed.set()
    [refused, neighbour] = await later

    assert isinstance(refused.answer, Fault)
    assert refused.answer.code == "idempotency_key_reused"
    assert entry_of(neighbour).seq == 1
    stocks = [(await inventory.stock(sku)).on_hand for sku in ("SKU-1", "SKU-2", "SKU-3")]
    assert stocks == [5, 0, 1]


async def test_one_key_at_two_writers_at_once_has_one_effect_and_one_answer(
    inventory: Inventory, far: Inventory
) -> None:
    async with writing(inventory.database, far.database) as writers:
        for number in range(ROUNDS):  # every other time of a SKU that never moved
            wish = inventory.wish(1, sku=f"SKU-{number // 2}", key=f"k-{number}")

            told = await asyncio.gather(*(writer.record([wish]) for writer in writers))

            [[one], [other]] = told
            assert entry_of(one) == entry_of(other)
            assert entry_of(one).seq == number % 2 + 1
            assert sorted([one.replayed, other.replayed]) == [False, True]


async def test_two_writers_over_the_same_skus_in_opposite_order_meet_in_no_deadlock(
    inventory: Inventory, far: Inventory
) -> None:
    skus = [f"SKU-{number:02}" for number in range(20)]
    await inventory.record(*(inventory.wish(1, sku=sku) for sku in skus))
    before = await deadlocks(inventory)

    async with writing(inventory.database, far.database) as writers:
        for number in range(5):
            same = [inventory.wish(1, sku=sku, key=f"{number}-{sku}") for sku in skus]
            own = [[inventory.wish(1, sku=sku) for sku in skus] for _ in writers]
            calls = [[*same, *own[0]], [*reversed(own[1]), *reversed(same)]]

            async with inventory.database.transaction() as tx:
                # Both are on their way when they meet: each has what comes before the middle in its order.
                await store.lock_stocks(tx, [inventory.key(skus[10])])
                meeting = [asyncio.create_task(w.record(call)) for w, call in zip(writers, calls, strict=True)]
                await eventually(lambda: locks_waited_for(inventory), lambda count: count >= len(writers))
            told = await asyncio.gather(*meeting)

            balances = {entry_of(outcome).balance for call in told for outcome in call}
            assert balances == {1 + 3 * number + step for step in (1, 2, 3)}
    assert await deadlocks(inventory) == before


async def test_a_key_that_a_slow_transfer_holds_delays_its_neighbours_for_half_a_second_at_most(
    inventory: Inventory, far: Inventory
) -> None:
    busy = inventory.wish(1, key="slow")
    assert busy.claim is not None
    claimed, told_all = asyncio.Event(), asyncio.Event()

    async def transfer(_: AsyncConnection) -> inventory_pb2.RecordTransferReply:
        claimed.set()
        await told_all.wait()
        return inventory_pb2.RecordTransferReply(id="trf_1")

    slow = asyncio.create_task(
        idempotency.run_once(
            far.database, busy.claim, transfer, reply_type=inventory_pb2.RecordTransferReply, now=utc_now()
        )
    )
    await claimed.wait()
    async with writing(inventory.database) as [writer]:
        neighbours = [[inventory.wish(1, sku=f"SKU-{number}")] for number in range(NEIGHBOURS)]
        undisturbed_s, _ = await timed(writer, [[inventory.wish(0)], *neighbours])
        neighbours = [[inventory.wish(1, sku=f"SKU-{number}")] for number in range(NEIGHBOURS)]
        # First in the batch, which is where it delays most.
        disturbed_s, [[held_up], *others] = await timed(writer, [[busy], *neighbours])
    told_all.set()
    await slow

    assert isinstance(held_up.answer, Fault)
    assert held_up.answer.code == "idempotency_key_in_use"
    assert [entry_of(outcome).seq for [outcome] in others] == [2] * NEIGHBOURS
    assert disturbed_s - undisturbed_s < DELAY_MAX_S


async def timed(writer: Writer, calls: Sequence[Sequence[Wish]]) -> tuple[float, list[list[Outcome]]]:
    """How long it takes until the last of the calls is told."""
    began = time.monotonic()
    told = await asyncio.gather(*map(writer.record, calls))
    return time.monotonic() - began, told


async def locks_waited_for(inventory: Inventory) -> int:
    async with inventory.database.transaction() as tx:
        return int((await tx.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))).scalar_one())


async def deadlocks(inventory: Inventory) -> int:
    """That PostgreSQL ended in this database."""
    async with inventory.database.transaction() as tx:
        query = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int((await tx.execute(query)).scalar_one())
