"""What is due is sent, signed, once at a time, by the schedule, and recorded."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import standardwebhooks
import svix.webhooks
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.ids import new_id
from services.webhooks import delivery, operations, store
from services.webhooks.delivery import LEASE
from services.webhooks.domain import ABANDONED, DELAYS
from services.webhooks.egress import Egress
from services.webhooks.secrets import Vault
from services.webhooks.signing import make_secret
from services.webhooks.store import Delivery, StoredEvent
from tests.webhooks.building import an_event
from tests.webhooks.house import LOOPBACK, House
from tests.webhooks.receiving import Gate, answering, receiving

DELIVERIES = "SELECT status, attempts_made, claim FROM delivery ORDER BY created_at, id"
ATTEMPTS = "SELECT number, status_code, error FROM attempt ORDER BY delivery_id, number"


@pytest.mark.parametrize("secret", ["whsec_REPLACE", make_secret(bytes(32)), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
async def test_a_delivery_verifies_with_both_libraries(house: House, secret: str) -> None:
    async with receiving() as receiver:
        await house.subscribe(receiver.url, secret=secret)
        event = await house.announce(an_event())
        await house.send_due()

    (received,) = receiver.requests
    assert standardwebhooks.Webhook(secret).verify(received.body, received.headers) == json.loads(received.body)
    svix.webhooks.Webhook(secret).verify(received.body, received.headers)
    assert received.headers["webhook-id"] == event.id == json.loads(received.body)["id"]
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"] == "Skutrail-Webhooks/1"
    assert [(received.body,)] == await house.rows("SELECT body FROM event")
    assert await house.rows(DELIVERIES) == [("delivered", 1, None)]
    assert await house.rows(ATTEMPTS) == [(1, 204, None)]


@pytest.mark.parametrize("jitter", [0.0, 0.999])
async def test_a_refused_delivery_is_tried_ten_times_by_the_schedule_and_then_fails(
    house: House, jitter: float
) -> None:
    async with receiving() as receiver:
        receiver.answer = answering(500)
        await house.subscribe(receiver.url)
        await house.announce(an_event())
        for step in DELAYS:
            wait = step * (1 + 0.2 * jitter)
            if wait:
                house.clock.advance(wait - timedelta(milliseconds=1))
                assert await house.send_due(jitter) == 0
                house.clock.advance(timedelta(milliseconds=2))
            assert await house.send_due(jitter) == 1
        house.clock.advance(timedelta(days=30))
        assert await house.send_due(jitter) == 0

    assert len(receiver.requests) == 10
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in receiver.requests}) == 10
    assert await house.rows(DELIVERIES) == [("failed", 10, None)]
    assert await house.rows(ATTEMPTS) == [(number, 500, None) for number in range(1, 11)]


async def test_a_delivery_that_succeeds_late_ends_there(house: House) -> None:
    async with receiving() as receiver:
        receiver.answer = answering(503)
        await house.subscribe(receiver.url)
        await house.announce(an_event())
        await house.send_due()
        receiver.answer = None
        house.clock.advance(DELAYS[1])
        await house.send_due()
        house.clock.advance(timedelta(days=30))
        await house.send_due()

    assert len(receiver.requests) == 2
    assert await house.rows(DELIVERIES) == [("delivered", 2, None)]


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503, 500])
async def test_retry_after_is_waited_for(house: House, status: int, form: str) -> None:
    house.clock.now = datetime.now(UTC).replace(microsecond=0)
    until = house.clock.now + timedelta(hours=1)
    async with receiving() as receiver:
        asked = "3600" if form == "seconds" else format_datetime(until, usegmt=True)
        receiver.answer = answering(status, {"retry-after": asked})
        await house.subscribe(receiver.url)
        await house.announce(an_event())
        await house.send_due()

    assert await house.rows("SELECT due_at FROM delivery") == [(until,)]


async def test_410_disables_the_subscription_and_what_waited_for_it_ends_without_an_attempt(house: House) -> None:
    async with receiving() as receiver:
        receiver.answer = answering(410)
        gone = await house.subscribe(receiver.url)
        await house.announce(an_event())
        await house.send_due()
        # Written by a fan-out that saw the subscription while it was active.
        await house.database.run(lambda tx: _write_delivery(tx, house, gone))
        await house.send_due()
        await house.announce(an_event())

    assert len(receiver.requests) == 1
    assert await house.rows("SELECT status FROM subscription") == [("disabled",)]
    assert await house.rows(DELIVERIES) == [("failed", 1, None), ("failed", 0, None)]
    assert ABANDONED.next_attempt_at is None


async def _write_delivery(tx: AsyncConnection, house: House, subscription_id: str) -> None:
    event = StoredEvent("acc_1:test", new_id("evt"), "order.updated", b"{}", house.clock())
    await tx.execute(*store.adding_events([event]))
    delivery = Delivery(event.tenant_id, new_id("whd"), subscription_id, event.id)
    await tx.execute(*store.adding_deliveries([delivery], now=house.clock()))


async def test_a_redirect_is_a_failed_attempt(house: House) -> None:
    async with receiving() as target, receiving() as receiver:
        receiver.answer = answering(307, {"location": target.url})
        await house.subscribe(receiver.url)
        await house.announce(an_event())
        await house.send_due()

    assert target.requests == []
    assert await house.rows(ATTEMPTS) == [(1, 307, None)]
    assert await house.rows(DELIVERIES) == [("pending", 1, None)]


async def test_an_address_that_is_refused_at_the_dial_is_a_failed_attempt(house: House) -> None:
    async with receiving() as receiver, Egress(type(LOOPBACK)()) as strict:
        await house.subscribe(receiver.url)
        await house.announce(an_event())
        sender = house.make_sender(egress=strict)
        await sender.send_due()
        await sender.finish()

    assert receiver.requests == []
    assert await house.rows(ATTEMPTS) == [(1, None, "address_refused")]


async def test_a_secret_that_does_not_open_fails_its_own_delivery_and_no_other(house: House) -> None:
    async with receiving() as receiver:
        await house.subscribe(receiver.url)
        house.vault = Vault(bytes(32))
        await house.subscribe(receiver.url)
        await house.announce(an_event())
        await house.send_due()

    assert len(receiver.requests) == 1
    assert sorted(await house.rows(ATTEMPTS), key=str) == [(1, 204, None), (1, None, "internal_error")]


async def test_a_worker_that_dies_between_send_and_record_is_followed_by_another_with_the_same_id(house: House) -> None:
    gate = Gate()
    async with receiving() as receiver:
        receiver.answer = gate.answer
        await house.subscribe(receiver.url)
        await house.announce(an_event())
        dying = asyncio.create_task(house.make_sender().run())
        await receiver.wait_for(1)
        dying.cancel()
        await asyncio.wait([dying])
        gate.opened.set()

        house.clock.advance(LEASE - timedelta(seconds=1))
        assert await house.send_due() == 0
        house.clock.advance(timedelta(seconds=2))
        assert await house.send_due() == 1

    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert await house.rows(DELIVERIES) == [("delivered", 1, None)]


async def test_a_worker_that_lost_its_lease_changes_nothing(house: House) -> None:
    gate = Gate()
    async with receiving() as receiver:
        receiver.answer = gate.answer
        await house.subscribe(receiver.url)
        await house.announce(an_event())
        slow = house.make_sender()
        await slow.send_due()
        await receiver.wait_for(1)

        receiver.answer = answering(500)
        house.clock.advance(LEASE + timedelta(seconds=1))
        assert await house.send_due() == 1
        gate.opened.set()
        await slow.finish()

    assert await house.rows(DELIVERIES) == [("pending", 1, None)]
    assert await house.rows(ATTEMPTS) == [(1, 500, None)]


async def test_a_claim_that_is_not_held_settles_nothing(house: House) -> None:
    await house.subscribe("http://127.0.0.1:9999/")
    await house.announce(an_event())
    (held,) = await house.claim(1)
    lost = replace(held, claim="clm_lost")

    assert not await house.database.run(lambda tx: operations.settle(tx, lost, ABANDONED, None, now=house.clock()))

    assert await house.rows(DELIVERIES) == [("pending", 0, held.claim)]


async def test_two_workers_never_send_the_same_delivery(house: House) -> None:
    async with receiving() as receiver:
        for number in range(10):
            await house.subscribe(f"{receiver.url}/{number}")
        for _ in range(10):
            await house.announce(an_event())
        await asyncio.gather(*(_send_all(house) for _ in range(4)))

    sent = [(request.path, request.headers["webhook-id"]) for request in receiver.requests]
    assert len(sent) == len(set(sent)) == 100
    assert await house.rows("SELECT status, attempts_made, count(*) FROM delivery GROUP BY 1, 2") == [
        ("delivered", 1, 100)
    ]
    assert await house.rows("SELECT count(*) FROM attempt") == [(100,)]


async def _send_all(house: House) -> None:
    sender = house.make_sender()
    pending = "SELECT count(*) FROM delivery WHERE status = 'pending'"
    while await house.rows(pending) != [(0,)]:
        await sender.send_due()
        await sender.finish()


async def test_the_sender_wakes_when_deliveries_are_written(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "POLL_S", 3_600.0)
    async with receiving() as receiver:
        await house.subscribe(receiver.url)
        sender = house.make_sender()
        running = asyncio.create_task(sender.run())
        for count in range(1, 4):
            await house.announce(an_event(), sender)
            await receiver.wait_for(count)
        sender.stop()
        await running

    assert await house.rows("SELECT status, count(*) FROM delivery GROUP BY 1") == [("delivered", 3)]


async def test_a_sender_finds_what_nobody_woke_it_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "POLL_S", 0.1)
    async with receiving() as receiver:
        await house.subscribe(receiver.url)
        sender = house.make_sender()
        running = asyncio.create_task(sender.run())
        await house.announce(an_event())
        await receiver.wait_for(1)
        sender.stop()
        await running


async def test_a_stopped_sender_finishes_what_is_under_way_and_takes_nothing_new(house: House) -> None:
    gate = Gate()
    async with receiving() as receiver:
        receiver.answer = gate.answer
        await house.subscribe(receiver.url)
        await house.announce(an_event())
        sender = house.make_sender()
        running = asyncio.create_task(sender.run())
        await receiver.wait_for(1)
        sender.stop()
        await house.announce(an_event(), sender)
        gate.opened.set()
        await running

    assert len(receiver.requests) == 1
    assert sorted(await house.rows("SELECT status, claim FROM delivery")) == [("delivered", None), ("pending", None)]
