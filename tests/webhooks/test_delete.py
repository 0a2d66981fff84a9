"""Deleting a subscription: it is found no more, nothing more is sent, and what was done stays for its time."""

import asyncio
from datetime import timedelta

import pytest

from chassis import rpc
from chassis.errors import Fault
from services.webhooks import operations, store, subscriptions
from services.webhooks.domain import DELAYS
from services.webhooks.store import RETENTION
from skutrail.v1 import webhooks_pb2, webhooks_pb2_grpc
from tests.webhooks.building import an_event
from tests.webhooks.house import House
from tests.webhooks.receiving import Gate, answering, receiving

URL = "https://your.app/webhooks/skutrail"
DELIVERIES = "SELECT status, attempts_made FROM delivery ORDER BY created_at, id"
Stub = webhooks_pb2_grpc.WebhooksStub


async def delete(webhooks: Stub, subscription_id: str, tenant_id: str = "acc_1:test") -> None:
    wanted = webhooks_pb2.DeleteSubscriptionRequest(tenant_id=tenant_id, id=subscription_id)
    await rpc.call(webhooks.DeleteSubscription, wanted)


async def purge(house: House) -> int:
    """How many subscriptions the housekeeping forgets, once it has forgotten what they had."""
    for forget in (store.purge_deliveries, store.purge_events):
        await house.database.run(lambda tx, forget=forget: forget(tx, house.clock(), 100))
    return await house.database.run(lambda tx: subscriptions.purge(tx, house.clock(), 100))


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("GetSubscription", webhooks_pb2.GetSubscriptionRequest),
        ("UpdateSubscription", webhooks_pb2.UpdateSubscriptionRequest),
        ("DeleteSubscription", webhooks_pb2.DeleteSubscriptionRequest),
    ],
)
async def test_a_deleted_webhook_is_not_found_any_more(
    webhooks: Stub, house: House, method: str, request_type: type[webhooks_pb2.GetSubscriptionRequest]
) -> None:
    subscription_id = await house.subscribe(URL)
    await delete(webhooks, subscription_id)

    with pytest.raises(Fault) as refused:
        await rpc.call(getattr(webhooks, method), request_type(tenant_id="acc_1:test", id=subscription_id))

    assert (refused.value.code, refused.value.detail) == ("not_found", "There is no such webhook.")


@pytest.mark.parametrize("tenant_id", ["acc_1:test", "acc_1:live", "acc_2:test"])
async def test_only_the_own_webhook_can_be_deleted(webhooks: Stub, house: House, tenant_id: str) -> None:
    mine = await house.subscribe(URL)

    with pytest.raises(Fault) as refused:
        await delete(webhooks, mine if tenant_id != "acc_1:test" else "whk_unknown", tenant_id)

    assert refused.value.code == "not_found"
    assert await house.rows("SELECT status, deleted_at FROM subscription") == [("active", None)]


async def test_of_two_who_delete_at_the_same_time_one_is_told_so(webhooks: Stub, house: House) -> None:
    subscription_id = await house.subscribe(URL)

    results = await asyncio.gather(*(delete(webhooks, subscription_id) for _ in range(4)), return_exceptions=True)

    assert results.count(None) == 1
    assert [result.code for result in results if isinstance(result, Fault)] == ["not_found"] * 3


async def test_nothing_more_is_sent_to_a_deleted_webhook_and_what_waits_ends_as_failed(
    webhooks: Stub, house: House
) -> None:
    async with receiving() as receiver:
        receiver.answer = answering(500)
        subscription_id = await house.subscribe(receiver.url)
        await house.announce(an_event())
        await house.send_due()
        await house.announce(an_event())
        await delete(webhooks, subscription_id)
        await house.announce(an_event())  # nobody asks for it
        house.clock.advance(DELAYS[1])
        await house.send_due()

    assert len(receiver.requests) == 1
    assert sorted(await house.rows(DELIVERIES)) == [("failed", 0), ("failed", 1)]


async def test_an_attempt_under_way_arrives_and_is_recorded(webhooks: Stub, house: House) -> None:
    gate = Gate()
    async with receiving() as receiver:
        receiver.answer = gate.answer
        subscription_id = await house.subscribe(receiver.url)
        await house.announce(an_event())
        sender = house.make_sender()
        await sender.send_due()
        await receiver.wait_for(1)
        await delete(webhooks, subscription_id)
        gate.opened.set()
        await sender.finish()

    assert await house.rows(DELIVERIES) == [("delivered", 1)]
    assert await house.rows("SELECT status_code FROM attempt") == [(204,)]


async def test_a_deleted_webhook_leaves_its_place_to_another(
    webhooks: Stub, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "ACTIVE_PER_TENANT_MAX", 1)
    await delete(webhooks, await house.subscribe(URL))

    assert await house.subscribe(URL)


async def test_deliveries_and_attempts_outlive_their_webhook_until_the_retention_takes_all(
    webhooks: Stub, house: House
) -> None:
    async with receiving() as receiver:
        subscription_id = await house.subscribe(receiver.url)
        kept = await house.subscribe(URL, tenant_id="acc_2:test")
        await house.announce(an_event())
        await delete(webhooks, subscription_id)
        house.clock.advance(timedelta(days=1))
        late = await house.subscribe(receiver.url)
        await house.announce(an_event(at=house.clock()))
        await house.send_due()
        await delete(webhooks, late)
    assert await house.rows("SELECT count(*) FROM attempt") == [(1,)]

    house.clock.advance(RETENTION - timedelta(minutes=1))
    assert await purge(house) == 0
    assert await house.rows("SELECT count(*) FROM attempt") == [(1,)]
    house.clock.advance(timedelta(minutes=2))

    assert await purge(house) == 2
    assert await house.rows("SELECT id FROM subscription") == [(kept,)]
    for table in ("delivery", "attempt", "event"):
        assert await house.rows(f"SELECT count(*) FROM {table}") == [(0,)]
