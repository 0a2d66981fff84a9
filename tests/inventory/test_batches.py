"""Batches, transfers and preconditions, on a real PostgreSQL."""

import asyncio

import pytest

from chassis import idempotency
from chassis.clock import utc_now
from chassis.errors import Fault
from chassis.idempotency import Claim
from chassis.ids import new_id
from chassis.pipeline import within
from services.inventory import operations
from services.inventory.domain import Movement, Reason
from services.inventory.operations import Outcome, Wish
from skutrail.v1 import inventory_pb2
from tests.inventory.conftest import Inventory


def unkeyed(wish: Wish) -> Wish:
    return wish._replace(claim=None)


async def batch(inventory: Inventory, *wishes: Wish, atomic: bool) -> list[Outcome]:
    return await inventory.database.run_pipelined(
        lambda pipeline: operations.record_batch(pipeline, wishes, atomic=atomic, clock=utc_now, new_id=new_id)
    )


async def transfer(
    inventory: Inventory, qty: int, source: str, target: str, key: str = ""
) -> inventory_pb2.RecordTransferReply:
    out = Movement(inventory.key(warehouse=source), -qty, Reason.TRANSFER, "T-1")
    reply, _ = await idempotency.run_once(
        inventory.database,
        Claim(inventory.tenant_id, key or new_id("key"), b"f"),
        lambda tx: within(
            tx, lambda p: operations.record_transfer(p, out, inventory.key(warehouse=target), utc_now, new_id)
        ),
        reply_type=inventory_pb2.RecordTransferReply,
        now=utc_now(),
    )
    return reply


async def test_an_atomic_batch_with_one_refused_line_records_nothing(inventory: Inventory) -> None:
    lines = [unkeyed(inventory.wish(10)), unkeyed(inventory.wish(11, Reason.PICK)), inventory.wish(1, key="k")]

    with pytest.raises(Fault) as refused:
        await batch(inventory, *lines, atomic=True)

    assert refused.value.code == "insufficient_stock"
    assert [(f.pointer, f.code) for f in refused.value.fields] == [("/movements/1", "insufficient_stock")]
    assert (await inventory.stock()).seq == 0
    assert not (await inventory.move(1, key="k")).replayed


async def test_a_batch_that_is_not_atomic_answers_line_by_line(inventory: Inventory) -> None:
    await inventory.move(5, key="k")

    outcomes = await batch(
        inventory,
        unkeyed(inventory.wish(10)),
        unkeyed(inventory.wish(16, Reason.PICK)),
        inventory.wish(5, key="k"),
        unkeyed(inventory.wish(15, Reason.PICK)),
        atomic=False,
    )

    balances = [o.answer.code if isinstance(o.answer, Fault) else o.answer.balance for o in outcomes]
    assert balances == [15, "insufficient_stock", 5, 0]
    assert [o.replayed for o in outcomes] == [False, False, True, False]


async def test_a_transfer_leaves_the_sum_unchanged_and_is_recorded_once(inventory: Inventory) -> None:
    await inventory.move(10, warehouse="A")

    first = await transfer(inventory, 4, "A", "B", key="k")
    again = await transfer(inventory, 4, "A", "B", key="k")

    assert first == again
    assert first.id.startswith("trf_")
    assert [(e.warehouse, e.qty, e.balance) for e in first.entries] == [("A", -4, 6), ("B", 4, 4)]


@pytest.mark.parametrize(
    ("qty", "target", "code"),
    [(11, "B", "insufficient_stock"), (1, "A", "validation_failed"), (0, "B", "validation_failed")],
)
async def test_a_refused_transfer_moves_neither_leg(inventory: Inventory, qty: int, target: str, code: str) -> None:
    await inventory.move(10, warehouse="A")

    with pytest.raises(Fault) as refused:
        await transfer(inventory, qty, "A", target)

    assert refused.value.code == code
    assert (await inventory.stock(warehouse="A")).seq == 1
    assert (await inventory.stock(warehouse="B")).seq == 0


async def test_opposite_transfers_at_once_neither_deadlock_nor_lose_units(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(100, warehouse="A"), inventory.wish(100, warehouse="B"))
    barrier = asyncio.Barrier(16)

    async def move(number: int) -> None:
        await barrier.wait()
        await transfer(inventory, 3, *("AB" if number % 2 else "BA"))

    await asyncio.gather(*map(move, range(16)))

    stocks = [await inventory.stock(warehouse=warehouse) for warehouse in "AB"]
    assert [stock.on_hand for stock in stocks] == [100, 100]
    assert [stock.seq for stock in stocks] == [17, 17]


async def test_a_precondition_that_does_not_hold_records_nothing(inventory: Inventory) -> None:
    await inventory.move(10)

    outcomes = await inventory.record(
        inventory.wish(1, expected_balance=9),
        inventory.wish(1, expected_seq=0),
        inventory.wish(1, expected_balance=10, expected_seq=1),
        inventory.wish(1, expected_balance=10),
    )

    codes = [o.answer.code if isinstance(o.answer, Fault) else "ok" for o in outcomes]
    assert codes == ["version_conflict", "version_conflict", "ok", "version_conflict"]
    assert outcomes[0].answer.facts == {"expected": 9, "actual": 10}
    assert (await inventory.stock()).on_hand == 11
