"""The unit of work on a real PostgreSQL: what is repeated, what is told as unavailable, and that nothing leaks."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import ATTEMPTS_MAX, POOL_TIMEOUT_S, Database, create_engine
from chassis.errors import Fault
from tests.chassis.probes import Admin, until

INSERT = text("INSERT INTO account (name, amount) VALUES (:name, :amount)")
ADD = text("UPDATE account SET amount = amount + :amount WHERE name = :name")
PID = text("SELECT pg_backend_pid()")
SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

Operation = Callable[[AsyncConnection], Awaitable[None]]


@pytest.fixture
async def accounts(database: Database, admin: Admin) -> Database:
    await admin.execute("INSERT INTO account VALUES ('a', 0), ('b', 0)")
    return database


async def amounts(admin: Admin) -> dict[object, object]:
    return dict(await admin.rows("SELECT name, amount FROM account ORDER BY name"))  # type: ignore[arg-type]


@asynccontextmanager
async def small_pool(url: str, size: int) -> AsyncIterator[Database]:
    engine = create_engine(url, pool_size=size)
    yield Database(engine)
    await engine.dispose()


@asynccontextmanager
async def locked(database: Database, name: str) -> AsyncIterator[None]:
    """Somebody else holds the row's lock."""
    async with database.transaction() as other:
        await other.execute(ADD, {"name": name, "amount": 0})
        yield


async def test_two_transactions_in_a_deadlock_both_succeed_in_the_end(accounts: Database, admin: Admin) -> None:
    both_hold_one = asyncio.Barrier(2)
    tries = {"ab": 0, "ba": 0}

    def crossing(order: str) -> Operation:
        async def operation(tx: AsyncConnection) -> None:
            tries[order] += 1
            await tx.execute(ADD, {"name": order[0], "amount": 1})
            if tries[order] == 1:
                await both_hold_one.wait()
            await tx.execute(ADD, {"name": order[1], "amount": 1})

        return operation

    await asyncio.gather(accounts.run(crossing("ab")), accounts.run(crossing("ba")))

    assert sorted(tries.values()) == [1, 2]
    assert await amounts(admin) == {"a": 2, "b": 2}


async def test_a_serialization_failure_is_repeated_with_a_new_snapshot(accounts: Database, admin: Admin) -> None:
    both_have_read = asyncio.Barrier(2)
    tries: list[int] = []

    async def add(tx: AsyncConnection) -> None:
        tries.append(1)
        await tx.execute(SNAPSHOT)
        await tx.execute(text("SELECT amount FROM account"))
        if len(tries) <= 2:
            await both_have_read.wait()
        await tx.execute(ADD, {"name": "a", "amount": 1})

    await asyncio.gather(accounts.run(add), accounts.run(add))

    assert len(tries) == 3
    assert await amounts(admin) == {"a": 2, "b": 0}


async def test_what_always_fails_to_serialize_is_given_up_as_unavailable(accounts: Database, admin: Admin) -> None:
    tries: list[int] = []

    async def come_too_late(tx: AsyncConnection) -> None:
        tries.append(1)
        await tx.execute(SNAPSHOT)
        await tx.execute(text("SELECT amount FROM account"))
        await admin.execute("UPDATE account SET amount = amount + 1 WHERE name = 'a'")
        await tx.execute(ADD, {"name": "a", "amount": 1})

    with pytest.raises(Fault, match="unavailable"):
        await accounts.run(come_too_late)

    assert len(tries) == ATTEMPTS_MAX


async def test_a_killed_backend_is_survived(accounts: Database, admin: Admin) -> None:
    tries: list[int] = []

    async def add(tx: AsyncConnection) -> None:
        tries.append(1)
        await tx.execute(ADD, {"name": "a", "amount": 1})
        if len(tries) == 1:
            await admin.terminate((await tx.execute(PID)).scalar_one())
        await tx.execute(ADD, {"name": "b", "amount": 1})

    await accounts.run(add)

    assert len(tries) == 2
    assert await amounts(admin) == {"a": 1, "b": 1}


async def test_a_restart_that_kills_every_idle_connection_is_not_noticed(database_url: str, admin: Admin) -> None:
    async with small_pool(database_url, size=4) as database:
        all_out = asyncio.Barrier(4)

        async def tell_pid(tx: AsyncConnection) -> int:
            await all_out.wait()
            return int((await tx.execute(PID)).scalar_one())

        for pid in await asyncio.gather(*(database.run(tell_pid) for _ in range(4))):
            await admin.terminate(pid)

        assert len(set(await asyncio.gather(*(database.run(tell_pid) for _ in range(4))))) == 4


async def test_a_database_that_is_away_is_unavailable_and_back_when_it_is_back(
    database: Database, admin: Admin
) -> None:
    async def look(tx: AsyncConnection) -> int:
        return int((await tx.execute(text("SELECT 1"))).scalar_one())

    await admin.shut()
    try:
        with pytest.raises(Fault, match="unavailable"):
            await database.run(look)
        assert not await database.is_up()
    finally:
        await admin.open()

    assert await database.run(look) == 1
    assert await database.is_up()


async def test_an_exhausted_pool_is_unavailable_within_its_bound(database_url: str) -> None:
    async with small_pool(database_url, size=1) as database, database.transaction():
        started = time.perf_counter()

        with pytest.raises(Fault, match="unavailable") as refusal:
            await database.run(lambda tx: tx.execute(PID))

        assert POOL_TIMEOUT_S * 0.9 < time.perf_counter() - started < POOL_TIMEOUT_S + 1
        assert refusal.value.facts == {"retry_after_s": 1}


async def test_a_lock_that_is_not_released_in_time_is_unavailable(accounts: Database, admin: Admin) -> None:
    tries: list[int] = []

    async def add(tx: AsyncConnection) -> None:
        tries.append(1)
        await tx.execute(ADD, {"name": "a", "amount": 1})

    async with locked(accounts, "a"):
        with pytest.raises(Fault, match="unavailable"):
            await accounts.run(add)

    assert tries == [1]
    assert await amounts(admin) == {"a": 0, "b": 0}


# What is there twice may have been added a moment ago by somebody else: looked for again, it would be found.
@pytest.mark.parametrize(
    ("name", "amount", "rule", "tried"),
    [("a", 1, "UniqueViolation", ATTEMPTS_MAX), ("c", -1, "CheckViolation", 1)],
)
async def test_a_broken_constraint_is_a_defect_that_keeps_its_cause(
    accounts: Database, name: str, amount: int, rule: str, tried: int
) -> None:
    tries: list[int] = []

    async def insert(tx: AsyncConnection) -> None:
        tries.append(1)
        await tx.execute(INSERT, {"name": name, "amount": amount})

    with pytest.raises(sqlalchemy.exc.IntegrityError) as broken:
        await accounts.run(insert)

    assert len(tries) == tried
    assert type(broken.value.__cause__).__name__ == rule


async def test_an_error_that_is_logged_carries_nobodys_data(accounts: Database) -> None:
    with pytest.raises(sqlalchemy.exc.IntegrityError) as broken:
        await accounts.run(lambda tx: tx.execute(INSERT, {"name": "a", "amount": 4_711}))

    assert "4711" not in str(broken.value)


async def test_a_refusal_undoes_what_was_written_before_it(accounts: Database, admin: Admin) -> None:
    async def refuse(tx: AsyncConnection) -> None:
        await tx.execute(ADD, {"name": "a", "amount": 1})
        raise Fault("not_found", "There is no such account.")

    with pytest.raises(Fault, match="not_found"):
        await accounts.run(refuse)

    assert await amounts(admin) == {"a": 0, "b": 0}


async def test_a_storm_of_cancelled_tasks_leaks_no_connection(database_url: str, admin: Admin) -> None:
    dice = random.Random(7)

    async with small_pool(database_url, size=5) as database:

        async def write(tx: AsyncConnection) -> None:
            await tx.execute(text("SELECT pg_sleep(0.002)"))
            await tx.execute(INSERT, {"name": str(dice.random()), "amount": 0})

        async def give_up_soon() -> None:
            try:
                async with asyncio.timeout(dice.uniform(0, 0.2)):
                    await database.run(write)
            except (TimeoutError, Fault):
                return

        await asyncio.gather(*(give_up_soon() for _ in range(200)))

        assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        stuck = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%' AND datname = %s"
        await until(lambda: _is_zero(admin, stuck))
        await asyncio.gather(*(database.run(write) for _ in range(5)))


async def _is_zero(admin: Admin, query: str) -> bool:
    return await admin.count(query, "skutrail_chassis") == 0


async def test_the_server_notices_within_a_minute_that_a_client_vanished(database: Database) -> None:
    async def detect_after_s(tx: AsyncConnection) -> int:
        names = ("idle", "interval", "count")
        shown = [int((await tx.execute(text(f"SHOW tcp_keepalives_{name}"))).scalar_one()) for name in names]
        idle_s, interval_s, count = shown
        return idle_s + interval_s * count

    # By default two hours: so long would the locks of a vanished process be held, the relay's among them.
    assert 0 < await database.run(detect_after_s) <= 60
