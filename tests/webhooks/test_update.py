"""Changing a subscription: what is given and nothing else, by the rules of subscribing."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import rpc
from chassis.errors import Fault, FieldFault
from services.webhooks import operations
from services.webhooks.domain import DELAYS
from skutrail.v1 import webhooks_pb2, webhooks_pb2_grpc
from tests.webhooks.building import a_shipment, an_event
from tests.webhooks.house import LOOPBACK, House
from tests.webhooks.receiving import Gate, answering, receiving

URL = "https://your.app/webhooks/skutrail"
ACTIVE, DISABLED = webhooks_pb2.SUBSCRIPTION_STATUS_ACTIVE, webhooks_pb2.SUBSCRIPTION_STATUS_DISABLED
STATUSES = "SELECT status, count(*) FROM subscription GROUP BY 1 ORDER BY 1"
DELIVERIES = "SELECT status, attempts_made FROM delivery ORDER BY created_at, id"
Stub = webhooks_pb2_grpc.WebhooksStub


def a_change(
    subscription_id: str, tenant_id: str = "acc_1:test", **given: object
) -> webhooks_pb2.UpdateSubscriptionRequest:
    return webhooks_pb2.UpdateSubscriptionRequest(tenant_id=tenant_id, id=subscription_id, **given)


async def read(webhooks: Stub, subscription_id: str) -> webhooks_pb2.Subscription:
    wanted = webhooks_pb2.GetSubscriptionRequest(tenant_id="acc_1:test", id=subscription_id)
    return await rpc.call(webhooks.GetSubscription, wanted)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"url": "https://new.app:8443/hook?a=1"},
        {"events": ["shipment.*", "*", "*"]},
        {"status": DISABLED},
        {"status": ACTIVE},
        {"description": "Wärehouse 7"},
        {"url": "https://new.app/", "events": ["order.updated"], "status": DISABLED, "description": "all"},
    ],
)
async def test_what_is_given_changes_and_nothing_else(webhooks: Stub, house: House, given: dict[str, object]) -> None:
    other, subscription_id = [await house.subscribe(URL, "shipment.created") for _ in range(2)]
    untouched = await read(webhooks, other)
    expected = await read(webhooks, subscription_id)
    if "events" in given:
        expected.ClearField("events")
    expected.MergeFrom(webhooks_pb2.Subscription(**given))

    changed = await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, **given))

    assert changed == expected == await read(webhooks, subscription_id)
    assert await read(webhooks, other) == untouched


async def test_the_empty_description_takes_it_away(webhooks: Stub, house: House) -> None:
    subscription_id = await house.subscribe(URL)
    await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, description="Wärehouse 7"))

    changed = await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, description=""))

    assert not changed.HasField("description")
    assert not (await read(webhooks, subscription_id)).HasField("description")


async def test_every_fault_of_a_change_is_told_at_once_and_nothing_changes(webhooks: Stub, house: House) -> None:
    subscription_id = await house.subscribe(URL)
    before = await read(webhooks, subscription_id)
    change = a_change(
        subscription_id,
        url="http://169.254.169.254/latest/",
        events=["shipment.created", "shipment.lost", "allocation.changed"],
        status=webhooks_pb2.SUBSCRIPTION_STATUS_UNSPECIFIED,
        description="two\nlines",
    )

    with pytest.raises(Fault) as refused:
        await rpc.call(webhooks.UpdateSubscription, change)

    assert refused.value.code == "validation_failed"
    assert [(f.pointer, f.code) for f in refused.value.fields] == [
        ("/url", "address_refused"),
        ("/events/1", "unknown_event_type"),
        ("/events/2", "unknown_event_type"),
        ("/status", "unknown_value"),
        ("/description", "invalid_text"),
    ]
    assert await read(webhooks, subscription_id) == before


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"url": ""}, ("/url", "bad_url")),
        ({"events": ["*"] * 100}, ("/events", "wrong_length")),
        ({"description": "x" * 257}, ("/description", "invalid_text")),
    ],
)
async def test_a_fault_of_a_change_points_at_its_field(
    webhooks: Stub, house: House, given: dict[str, object], fault: tuple[str, str]
) -> None:
    subscription_id = await house.subscribe(URL)

    with pytest.raises(Fault) as refused:
        await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, **given))

    assert [(f.pointer, f.code) for f in refused.value.fields] == [fault]


@pytest.mark.parametrize("tenant_id", ["acc_1:test", "acc_1:live", "acc_2:test"])
async def test_only_the_own_webhook_can_be_changed(webhooks: Stub, house: House, tenant_id: str) -> None:
    mine = await house.subscribe(URL)
    wanted = mine if tenant_id != "acc_1:test" else "whk_unknown"

    with pytest.raises(Fault) as refused:
        await rpc.call(webhooks.UpdateSubscription, a_change(wanted, tenant_id, status=DISABLED))

    assert (refused.value.code, refused.value.detail) == ("not_found", "There is no such webhook.")
    assert await house.rows(STATUSES) == [("active", 1)]


async def test_a_delivery_that_waits_goes_to_the_new_address(webhooks: Stub, house: House) -> None:
    async with receiving() as old, receiving() as new:
        old.answer = answering(500)
        subscription_id = await house.subscribe(old.url)
        await house.announce(an_event())
        await house.send_due()
        await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, url=new.url))
        house.clock.advance(DELAYS[1])
        await house.send_due()

    assert (len(old.requests), len(new.requests)) == (1, 1)
    assert await house.rows(DELIVERIES) == [("delivered", 2)]


async def test_what_happens_from_now_on_is_matched_with_the_new_events(webhooks: Stub, house: House) -> None:
    subscription_id = await house.subscribe(URL, "inventory.*")
    await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, events=["shipment.created"]))

    await house.announce(an_event("inventory.updated"))
    wanted = await house.announce(an_event("shipment.created", shipment=a_shipment()))

    assert await house.rows("SELECT event_id FROM delivery") == [(wanted.id,)]


async def test_what_comes_due_while_a_webhook_is_disabled_ends_as_failed_and_what_comes_later_is_sent(
    webhooks: Stub, house: House
) -> None:
    async with receiving() as receiver:
        subscription_id = await house.subscribe(receiver.url)
        await house.announce(an_event())
        await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, status=DISABLED))
        await house.send_due()
        await house.announce(an_event())  # nobody asks for it
        await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, status=ACTIVE))
        house.clock.advance(DELAYS[1])
        later = await house.announce(an_event())
        await house.send_due()

    assert [request.headers["webhook-id"] for request in receiver.requests] == [later.id]
    assert await house.rows(DELIVERIES) == [("failed", 0), ("delivered", 1)]


async def test_a_webhook_that_a_410_disabled_can_be_made_active_again(webhooks: Stub, house: House) -> None:
    async with receiving() as receiver:
        receiver.answer = answering(410)
        subscription_id = await house.subscribe(receiver.url)
        await house.announce(an_event())
        await house.send_due()
        assert (await read(webhooks, subscription_id)).status == DISABLED
        receiver.answer = None

        changed = await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, status=ACTIVE))
        await house.announce(an_event())
        await house.send_due()

    assert changed.status == ACTIVE
    assert len(receiver.requests) == 2


async def test_a_410_of_the_address_before_does_not_disable(webhooks: Stub, house: House) -> None:
    gate = Gate(410)
    async with receiving() as receiver:
        receiver.answer = gate.answer
        subscription_id = await house.subscribe(receiver.url)
        await house.announce(an_event())
        sender = house.make_sender()
        await sender.send_due()
        await receiver.wait_for(1)
        await rpc.call(webhooks.UpdateSubscription, a_change(subscription_id, url="https://new.app/"))
        gate.opened.set()
        await sender.finish()

    assert (await read(webhooks, subscription_id)).status == ACTIVE
    assert await house.rows(DELIVERIES) == [("failed", 1)]


async def test_no_more_webhooks_are_made_active_again_than_may_be_active(
    webhooks: Stub, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "ACTIVE_PER_TENANT_MAX", 1)
    first = await house.subscribe(URL)
    await rpc.call(webhooks.UpdateSubscription, a_change(first, status=DISABLED))
    second = await house.subscribe(URL)

    with pytest.raises(Fault) as refused:
        await rpc.call(webhooks.UpdateSubscription, a_change(first, url="https://new.app/", status=ACTIVE))

    assert refused.value.fields == (FieldFault("/status", "too_many", "At most 1 webhooks can be active."),)
    assert (await read(webhooks, first)).url == URL
    assert (await rpc.call(webhooks.UpdateSubscription, a_change(second, status=ACTIVE))).status == ACTIVE


async def test_the_bound_holds_for_those_who_subscribe_and_those_who_return_at_the_same_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "ACTIVE_PER_TENANT_MAX", 3)
    await house.make_many(4, status="disabled")
    barrier = asyncio.Barrier(8)

    async def subscribe(tx: AsyncConnection) -> str:
        await barrier.wait()
        return await house.subscribe_in(tx, URL)

    def reactivate(subscription_id: str) -> object:
        async def update(tx: AsyncConnection) -> str:
            await barrier.wait()
            change = a_change(subscription_id, status=ACTIVE)
            return (await operations.update_subscription(tx, change, guard=LOOPBACK)).id

        return house.database.run(update)

    ids = [str(row[0]) for row in await house.rows("SELECT id FROM subscription")]
    coming = [house.database.run(subscribe) for _ in range(4)]
    results = await asyncio.gather(*coming, *map(reactivate, ids), return_exceptions=True)

    assert sum(isinstance(result, Fault) and result.code == "validation_failed" for result in results) == 5
    assert dict(await house.rows(STATUSES))["active"] == 3


async def test_changes_of_different_fields_at_the_same_time_all_hold(webhooks: Stub, house: House) -> None:
    subscription_id = await house.subscribe(URL)
    barrier = asyncio.Barrier(4)
    given = ({"url": "https://new.app/"}, {"events": ["order.*"]}, {"status": DISABLED}, {"description": "new"})

    def changing(fields: dict[str, object]) -> object:
        async def update(tx: AsyncConnection) -> None:
            await barrier.wait()
            await operations.update_subscription(tx, a_change(subscription_id, **fields), guard=LOOPBACK)

        return house.database.run(update)

    await asyncio.gather(*map(changing, given))

    now = await read(webhooks, subscription_id)
    assert (now.url, list(now.events), now.status, now.description) == (
        "https://new.app/",
        ["order.*"],
        DISABLED,
        "new",
    )


async def test_a_change_does_not_hold_up_the_fan_out(house: House) -> None:
    subscription_id = await house.subscribe(URL)
    async with house.database.transaction() as tx:
        await operations.update_subscription(tx, a_change(subscription_id, description="slow"), guard=LOOPBACK)
        async with asyncio.timeout(5):
            await house.announce(an_event())

    assert await house.rows("SELECT count(*) FROM delivery") == [(1,)]
