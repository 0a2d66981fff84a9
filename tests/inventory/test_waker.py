"""The waker among trouble: one that cannot be served holds up no other, and what troubles all is not tried for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from chassis.database import Database, create_engine
from chassis.ids import new_id
from services.inventory import store
from services.inventory.waker import IN_VAIN_MAX, PUT_OFF_FOR, Waker
from tests.chassis.probes import until
from tests.inventory.conftest import Inventory, NoRelay, Place

SKUS = [f"SKU-{number}" for number in range(6)]
SOMEBODY_WAITS_FOR_A_LOCK = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
async def crowd(place: Place) -> AsyncIterator[Inventory]:
    """One waits for each SKU, and each could be served."""
    database = Database(create_engine(place.application))
    inventory = Inventory(database, new_id("tenant"))
    for sku in SKUS:
        await inventory.allocate(f"shp_{sku}", (sku, 1))
    await inventory.record(*(inventory.wish(1, sku=sku) for sku in SKUS))
    yield inventory
    await database.engine.dispose()


@pytest.fixture
async def waker(place: Place, crowd: Inventory) -> AsyncIterator[Waker]:
    """One that waits for a lock no longer than a test likes to."""
    url = place.application.replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(create_async_engine(url, connect_args={"options": "-c lock_timeout=300ms"}))
    yield Waker(database, NoRelay(), crowd.clock, new_id)  # type: ignore[arg-type]
    await database.engine.dispose()


def tries(lines: Sequence[MutableMapping[str, Any]]) -> list[int]:
    """Of how many at once, those that came to nothing."""
    return [line["count"] for line in lines if line["event"] == "requests.not_moved"]


async def test_one_whose_stock_is_locked_holds_up_no_other(crowd: Inventory, waker: Waker) -> None:
    async with crowd.database.transaction() as tx:
        await store.lock_stocks(tx, [crowd.key(SKUS[0])])
        served = await waker.serve_waiting()

    assert served == len(SKUS) - 1
    assert await crowd.serveable() == [f"shp_{SKUS[0]}"]


async def test_what_troubles_all_is_not_waited_for_by_each(crowd: Inventory, waker: Waker) -> None:
    async with crowd.database.transaction() as tx:
        await store.lock_stocks(tx, [crowd.key(sku) for sku in SKUS])
        with capture_logs() as lines:
            assert await waker.serve_waiting() == 0

    assert tries(lines) == [len(SKUS), *[1] * IN_VAIN_MAX]
    assert await waker.serve_waiting() == len(SKUS) - IN_VAIN_MAX
    crowd.ahead = PUT_OFF_FOR
    assert await waker.serve_waiting() == IN_VAIN_MAX


async def test_those_at_the_head_that_cannot_be_served_hold_up_no_other(crowd: Inventory, waker: Waker) -> None:
    first = [crowd.key(sku) for sku in SKUS[:IN_VAIN_MAX]]
    async with crowd.database.transaction() as tx:
        await store.lock_stocks(tx, first)
        assert [await waker.serve_waiting() for _ in range(3)] == [0, len(SKUS) - IN_VAIN_MAX, 0]

        crowd.ahead = PUT_OFF_FOR
        await crowd.allocate("shp_new", ("SKU-new", 1))
        await crowd.move(1, sku="SKU-new")
        with capture_logs() as lines:
            assert await waker.serve_waiting() == 1  # before those that are tried again
        assert tries(lines) == [1] * IN_VAIN_MAX

    crowd.ahead = 2 * PUT_OFF_FOR
    assert await waker.serve_waiting() == IN_VAIN_MAX


async def test_those_at_the_head_that_cannot_be_ended_hold_up_no_other(crowd: Inventory, waker: Waker) -> None:
    assert await waker.serve_waiting() == len(SKUS)
    await crowd.record(*(crowd.wish(1, sku=sku) for sku in SKUS))
    over = crowd.clock() + timedelta(minutes=1)
    for place, sku in enumerate(SKUS):
        await crowd.allocate(f"shp_over_{sku}", (sku, 1), expires_at=over + place * timedelta(seconds=1))
    crowd.ahead = timedelta(minutes=2)

    async with crowd.database.transaction() as tx:
        await store.lock_stocks(tx, [crowd.key(sku) for sku in SKUS[:IN_VAIN_MAX]])
        assert [await waker.expire_due() for _ in range(3)] == [0, len(SKUS) - IN_VAIN_MAX, 0]

    crowd.ahead += PUT_OFF_FOR
    assert await waker.expire_due() == IN_VAIN_MAX


async def test_a_waker_that_stops_tries_no_more(crowd: Inventory, waker: Waker) -> None:
    with capture_logs() as lines:
        async with crowd.database.transaction() as tx:
            await store.lock_stocks(tx, [crowd.key(SKUS[0])])
            serving = asyncio.create_task(waker.serve_waiting())
            await until(lambda: crowd.ask(SOMEBODY_WAITS_FOR_A_LOCK))
            waker.stop()
            assert await serving == 0

    assert tries(lines) == [len(SKUS)]
