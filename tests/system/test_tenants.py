"""(account, mode) is a border that nothing crosses: neither a key, nor stock, nor an order, nor an event.

That ids and lists do not cross it either is held against every route in tests/gateway/test_every_route.py.
"""

from dataclasses import dataclass
from uuid import uuid4

import aiohttp
import pytest

from tests.builders import Tenant, open_tenant
from tests.running import RunningStack
from tests.system.subscriber import SECRET, subscriber


@dataclass(frozen=True)
class Four:
    """Two accounts in both modes."""

    owner: Tenant
    """In test mode."""
    strangers: tuple[Tenant, Tenant, Tenant]
    """The owner's own account in live mode, and another account in both."""


@pytest.fixture
async def four(stack: RunningStack, session: aiohttp.ClientSession) -> Four:
    one, other = f"acct-{uuid4().hex[:12]}", f"acct-{uuid4().hex[:12]}"
    owner = await open_tenant(stack, session, account=one)
    strangers = (
        await open_tenant(stack, session, account=one, mode="live"),
        await open_tenant(stack, session, account=other),
        await open_tenant(stack, session, account=other, mode="live"),
    )
    return Four(owner, strangers)


async def test_stock_is_seen_taken_and_held_by_its_tenant_alone(four: Four) -> None:
    await four.owner.receive(5)

    for stranger in four.strangers:
        assert await stranger.balance() == 0
        refused = await stranger.record(1, reason="pick")
        assert (refused.status, refused.json["available"]) == (409, 0)
        await stranger.shipment_that_is(await stranger.ship(1), "backordered")

    await four.owner.shipment_that_is(await four.owner.ship(5), "label_ready")
    assert await four.owner.balance() == 5


async def test_an_idempotency_key_of_one_tenant_is_free_for_every_other(four: Four) -> None:
    key = str(uuid4())

    answers = [await tenant.record(qty, key=key) for qty, tenant in enumerate((four.owner, *four.strangers), start=1)]

    assert [(answer.status, answer.json["balance"]) for answer in answers] == [(200, 1), (200, 2), (200, 3), (200, 4)]
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None] * 4


async def test_one_order_id_names_a_different_order_for_every_tenant(four: Four) -> None:
    tenants = (four.owner, *four.strangers)
    shipments = [await tenant.ship(1, order_id="ord_same") for tenant in tenants]
    for tenant, shipment_id in zip(tenants, shipments, strict=True):
        await tenant.receive(1)
        await tenant.shipment_that_is(shipment_id, "label_ready")

    orders = [(await tenant.api.get("/v1/orders/ord_same")).json for tenant in tenants]

    assert [[row["shipment_id"] for row in order["allocations"]] for order in orders] == [[i] for i in shipments]


async def test_events_reach_the_subscriptions_of_their_tenant_alone(four: Four) -> None:
    async with subscriber(SECRET) as receiver:
        for stranger in four.strangers:
            await stranger.subscribe(receiver.url, "*", secret=SECRET)

        await four.owner.receive(99)
        for stranger in four.strangers:
            await stranger.receive(1)
        events = await receiver.events_until(lambda events: len(events) >= 3)

        assert [event["data"]["qty"] for event in events] == [1, 1, 1]
