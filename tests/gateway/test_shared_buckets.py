"""Buckets that gateways share: the same sums in SQL, one token for one of many, and a store that is not there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cli.provision import DatabaseUrls
from gateway import rate_store
from gateway.limits import SECOND_NS, Buckets, Budget, Limit, budget_of
from gateway.metrics import Metrics
from gateway.shared_buckets import ANSWER_S, LINE_S, TURN_S, SharedBuckets
from tests.builders import eventually
from tests.wire import Wire, wire_to

FIVE = Limit(5, 600)
PATIENT_S = 10.0  # on a machine that tests share, where not patience is what is tested


@dataclass(frozen=True)
class Gateway:
    """One gateway's buckets, and what it counts."""

    shared: SharedBuckets
    metrics: Metrics

    async def take(self, caller: str, limit: Limit = FIVE) -> Budget:
        return await self.shared.take(caller, limit, time.monotonic_ns())

    async def becomes(self, *, shared: bool) -> None:
        async def is_shared() -> bool:
            return self.shared.is_shared

        await eventually(is_shared, lambda seen: seen is shared)

    @property
    def counted_alone(self) -> int:
        name = b"skutrail_rate_limit_unshared_total "
        return int(float(self.metrics.text().partition(b"\n" + name)[2].split()[0]))


@asynccontextmanager
async def gateway_at(url: str, answer_s: float = PATIENT_S) -> AsyncIterator[Gateway]:
    metrics = Metrics()
    async with SharedBuckets(url, Buckets(), metrics, answer_s=answer_s) as shared:
        yield Gateway(shared, metrics)


@pytest.fixture
def url(databases: Mapping[str, DatabaseUrls]) -> str:
    return databases["gateway"].application


@pytest.fixture
async def wire(url: str) -> AsyncIterator[Wire]:
    async with wire_to(url) as wire:
        yield wire


@pytest.fixture
def caller() -> str:
    return f"key_{uuid4().hex}"


limits = st.builds(Limit, st.integers(1, 9_999_999), st.integers(1, 99_999)) | st.builds(
    Limit, st.integers(1, 6), st.integers(1, 20)
)
# A request of one of two callers, or time that passes, in thousandths of the window.
steps = st.lists(st.sampled_from("ab") | st.integers(1, 1_500), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(limit=limits, steps=steps)
async def test_sql_and_python_say_the_same(
    databases: Mapping[str, DatabaseUrls], limit: Limit, steps: list[str | int]
) -> None:
    buckets, now_ns = Buckets(), 1_000 * SECOND_NS
    connection = await rate_store.connect(databases["gateway"].application)
    # Within one transaction the database's clock stands still. That time passes is every bucket nearer to full.
    async with connection, connection.transaction(force_rollback=True):
        for step in steps:
            if isinstance(step, int):
                passed_ns = step * limit.full_ns // 1_000
                now_ns += passed_ns
                await connection.execute("UPDATE rate_bucket SET full_at_ns = full_at_ns - %s", [passed_ns])
            else:
                told = budget_of(limit, await rate_store.take(connection, step, limit))
                assert told == buckets.take(step, limit, now_ns)


async def test_of_many_at_once_as_many_pass_as_there_are_tokens(url: str, caller: str) -> None:
    connections = [await rate_store.connect(url) for _ in range(8)]
    barrier = asyncio.Barrier(len(connections))
    limit = Limit(50, 6_000)

    async def ask(connection: rate_store.Connection) -> list[Budget]:
        async with connection:
            await rate_store.take(connection, f"{caller}-warm", limit)
            await barrier.wait()
            return [budget_of(limit, await rate_store.take(connection, caller, limit)) for _ in range(20)]

    told = [budget for budgets in await asyncio.gather(*map(ask, connections)) for budget in budgets]

    assert sum(not budget.is_spent for budget in told) == 50


async def test_what_one_gateway_gave_another_does_not_give_again(url: str, caller: str) -> None:
    async with gateway_at(url) as one, gateway_at(url) as other:
        told = [await gateway.take(caller) for gateway in (one, other, one, other, one, other, one)]

    assert [(budget.remaining, budget.is_spent) for budget in told] == [
        *((remaining, False) for remaining in (4, 3, 2, 1, 0)),
        *[(0, True)] * 2,
    ]
    assert {(budget.limit, budget.refill_s) for budget in told} <= {(FIVE, 120), (FIVE, 119)}
    assert told[-1].full_s in (599, 600)
    assert (one.counted_alone, other.counted_alone) == (0, 0)


async def test_who_is_refused_once_is_refused_again_without_the_store(url: str, caller: str, wire: Wire) -> None:
    async with gateway_at(url) as one, gateway_at(wire.url, answer_s=ANSWER_S) as other:
        for _ in range(5):
            await one.take(caller)
        refused = await other.take(caller)
        wire.hold()
        flood = [await other.take(caller) for _ in range(100)]

        assert refused.is_spent
        assert all(budget.is_spent for budget in flood)
        assert other.shared.is_shared
        assert other.counted_alone == 0


@pytest.mark.parametrize("trouble", [Wire.hold, Wire.cut, Wire.end])
async def test_a_store_that_is_away_lets_requests_through_and_is_shared_again_when_it_returns(
    url: str, wire: Wire, caller: str, trouble: Callable[[Wire], None]
) -> None:
    with capture_logs() as lines:
        async with gateway_at(url) as near, gateway_at(wire.url, answer_s=ANSWER_S) as far:
            await far.take(caller)
            trouble(wire)
            started = time.monotonic()
            first = await far.take(caller)
            waited_s = time.monotonic() - started
            others = [await far.take(caller) for _ in range(2)]
            away_for = [line["event"] for line in lines]
            counted_alone = far.counted_alone
            wire.mend()
            await far.becomes(shared=True)
            again = [await near.take(caller), await far.take(caller), await far.take(caller)]

    assert waited_s < LINE_S + ANSWER_S + TURN_S + 0.3
    assert [(budget.remaining, budget.is_spent) for budget in (first, *others)] == [(3, False), (2, False), (1, False)]
    assert away_for == ["rate_limits.shared"] * 2 + ["rate_limits.away"]
    assert counted_alone == 3
    assert [line["event"] for line in lines].count("rate_limits.away") == 1
    assert [line["event"] for line in lines][-1] == "rate_limits.shared"
    # The store knows of one request, and of a second that it was asked for when it froze.
    left = again[0].remaining
    assert left in (2, 3)
    assert [(budget.remaining, budget.is_spent) for budget in again] == [(left - taken, False) for taken in range(3)]


async def test_while_the_store_is_away_a_request_waits_for_nothing(wire: Wire, caller: str) -> None:
    async with gateway_at(wire.url, answer_s=ANSWER_S) as gateway:
        wire.hold()
        await gateway.take(caller)

        with pytest.raises(StopIteration) as told:  # its answer, before it has let anything else run
            gateway.take(caller).send(None)

    assert told.value.value.remaining == 3


async def test_a_burst_in_the_moment_the_store_freezes_waits_once(wire: Wire, caller: str) -> None:
    async with gateway_at(wire.url, answer_s=ANSWER_S) as gateway:
        wire.hold()
        started = time.monotonic()
        told = await asyncio.gather(*(gateway.take(caller, Limit(100, 1)) for _ in range(50)))
        seconds = time.monotonic() - started

    assert not any(budget.is_spent for budget in told)
    assert seconds < LINE_S + ANSWER_S + TURN_S + 0.3


async def test_a_gateway_starts_without_its_store_and_says_so_without_naming_it(
    databases: Mapping[str, DatabaseUrls], caller: str
) -> None:
    nobody = "postgresql://nobody:unsaid@127.0.0.1:1/none"
    with capture_logs() as lines:
        async with gateway_at(nobody) as gone, gateway_at(databases["inventory"].application) as wrong:
            told = [await gateway.take(caller) for gateway in (gone, wrong)]

    assert [budget.remaining for budget in told] == [4, 4]
    assert [(line["event"], line["cause"]) for line in lines] == [
        ("rate_limits.away", "OperationalError"),
        ("rate_limits.away", "42P01"),  # no such table
    ]
    assert "unsaid" not in str(lines)


async def test_full_buckets_are_forgotten_and_others_kept(url: str, caller: str) -> None:
    connection = await rate_store.connect(url)
    async with connection:
        for number in range(3):
            await rate_store.take(connection, f"{caller}-{number}", FIVE)
        await connection.execute(
            "UPDATE rate_bucket SET full_at_ns = full_at_ns - %s WHERE caller IN (%s, %s)",
            [200 * SECOND_NS, f"{caller}-0", f"{caller}-1"],
        )

        assert await rate_store.sweep(connection) >= 2
        rows = await connection.execute("SELECT caller FROM rate_bucket WHERE caller LIKE %s", [f"{caller}%"])
        assert await rows.fetchall() == [(f"{caller}-2",)]


async def test_a_gateway_forgets_full_buckets_however_many(
    url: str, caller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.shared_buckets.RETRY_S", 0.01)
    connection = await rate_store.connect(url)
    many = 3 * rate_store.SWEEP_MAX
    fill = "INSERT INTO rate_bucket SELECT %s || number, 0 FROM generate_series(1, %s) number"

    async def left() -> int:
        rows = await connection.execute("SELECT count(*) FROM rate_bucket WHERE caller LIKE %s", [f"{caller}%"])
        counted = await rows.fetchone()
        assert counted
        return int(counted[0])

    async with connection, gateway_at(url):
        await connection.execute(fill, [caller, many])
        await eventually(left, lambda seen: seen == 0)


async def test_a_check_that_is_refused_writes_no_row(url: str, caller: str) -> None:
    connection = await rate_store.connect(url)
    async with connection:
        for _ in range(6):
            await rate_store.take(connection, caller, FIVE)
        before = await (await connection.execute("SELECT ctid FROM rate_bucket WHERE caller = %s", [caller])).fetchone()
        await rate_store.take(connection, caller, FIVE)
        after = await (await connection.execute("SELECT ctid FROM rate_bucket WHERE caller = %s", [caller])).fetchone()

    assert before is not None
    assert before == after
