"""What there is: a tenant's webhooks, page by page, and the catalogue of events."""

import psycopg
import pytest

from chassis import rpc
from services.webhooks.domain import EVENT_TYPES
from skutrail.v1 import webhooks_pb2, webhooks_pb2_grpc
from tests.webhooks.house import House

URL = "https://your.app/webhooks/skutrail"
Stub = webhooks_pb2_grpc.WebhooksStub


async def a_page(
    webhooks: Stub, limit: int = 20, after_id: str | None = None, tenant_id: str = "acc_1:test"
) -> webhooks_pb2.ListSubscriptionsReply:
    wanted = webhooks_pb2.ListSubscriptionsRequest(tenant_id=tenant_id, limit=limit, after_id=after_id)
    return await rpc.call(webhooks.ListSubscriptions, wanted)


async def subscribe(house: House, count: int, **fields: str) -> list[str]:
    """Their ids, the newest first."""
    return sorted([await house.subscribe(URL, **fields) for _ in range(count)], reverse=True)


async def delete(webhooks: Stub, subscription_id: str) -> None:
    wanted = webhooks_pb2.DeleteSubscriptionRequest(tenant_id="acc_1:test", id=subscription_id)
    await rpc.call(webhooks.DeleteSubscription, wanted)


def ids(reply: webhooks_pb2.ListSubscriptionsReply) -> list[str]:
    return [subscription.id for subscription in reply.subscriptions]


async def test_webhooks_are_listed_as_they_are_read_the_newest_first(webhooks: Stub, house: House) -> None:
    newest_first = await subscribe(house, 3)

    reply = await a_page(webhooks)

    assert (ids(reply), reply.has_more) == (newest_first, False)
    for subscription in reply.subscriptions:
        wanted = webhooks_pb2.GetSubscriptionRequest(tenant_id="acc_1:test", id=subscription.id)
        assert await rpc.call(webhooks.GetSubscription, wanted) == subscription


async def test_a_walk_over_the_pages_misses_and_repeats_nothing_while_others_subscribe(
    webhooks: Stub, house: House
) -> None:
    newest_first = await subscribe(house, 5)

    walked, after_id, more = [], None, []
    while not more or more[-1]:
        reply = await a_page(webhooks, 2, after_id)
        walked += ids(reply)
        after_id = walked[-1]
        more.append(reply.has_more)
        await subscribe(house, 1)

    assert walked == newest_first
    assert more == [True, True, False]


async def test_a_page_that_is_exactly_full_has_no_more(webhooks: Stub, house: House) -> None:
    newest_first = await subscribe(house, 2)

    reply = await a_page(webhooks, 2)

    assert (ids(reply), reply.has_more) == (newest_first, False)


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (1, 1), (100, 100), (101, 100)])
async def test_a_page_has_1_to_100_webhooks(webhooks: Stub, house: House, asked: int, given: int) -> None:
    await house.make_many(101)

    reply = await a_page(webhooks, asked)

    assert (len(reply.subscriptions), reply.has_more) == (given, True)


async def test_nobody_lists_what_is_another_tenants(webhooks: Stub, house: House) -> None:
    mine = await subscribe(house, 1)
    await subscribe(house, 2, tenant_id="acc_1:live")
    await subscribe(house, 2, tenant_id="acc_2:test")

    assert ids(await a_page(webhooks)) == mine
    assert ids(await a_page(webhooks, tenant_id="acc_3:test")) == []


async def test_a_deleted_webhook_is_not_listed_and_the_page_behind_it_is(webhooks: Stub, house: House) -> None:
    newest, middle, oldest = await subscribe(house, 3)
    await delete(webhooks, middle)

    assert ids(await a_page(webhooks)) == [newest, oldest]
    assert ids(await a_page(webhooks, after_id=middle)) == [oldest]


async def test_many_deleted_webhooks_do_not_lengthen_a_page(
    webhooks: Stub, house: House, owner: psycopg.AsyncConnection
) -> None:
    await house.make_many(2_000, deleted_at=house.clock())
    await owner.execute("VACUUM ANALYZE subscription")  # as autovacuum does within the minute

    plan = await house.rows("""
        EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM subscription
        WHERE tenant_id = 'acc_1:test' AND deleted_at IS NULL ORDER BY id DESC LIMIT 21
    """)
    assert "subscription_listed" in str(plan)
    assert "Rows Removed" not in str(plan)


async def test_the_catalogue_tells_every_type_that_may_be_named_in_one_sentence_each(
    webhooks: Stub, house: House
) -> None:
    reply = await rpc.call(webhooks.ListEventTypes, webhooks_pb2.ListEventTypesRequest())

    told = {event_type.type: event_type.description for event_type in reply.event_types}
    assert told == EVENT_TYPES
    assert "allocation.changed" not in told
    assert await house.subscribe(URL, *told)
    for description in told.values():
        assert description[0].isupper()
        assert description.endswith(".")
        assert description.count(".") == 1
