"""Many callers at one moment: each test starts behind a barrier, on connections that are open already."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

from tests.builders import Tenant, eventually, shipment
from tests.gateway.asking import Answer


async def at_once(tenant: Tenant, count: int, ask: Callable[[int], Awaitable[Answer]]) -> Sequence[Answer]:
    """`count` callers, each on a warm connection, ask at the same moment."""
    barrier = asyncio.Barrier(count)

    async def caller(number: int) -> Answer:
        # The barrier lies within the first answers, so that each caller opens a connection of its own.
        async with tenant.api.session.get(tenant.api.base_url + "/healthz") as warm:
            await barrier.wait()
            await warm.read()
        await barrier.wait()
        return await ask(number)

    return await asyncio.gather(*(caller(number) for number in range(count)))


async def test_of_64_picks_at_once_from_a_stock_of_40_exactly_40_succeed(tenant: Tenant) -> None:
    await tenant.receive(40)

    answers = await at_once(tenant, 64, lambda _: tenant.record(1, reason="pick"))

    assert Counter((answer.status, answer.code) for answer in answers) == {
        (200, ""): 40,
        (409, "insufficient_stock"): 24,
    }
    refusals = [answer.json for answer in answers if answer.status == 409]
    assert {(refusal["requested"], refusal["available"]) for refusal in refusals} == {(1, 0)}
    assert sorted(answer.json["balance"] for answer in answers if answer.status == 200) == list(range(40))
    assert await tenant.balance() == 0


async def test_one_key_sent_50_times_at_once_has_one_effect_and_one_answer(tenant: Tenant) -> None:
    key = str(uuid4())

    answers = await at_once(tenant, 50, lambda _: tenant.record(7, key=key))

    assert [answer.status for answer in answers] == [200] * 50
    assert len({answer.body for answer in answers}) == 1
    assert Counter(answer.headers.get("Idempotent-Replayed") for answer in answers) == {None: 1, "true": 49}
    assert await tenant.balance() == 7


async def test_one_key_sent_at_once_for_two_different_movements_records_one_of_them(tenant: Tenant) -> None:
    key = str(uuid4())

    answers = await at_once(tenant, 20, lambda number: tenant.record(1 + number % 2, key=key))

    assert Counter((answer.status, answer.code) for answer in answers) == {
        (200, ""): 10,
        (422, "idempotency_key_reused"): 10,
    }
    assert await tenant.balance() in (1, 2)


async def test_stock_for_12_of_20_shipments_goes_to_12_and_a_receipt_wakes_the_other_8(tenant: Tenant) -> None:
    await tenant.receive(12)

    answers = await at_once(tenant, 20, lambda number: request_shipment(tenant, f"ord_{number}"))
    assert [answer.status for answer in answers] == [202] * 20
    ids = [str(answer.json["id"]) for answer in answers]
    statuses = await eventually(
        lambda: statuses_of(tenant, ids), lambda seen: seen.keys() <= {"label_ready", "backordered"}
    )
    assert statuses == {"label_ready": 12, "backordered": 8}
    refused = await tenant.record(1, reason="pick")
    assert (refused.status, refused.json["available"]) == (409, 0)

    await tenant.receive(8)

    await eventually(lambda: statuses_of(tenant, ids), lambda seen: seen == {"label_ready": 20})
    assert await tenant.balance() == 20


async def request_shipment(tenant: Tenant, order_id: str) -> Answer:
    return await tenant.api.post("/v1/shipments", shipment(1, order_id=order_id))


async def statuses_of(tenant: Tenant, ids: Sequence[str]) -> Counter[str]:
    shipments = await asyncio.gather(*map(tenant.shipment, ids))
    return Counter(str(seen["status"]) for seen in shipments)
