"""Every fault strikes as its name says, again and again or as often as is asked for."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from sandbox.faults import Fault, Ordered, Pace, ordered_by
from tests.builders import eventually
from tests.sandbox.running import Sandbox, running_sandbox


@pytest.mark.parametrize(
    ("name", "ordered"),
    [
        ("SANDBOX_TIMEOUT", Ordered(Fault.TIMEOUT, None)),
        ("SANDBOX_5XX", Ordered(Fault.BROKEN, None)),
        ("SANDBOX_SLOW_30S x2", Ordered(Fault.SLOW, 2)),
        ("sandbox_timeout", None),
        ("SANDBOX_TIMEOUT ", None),
        ("SANDBOX_TIMEOUT x", None),
        ("SANDBOX_TIMEOUT Ltd", None),
        ("SANDBOX_ELSE", None),
        ("Ada Lovelace", None),
    ],
)
def test_a_fault_is_ordered_by_its_exact_name(name: str, ordered: Ordered | None) -> None:
    assert ordered_by(name) == ordered


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("SANDBOX_REJECT_ADDRESS", 422, "address_rejected"),
        ("SANDBOX_RATE_LIMIT", 429, "rate_limited"),
        ("SANDBOX_5XX", 500, "broken"),
    ],
)
async def test_a_refusal_stays_and_sells_nothing(name: str, status: int, code: str) -> None:
    async with running_sandbox() as sandbox:
        for _ in range(2):
            refused = await sandbox.buy(name=name)
            assert (refused.status, refused.json["code"]) == (status, code)
            assert ("Retry-After" in refused.headers) == (status == 429)

        assert await sandbox.sales() == (0, 0)


async def test_an_empty_answer_is_empty_and_sells_nothing() -> None:
    async with running_sandbox() as sandbox:
        empty = await sandbox.buy(name="SANDBOX_EMPTY_200")

        assert (empty.status, empty.json) == (200, None)
        assert await sandbox.sales() == (0, 0)


async def test_silence_sells_nothing_and_ends_by_itself() -> None:
    async with running_sandbox(pace=Pace(hang_s=0.1)) as sandbox:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await sandbox.buy(name="SANDBOX_TIMEOUT")

        assert await sandbox.sales() == (0, 0)


async def test_a_lost_answer_has_sold_once_however_often_it_is_lost() -> None:
    async with running_sandbox() as sandbox:
        for _ in range(3):
            with pytest.raises(aiohttp.ClientConnectionError):
                await sandbox.buy(name="SANDBOX_LATE_SUCCESS")

        assert [label["status"] for label in await sandbox.found()] == ["sold"]
        assert await sandbox.sales() == (1, 0)


async def test_a_slow_sale_is_answered_late() -> None:
    async with running_sandbox(pace=Pace(slow_s=0.1)) as sandbox:
        bought = await sandbox.buy(name="SANDBOX_SLOW_30S")

        assert await sandbox.found() == [bought.json]


async def test_a_slow_sale_is_made_for_a_caller_who_has_left() -> None:
    async with running_sandbox(pace=Pace(slow_s=0.3)) as sandbox:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await sandbox.buy(name="SANDBOX_SLOW_30S")
        assert await sandbox.sales() == (0, 0)

        assert await eventually(sandbox.sales, lambda sales: sales == (1, 0))


async def test_a_fault_strikes_as_often_as_its_name_says_for_each_reference() -> None:
    async with running_sandbox() as sandbox:
        for reference in ("shp_1-1", "shp_2-1"):
            statuses = [
                (await sandbox.buy(f"att_{reference}", name="SANDBOX_5XX x2", reference=reference)).status
                for _ in range(4)
            ]
            assert statuses == [500, 500, 201, 201]
            assert await sandbox.sales(reference) == (1, 0)


async def test_a_carrier_that_stops_waits_for_no_fault() -> None:
    pace = Pace()

    async with asyncio.timeout(10), asyncio.TaskGroup() as callers, running_sandbox(pace=pace) as sandbox:
        for name in ("SANDBOX_TIMEOUT", "SANDBOX_SLOW_30S"):
            callers.create_task(_buy_and_be_cut_off(sandbox.url, name))
        await eventually(_held(pace), bool)


def _held(pace: Pace) -> Callable[[], Awaitable[int]]:
    async def count() -> int:
        return len(pace.under_way)

    return count


async def _buy_and_be_cut_off(url: str, name: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await Sandbox(url, session).buy(name=name)
