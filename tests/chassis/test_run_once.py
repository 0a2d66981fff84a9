"""One key, one effect: what a twin, a stranger, a crash and time find under an idempotency key."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import trace
from chassis.database import Database
from chassis.errors import Fault
from chassis.idempotency import (
    RETENTION,
    Claim,
    StoredAnswer,
    as_reply,
    claim_many,
    claim_of,
    keep_many,
    look_up,
    run_once,
)
from skutrail.v1 import common_pb2
from skutrail.v1.orders_pb2 import Order
from tests.chassis.probes import NOW, Admin, until

KEY = Claim("acc_1:test", "key-1", b"f")
WRITE = text("INSERT INTO account (name, amount) VALUES (:name, 1)")

Operation = Callable[[AsyncConnection], Awaitable[Order]]


async def once(
    database: Database, operation: Operation, *, key: Claim = KEY, now: datetime = NOW
) -> tuple[Order, bool]:
    return await run_once(database, key, operation, reply_type=Order, now=now)


def writing(name: str) -> Operation:
    """An effect that shows, and an answer that names it."""

    async def write(tx: AsyncConnection) -> Order:
        await tx.execute(WRITE, {"name": name})
        return Order(id=name)

    return write


def refusing(fault: Fault) -> Operation:
    async def refuse(tx: AsyncConnection) -> Order:
        await tx.execute(WRITE, {"name": "undone"})
        raise fault

    return refuse


async def effects(admin: Admin) -> list[object]:
    return [name for (name,) in await admin.rows("SELECT name FROM account ORDER BY name")]


async def keys(admin: Admin) -> int:
    return await admin.count("SELECT count(*) FROM idempotency_key")


async def test_the_second_time_the_first_answer_is_told_again(database: Database, admin: Admin) -> None:
    first = await once(database, writing("a"))
    second = await once(database, writing("b"))

    assert first == (Order(id="a"), False)
    assert second == (Order(id="a"), True)
    assert await effects(admin) == ["a"]


async def test_a_twin_waits_for_the_first_and_replays_it(database: Database, admin: Admin) -> None:
    began, finish = asyncio.Event(), asyncio.Event()

    async def slowly(tx: AsyncConnection) -> Order:
        began.set()
        await finish.wait()
        return await writing("a")(tx)

    first = asyncio.create_task(once(database, slowly))
    await began.wait()
    twin = asyncio.create_task(once(database, writing("b")))
    await until(admin.waits_for_a_lock)
    finish.set()

    assert await first == (Order(id="a"), False)
    assert await twin == (Order(id="a"), True)
    assert await effects(admin) == ["a"]


async def test_many_twins_at_once_have_one_effect(database: Database, admin: Admin) -> None:
    answers = await asyncio.gather(*(once(database, writing(f"try-{n}")) for n in range(8)))

    assert len({order.id for order, _ in answers}) == 1
    assert sorted(replayed for _, replayed in answers) == [False] + [True] * 7
    assert len(await effects(admin)) == 1


async def test_a_twin_that_waited_too_long_is_told_that_the_first_still_runs(database: Database, admin: Admin) -> None:
    began, finish = asyncio.Event(), asyncio.Event()

    async def too_slowly(tx: AsyncConnection) -> Order:
        began.set()
        await finish.wait()
        return await writing("a")(tx)

    first = asyncio.create_task(once(database, too_slowly))
    await began.wait()
    with pytest.raises(Fault, match="idempotency_key_in_use") as told:
        await once(database, writing("b"))
    finish.set()

    assert told.value.facts == {"retry_after_s": 1}
    assert await first == (Order(id="a"), False)
    assert await effects(admin) == ["a"]


async def test_one_key_is_one_request(database: Database, admin: Admin) -> None:
    await once(database, writing("a"))
    other = Claim(KEY.tenant_id, KEY.key, b"another request")

    with pytest.raises(Fault, match="idempotency_key_reused"):
        await once(database, writing("b"), key=other)
    with pytest.raises(Fault, match="idempotency_key_reused"):
        await database.run(lambda tx: look_up(tx, other, NOW))

    assert await effects(admin) == ["a"]


async def test_tenants_do_not_see_each_others_keys(database: Database) -> None:
    await once(database, writing("a"))

    theirs = await once(database, writing("b"), key=Claim("acc_1:live", KEY.key, KEY.fingerprint))

    assert theirs == (Order(id="b"), False)


async def test_an_expired_key_is_free_for_any_request(database: Database, admin: Admin) -> None:
    await once(database, writing("a"))
    just_before, later = NOW + RETENTION - timedelta(seconds=1), NOW + RETENTION
    other = Claim(KEY.tenant_id, KEY.key, b"another request")

    assert await once(database, writing("b"), now=just_before) == (Order(id="a"), True)
    assert await database.run(lambda tx: look_up(tx, other, later)) is None
    assert await once(database, writing("c"), key=other, now=later) == (Order(id="c"), False)
    assert await once(database, writing("d"), key=other, now=later) == (Order(id="c"), True)
    assert await effects(admin) == ["a", "c"]


async def test_a_refusal_stays_refused_though_its_cause_is_gone(database: Database, admin: Admin) -> None:
    refusal = Fault("insufficient_stock", "3 are there.", requested=5, available=3)
    key = Claim(KEY.tenant_id, KEY.key, KEY.fingerprint, request_id="req_1")
    with pytest.raises(Fault, match="insufficient_stock"):
        await once(database, refusing(refusal), key=key)

    with trace.follow("req_2", ""), pytest.raises(Fault, match="3 are there") as again:
        await once(database, writing("a"))

    assert again.value.facts == {"requested": 5, "available": 3}
    assert again.value.request_id == "req_1"
    assert await effects(admin) == []


@pytest.mark.parametrize("code", ["unavailable", "internal_error", "validation_failed", "deadline_exceeded"])
async def test_what_is_not_decided_leaves_the_key_free(database: Database, admin: Admin, code: str) -> None:
    with pytest.raises(Fault, match=code):
        await once(database, refusing(Fault(code, "Not now.")))

    assert await keys(admin) == 0
    assert await once(database, writing("a")) == (Order(id="a"), False)
    assert await effects(admin) == ["a"]


async def test_a_defect_leaves_the_key_free(database: Database, admin: Admin) -> None:
    async def break_off(tx: AsyncConnection) -> Order:
        await writing("a")(tx)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await once(database, break_off)

    assert (await keys(admin), await effects(admin)) == (0, [])


async def test_a_crash_between_effect_and_commit_leaves_nothing(database: Database, admin: Admin) -> None:
    async def crash(tx: AsyncConnection) -> Order:
        order = await writing("a")(tx)
        await admin.terminate((await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one())
        return order

    with pytest.raises(Fault, match="unavailable"):
        await once(database, crash)

    assert (await keys(admin), await effects(admin)) == (0, [])
    assert await once(database, writing("a")) == (Order(id="a"), False)


async def test_an_answer_with_nothing_in_it_is_an_answer(database: Database) -> None:
    async def say_nothing(_: AsyncConnection) -> Order:
        return Order()

    assert await once(database, say_nothing) == (Order(), False)
    assert await once(database, say_nothing) == (Order(), True)
    assert await database.run(lambda tx: look_up(tx, KEY, NOW)) == StoredAnswer(b"", None)


async def test_batches_over_the_same_keys_in_opposite_order_do_not_deadlock(database: Database, admin: Admin) -> None:
    claims = [Claim("acc_1:test", f"key-{n}", b"f") for n in range(50)]
    tries: list[int] = []

    def batch(wanted: list[Claim], name: str) -> Callable[[AsyncConnection], Awaitable[set[str]]]:
        async def claimed(tx: AsyncConnection) -> set[str]:
            tries.append(1)
            outcomes = await claim_many(tx, wanted, NOW)
            free = {claim: Order(id=name) for claim in wanted if outcomes[claim.scope] is None}
            await keep_many(tx, free)
            told = [outcome.reply for outcome in outcomes.values() if isinstance(outcome, StoredAnswer)]
            return {Order.FromString(reply or b"").id for reply in told} | ({name} if free else set())

        return claimed

    batches = [batch(claims if n % 2 else claims[::-1], f"batch-{n}") for n in range(6)]
    told = await asyncio.gather(*(database.run(one) for one in batches))

    assert len(set().union(*told)) == 1
    assert len(tries) == 6
    assert await keys(admin) == 50


def test_a_looked_up_answer_is_told_as_reply_or_fault() -> None:
    fault = Fault("not_found", "There is no such order.", request_id="req_1")

    assert as_reply(None) == common_pb2.LookUpAnswerReply(found=False)
    assert as_reply(StoredAnswer(b"x", None)) == common_pb2.LookUpAnswerReply(found=True, reply=b"x")
    assert as_reply(StoredAnswer(None, fault)).fault.request_id == "req_1"
    assert claim_of("t", common_pb2.IdempotencyKey(key="k", fingerprint=b"f")) == Claim("t", "k", b"f")
