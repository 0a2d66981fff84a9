"""A free slot goes to who occupies the fewest: the tenant first, then the subscription. Nobody can hold them all."""

import asyncio
import time
from collections import Counter
from datetime import timedelta

import psycopg
from sqlalchemy import text

from services.webhooks.delivery import (
    IN_FLIGHT_MAX,
    IN_FLIGHT_PER_SUBSCRIPTION_MAX,
    IN_FLIGHT_PER_TENANT_MAX,
    LEASE,
)
from tests.webhooks.building import an_event
from tests.webhooks.house import House
from tests.webhooks.receiving import Gate, receiving

URL = "http://127.0.0.1:9999/"
SUBSCRIBED = text("""
    INSERT INTO subscription (tenant_id, id, url, events, status, secret, created_at)
    SELECT :tenant_id, 'whk_' || s, :url, '{*}', 'active', '', :now FROM generate_series(1, :subscriptions) s
""")
HAPPENED = text("""
    INSERT INTO event (tenant_id, id, type, body, occurred_at)
    SELECT :tenant_id, 'evt_' || e, 'order.updated', '', :now FROM generate_series(1, :events) e
""")
WAITING = text("""
    INSERT INTO delivery (tenant_id, id, subscription_id, event_id, due_at, created_at)
    SELECT :tenant_id, 'whd_' || s || '_' || e, 'whk_' || s, 'evt_' || e, :now, :now
    FROM generate_series(1, :subscriptions) s, generate_series(1, :events) e
""")


async def a_backlog(house: House, tenant_id: str, *, subscriptions: int, events: int) -> None:
    """Every one of these events is due to every one of these subscriptions."""
    row = {"tenant_id": tenant_id, "url": URL, "now": house.clock()}
    async with house.database.transaction() as tx:
        await tx.execute(SUBSCRIBED, row | {"subscriptions": subscriptions})
        await tx.execute(HAPPENED, row | {"events": events})
        await tx.execute(WAITING, row | {"subscriptions": subscriptions, "events": events})


async def test_a_hanging_receiver_does_not_hold_up_the_others(house: House) -> None:
    gate = Gate()
    async with receiving() as hanging, receiving() as fast:
        hanging.answer = gate.answer
        await house.subscribe(hanging.url)
        for _ in range(12):
            await house.announce(an_event())
        sender = house.make_sender()
        running = asyncio.create_task(sender.run())
        await hanging.wait_for(IN_FLIGHT_PER_SUBSCRIPTION_MAX)

        await house.subscribe(fast.url)
        for _ in range(12):
            await house.announce(an_event(), sender)
        await fast.wait_for(12)

        assert len(hanging.requests) == IN_FLIGHT_PER_SUBSCRIPTION_MAX
        gate.opened.set()
        await hanging.wait_for(24)
        sender.stop()
        await running

    assert await house.rows("SELECT status, count(*) FROM delivery GROUP BY 1") == [("delivered", 36)]


async def test_many_hanging_receivers_of_one_tenant_do_not_hold_up_another(house: House) -> None:
    gate = Gate()
    async with receiving() as hanging, receiving() as fast:
        hanging.answer = gate.answer
        for _ in range(10):
            await house.subscribe(hanging.url, tenant_id="acc_1:test")
        for _ in range(7):  # more than there are slots
            await house.announce(an_event(tenant_id="acc_1:test"))
        sender = house.make_sender()
        running = asyncio.create_task(sender.run())
        await hanging.wait_for(IN_FLIGHT_PER_TENANT_MAX)

        await house.subscribe(fast.url, tenant_id="acc_2:live")
        await house.announce(an_event(tenant_id="acc_2:live"), sender)
        await fast.wait_for(1)

        assert len(hanging.requests) == IN_FLIGHT_PER_TENANT_MAX
        gate.opened.set()
        await hanging.wait_for(70)
        sender.stop()
        await running


async def test_a_backlog_of_one_tenant_buys_it_no_turn_before_another(house: House) -> None:
    await a_backlog(house, "acc_1:test", subscriptions=40, events=3)
    assert len(await house.claim(4)) == 4
    house.clock.advance(timedelta(seconds=1))
    await a_backlog(house, "acc_2:live", subscriptions=1, events=1)

    assert [claimed.tenant_id for claimed in await house.claim(1)] == ["acc_2:live"]


async def test_slots_are_shared_evenly_over_tenants_when_there_are_too_few(house: House) -> None:
    for number, subscriptions in enumerate((1, 3, 40)):
        await a_backlog(house, f"acc_{number}:live", subscriptions=subscriptions, events=10)

    shares = Counter(claimed.tenant_id for claimed in await house.claim(18))

    assert sorted(shares.values()) == [6, 6, 6]


async def test_no_tenant_gets_more_than_its_share_from_all_workers_together(house: House) -> None:
    await a_backlog(house, "acc_1:test", subscriptions=20, events=3)

    counts = [len(await house.claim()) for _ in range(3)]

    assert counts == [IN_FLIGHT_PER_TENANT_MAX, 0, 0]
    house.clock.advance(LEASE)
    assert len(await house.claim()) == IN_FLIGHT_PER_TENANT_MAX


async def test_slots_are_shared_evenly_over_subscriptions_when_there_are_too_few(house: House) -> None:
    """The oldest backlog is not served first: a free slot goes to the one that occupies the fewest."""
    url = "http://127.0.0.1:9999/"
    for _ in range(12):
        await house.subscribe(url)
    for _ in range(20):
        await house.announce(an_event())
    claimed = await house.claim(per_tenant_max=IN_FLIGHT_MAX)
    newcomer = await house.subscribe(url)
    house.clock.advance(timedelta(seconds=1))
    await house.announce(an_event())

    shares = sorted(sum(c.subscription_id == s for c in claimed) for s in {c.subscription_id for c in claimed})
    assert (len(shares), sum(shares), shares[0], shares[-1]) == (12, IN_FLIGHT_MAX, 5, 6)
    assert [c.subscription_id for c in await house.claim(1, per_tenant_max=IN_FLIGHT_MAX + 1)] == [newcomer]


async def test_no_subscription_gets_more_than_its_share_from_all_workers_together(house: House) -> None:
    await house.subscribe("http://127.0.0.1:9999/")
    for _ in range(20):
        await house.announce(an_event())

    counts = [len(await house.claim()) for _ in range(3)]

    assert counts == [IN_FLIGHT_PER_SUBSCRIPTION_MAX, 0, 0]
    house.clock.advance(LEASE)
    assert len(await house.claim()) == IN_FLIGHT_PER_SUBSCRIPTION_MAX


async def test_a_claim_is_cheap_however_long_the_backlog(house: House, owner: psycopg.AsyncConnection) -> None:
    await a_backlog(house, "acc_1:test", subscriptions=1_000, events=10)
    await owner.execute("VACUUM ANALYZE delivery, subscription, event")  # as autovacuum does within the minute
    durations = []
    for _ in range(8):  # enough for the driver to prepare the statement, and the server to plan it once and for all
        began = time.perf_counter()
        claimed = await house.claim()
        durations.append(time.perf_counter() - began)
        house.clock.advance(LEASE)

    assert len(claimed) == IN_FLIGHT_PER_TENANT_MAX
    assert sorted(durations)[len(durations) // 2] < 0.1
