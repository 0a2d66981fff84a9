"""The ledger's promises, on a real PostgreSQL."""

import asyncio

import pytest
import sqlalchemy.exc
from sqlalchemy import text

from chassis.clock import utc_now
from chassis.errors import Fault
from services.inventory.domain import Reason
from services.inventory.operations import Outcome
from tests.inventory.conftest import Inventory


def code(outcome: Outcome) -> str:
    return outcome.answer.code if isinstance(outcome.answer, Fault) else "ok"


async def test_entries_form_a_chain_of_running_balances(inventory: Inventory) -> None:
    outcomes = await inventory.record(
        inventory.wish(300), inventory.wish(5, Reason.PICK), inventory.wish(-5, Reason.PICK), inventory.wish(120)
    )

    entries = [outcome.answer for outcome in outcomes]
    assert [(e.seq, e.qty, e.balance) for e in entries] == [(1, 300, 300), (2, -5, 295), (3, -5, 290), (4, 120, 410)]
    assert (await inventory.stock()).on_hand == 410


async def test_a_refused_movement_does_not_disturb_its_neighbours(inventory: Inventory) -> None:
    outcomes = await inventory.record(
        inventory.wish(10), inventory.wish(11, Reason.PICK), inventory.wish(10, Reason.PICK), inventory.wish(0)
    )

    assert [code(o) for o in outcomes] == ["ok", "insufficient_stock", "ok", "validation_failed"]
    assert outcomes[1].answer.facts == {"requested": 11, "available": 10}
    assert (await inventory.stock()).on_hand == 0


async def test_a_key_replays_its_answer_and_has_one_effect(inventory: Inventory) -> None:
    first = await inventory.move(10, key="k")
    again = await inventory.move(10, key="k")
    twice_in_one_batch = await inventory.record(inventory.wish(1, key="k2"), inventory.wish(1, key="k2"))

    assert again.replayed
    assert again.answer == first.answer
    assert [o.replayed for o in twice_in_one_batch] == [False, True]
    assert twice_in_one_batch[0].answer == twice_in_one_batch[1].answer
    assert (await inventory.stock()).on_hand == 11


async def test_a_key_of_another_request_is_refused(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(10, key="k", fingerprint=b"one"))

    outcomes = await inventory.record(
        inventory.wish(10, key="k", fingerprint=b"two"),
        inventory.wish(1, key="n", fingerprint=b"one"),
        inventory.wish(1, key="n", fingerprint=b"two"),
    )

    assert [code(o) for o in outcomes] == ["idempotency_key_reused", "ok", "idempotency_key_reused"]
    assert (await inventory.stock()).on_hand == 11


async def test_every_wish_of_a_batch_is_held_against_its_own_request(inventory: Inventory) -> None:
    first, other = b"one", b"two"
    await inventory.record(inventory.wish(10, key="k", fingerprint=first))

    for order in ([first, other, first], [other, first, other]):
        outcomes = await inventory.record(*(inventory.wish(10, key="k", fingerprint=f) for f in order))

        told = [code(o) for o in outcomes]
        assert told == ["ok" if f == first else "idempotency_key_reused" for f in order]
    assert (await inventory.stock()).on_hand == 10


async def test_a_refusal_stays_refused_when_stock_has_come(inventory: Inventory) -> None:
    refused = await inventory.move(1, Reason.PICK, key="k")
    await inventory.move(10)

    again = await inventory.move(1, Reason.PICK, key="k")

    assert code(refused) == code(again) == "insufficient_stock"
    assert again.replayed
    assert (await inventory.stock()).on_hand == 10


async def test_an_invalid_movement_does_not_spend_its_key(inventory: Inventory) -> None:
    invalid = await inventory.move(0, key="k")
    valid = await inventory.move(7, key="k")

    assert code(invalid) == "validation_failed"
    assert code(valid) == "ok"
    assert not valid.replayed


@pytest.mark.parametrize("lock", ["same_key", "two_keys_crossed"])
async def test_concurrent_picks_never_take_more_than_there_is(inventory: Inventory, lock: str) -> None:
    warehouses = ["A", "B"] if lock == "two_keys_crossed" else ["A"]
    for warehouse in warehouses:
        await inventory.move(40, warehouse=warehouse)
    await asyncio.gather(*(inventory.stock() for _ in range(10)))  # warm connections
    barrier = asyncio.Barrier(16)

    async def pick(number: int) -> list[Outcome]:
        order = warehouses if number % 2 else warehouses[::-1]
        wishes = [inventory.wish(1, Reason.PICK, warehouse=w) for w in order for _ in range(4)]
        await barrier.wait()
        return await inventory.record(*wishes)

    outcomes = [o for batch in await asyncio.gather(*map(pick, range(16))) for o in batch]

    assert [code(o) for o in outcomes].count("ok") == 40 * len(warehouses)
    assert {code(o) for o in outcomes} == {"ok", "insufficient_stock"}
    for warehouse in warehouses:
        assert (await inventory.stock(warehouse=warehouse)).on_hand == 0


async def test_the_same_key_at_once_makes_one_entry(inventory: Inventory) -> None:
    await asyncio.gather(*(inventory.stock() for _ in range(10)))
    barrier = asyncio.Barrier(20)

    async def send() -> Outcome:
        await barrier.wait()
        return await inventory.move(5, key="same")

    outcomes = await asyncio.gather(*(send() for _ in range(20)))

    assert len({o.answer.SerializeToString() for o in outcomes}) == 1
    assert [o.replayed for o in outcomes].count(False) == 1
    assert (await inventory.stock()).on_hand == 5


async def test_first_movements_of_a_sku_do_not_race(inventory: Inventory) -> None:
    barrier = asyncio.Barrier(8)

    async def receive() -> Outcome:
        await barrier.wait()
        return await inventory.move(1, sku="NEW")

    outcomes = await asyncio.gather(*(receive() for _ in range(8)))

    assert sorted(o.answer.seq for o in outcomes) == list(range(1, 9))


async def test_time_never_runs_backwards_within_a_chain(inventory: Inventory) -> None:
    from datetime import timedelta

    from chassis.ids import new_id
    from services.inventory import operations

    future = utc_now() + timedelta(hours=1)
    await inventory.database.run_pipelined(
        lambda pipeline: operations.record_movements(pipeline, [inventory.wish(1)], lambda: future, new_id)
    )

    entry = (await inventory.move(1)).answer

    assert entry.created_at.ToDatetime() == future.replace(tzinfo=None)


async def test_the_service_cannot_change_or_delete_an_entry(inventory: Inventory) -> None:
    await inventory.move(1)

    for statement in ("UPDATE ledger_entry SET qty = 2", "DELETE FROM ledger_entry", "TRUNCATE ledger_entry"):
        with pytest.raises(sqlalchemy.exc.ProgrammingError, match="permission denied"):
            async with inventory.database.transaction() as tx:
                await tx.execute(text(statement))
