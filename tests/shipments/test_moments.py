"""When things are known: an answer is as old as its question, and a lease begins when its shipment is locked."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from chassis.consumer import RetryLater
from services.shipments import labeling
from services.shipments.domain import LabelStatus, Shipment
from services.shipments.labeling import LabelTask
from tests.shipments.carriers import Dawdler, fails, sells_and_loses_the_answer
from tests.shipments.conftest import LEASE, Shipments, eventually
from tests.shipments.test_voids import LOST

A_WAIT = timedelta(seconds=1)


def asked_before_it_shows(shipments: Shipments) -> Dawdler:
    """A carrier that sells, loses the answer, and does not show the sale until its answer about it is on its way."""
    carrier = Dawdler(sells_and_loses_the_answer)
    carrier.settles_after = timedelta(minutes=2)
    carrier.finds_nothing = True

    async def it_shows() -> None:
        shipments.clock.passes(carrier.answers_within + carrier.settles_after)
        carrier.finds_nothing = False

    carrier.meanwhile = it_shows
    return carrier


async def test_a_search_believes_no_answer_from_before_the_label_had_to_show(shipments: Shipments) -> None:
    shipments.carrier = asked_before_it_shows(shipments)
    shipment = await shipments.allocated()
    with pytest.raises(RetryLater):
        await shipments.buy(shipment)
    await shipments.end(shipment)

    with pytest.raises(RetryLater):
        await shipments.void(shipment)
    await shipments.void(shipment)

    assert (await shipments.read(shipment)).parcel(1).label_status is LabelStatus.VOIDED
    assert shipments.carrier.voided == {f"T-{shipment.id}-1-1": 1}


async def test_a_purchase_believes_no_answer_from_before_the_label_had_to_show(shipments: Shipments) -> None:
    shipments.carrier = asked_before_it_shows(shipments)
    shipment = await shipments.allocated()
    for _ in range(2):
        with pytest.raises(RetryLater):
            await shipments.buy(shipment)
    await shipments.buy(shipment)

    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def behind_a_lock(
    shipments: Shipments, shipment: Shipment, work: Callable[[], Awaitable[LabelTask]]
) -> LabelTask:
    """Lets it wait for the shipment until a time has passed."""

    async def waiting() -> int:
        async with shipments.database.transaction() as tx:
            return int((await tx.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))).scalar_one())

    async with shipments.database.transaction() as tx:
        await tx.execute(
            text("SELECT FROM shipment WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE"),
            {"tenant_id": shipment.tenant_id, "id": shipment.id},
        )
        working = asyncio.ensure_future(work())
        await eventually(waiting, bool)
        shipments.clock.passes(A_WAIT)
    return await working


async def test_the_time_of_a_purchase_begins_when_its_shipment_is_locked(shipments: Shipments) -> None:
    shipment = await shipments.allocated()

    task = await behind_a_lock(shipments, shipment, lambda: shipments.begin(shipment))

    attempt = task.parcel.attempt
    assert attempt is not None
    assert (attempt.sent_at, attempt.leased_until) == (shipments.clock(), shipments.clock() + LEASE)


async def test_the_time_of_a_void_begins_when_its_shipment_is_locked(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    await shipments.buy(shipment)
    await shipments.end(shipment)

    task = await behind_a_lock(shipments, shipment, lambda: shipments.begin_void(shipment))

    attempt = task.parcel.attempt
    assert attempt is not None
    assert attempt.leased_until == shipments.clock() + LEASE


async def test_what_is_sent_again_is_sent_when_its_shipment_is_locked(shipments: Shipments) -> None:
    shipments.carrier.script = [fails(LOST)]
    shipment = await shipments.allocated()
    with pytest.raises(RetryLater):
        await shipments.buy(shipment)
    begun = await shipments.begin(shipment)

    async def send_again() -> LabelTask:
        await shipments.pipelined(lambda p: labeling.send_again(p, begun, shipments.clock))
        return begun

    await behind_a_lock(shipments, shipment, send_again)

    attempt = (await shipments.read(shipment)).parcel(1).attempt
    assert attempt is not None
    assert attempt.sent_at == shipments.clock()
