"""A label is bought at most once per parcel, whatever crashes, repeats or answers late."""

import asyncio
from datetime import timedelta

import pytest

from chassis.consumer import RetryLater
from services.shipments.carriers.port import CarrierRefused, Label, OutcomeUnknown, Purchase
from services.shipments.domain import LabelStatus, Status, StockStatus
from tests.shipments.carriers import ScriptedCarrier, fails, sells_and_loses_the_answer
from tests.shipments.conftest import LEASE, Shipments

LOST = OutcomeUnknown("reset")


async def test_every_parcel_gets_its_label_and_then_the_shipment_is_ready(shipments: Shipments) -> None:
    shipment = await shipments.allocated("SEA-1", "PDX-1")

    await shipments.buy(shipment)

    ready = await shipments.read(shipment)
    assert ready.status is Status.LABEL_READY
    assert [parcel.tracking_number for parcel in ready.parcels] == [f"T-{shipment.id}-1-1", f"T-{shipment.id}-2-1"]
    assert (ready.carrier, ready.service) == ("scripted", "scripted_ups_ground")
    assert [(p.ship_from, [(line.sku, line.qty) for line in p.lines]) for p in shipments.carrier.asked] == [
        ("SEA-1", [("SKU-1", 1)]),
        ("PDX-1", [("SKU-1", 1)]),
    ]
    *_, event = await shipments.events(shipment)
    assert event.type == "shipment.label_ready"
    assert event.shipment.label_url.startswith(f"https://api.example.com/v1/shipments/{shipment.id}/label?token=")


async def test_the_attempt_is_stored_before_the_carrier_hears_of_it(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    shipments.carrier.gate = asyncio.Event()

    buying = asyncio.create_task(shipments.buy(shipment))
    await shipments.carrier.was_asked.wait()
    stored = (await shipments.read(shipment)).parcel(1)
    shipments.carrier.gate.set()
    await buying

    assert stored.label_status is LabelStatus.PURCHASING
    assert stored.attempt is not None
    assert stored.attempt.key == shipments.carrier.asked[0].attempt_key


async def test_a_step_taken_again_buys_nothing_and_says_nothing(shipments: Shipments) -> None:
    shipment = await shipments.allocated("SEA-1", "PDX-1")
    await shipments.buy(shipment)
    before, said = await shipments.read(shipment), await shipments.event_types(shipment)

    await shipments.buy(shipment)

    assert await shipments.read(shipment) == before
    assert await shipments.event_types(shipment) == said
    assert set(shipments.carrier.sold.values()) == {1}


async def test_a_crash_before_the_call_buys_once_and_under_the_same_key(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    task = await shipments.begin(shipment)

    shipments.clock.passes(LEASE)
    await shipments.buy(shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}
    assert task.parcel.attempt is not None
    assert shipments.carrier.asked[0].attempt_key == task.parcel.attempt.key


async def test_a_crash_after_the_call_finds_the_label_that_was_bought(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    task = await shipments.begin(shipment)
    lost = shipments.carrier.sell(shipments.steps.labels.purchase_of(task))

    shipments.clock.passes(LEASE)
    await shipments.buy(shipment)

    ready = await shipments.read(shipment)
    assert ready.parcels[0].tracking_number == lost.tracking_number
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_an_answer_that_was_lost_is_asked_for_and_not_bought_again(shipments: Shipments) -> None:
    shipments.carrier.script = [sells_and_loses_the_answer]
    shipment = await shipments.allocated()

    with pytest.raises(RetryLater):
        await shipments.buy(shipment)
    assert (await shipments.read(shipment)).parcels[0].label_status is LabelStatus.UNKNOWN
    await shipments.buy(shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_a_carrier_that_is_slow_to_tell_is_given_its_time_before_buying_again(shipments: Shipments) -> None:
    shipments.carrier.settles_after = timedelta(minutes=2)
    shipments.carrier.script = [sells_and_loses_the_answer]
    shipments.carrier.finds_nothing = True
    shipment = await shipments.allocated()
    for _ in range(3):
        with pytest.raises(RetryLater):
            await shipments.buy(shipment)
        shipments.clock.passes(timedelta(seconds=30))

    shipments.carrier.finds_nothing = False
    await shipments.buy(shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_what_was_never_sold_is_bought_when_the_carriers_time_is_over(shipments: Shipments) -> None:
    shipments.carrier.settles_after = timedelta(minutes=2)
    shipments.carrier.script = [fails(LOST)]
    shipment = await shipments.allocated()
    for wait in (timedelta(seconds=30), timedelta(minutes=2)):
        with pytest.raises(RetryLater):
            await shipments.buy(shipment)
        shipments.clock.passes(wait)

    await shipments.buy(shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_looking_a_label_up_does_not_put_off_the_buying_for_ever(shipments: Shipments) -> None:
    shipments.carrier.settles_after = timedelta(seconds=60)
    shipments.carrier.script = [fails(LOST)]
    shipment = await shipments.allocated()

    await shipments.keep_buying(shipment, shipments.carrier, timedelta(seconds=90))

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_a_purchase_that_arrived_at_the_last_moment_is_given_its_time_to_show(shipments: Shipments) -> None:
    carrier = shipments.carrier
    carrier.answers_within = carrier.settles_after = timedelta(seconds=5)
    carrier.finds_nothing = True

    def sells_late_and_loses_the_answer(_: ScriptedCarrier, purchase: Purchase) -> Label:
        shipments.clock.passes(timedelta(seconds=4.9))
        carrier.sell(purchase)
        raise LOST

    carrier.script = [sells_late_and_loses_the_answer]
    shipment = await shipments.allocated()
    for _ in range(2):
        with pytest.raises(RetryLater):
            await shipments.buy(shipment)
        shipments.clock.passes(timedelta(seconds=1))
    shipments.clock.passes(timedelta(seconds=4))
    carrier.finds_nothing = False
    await shipments.buy(shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert carrier.sold == {f"{shipment.id}-1": 1}


async def test_a_carrier_that_cannot_be_asked_leaves_the_outcome_unknown(shipments: Shipments) -> None:
    shipments.carrier.script = [sells_and_loses_the_answer]
    shipment = await shipments.allocated()
    with pytest.raises(RetryLater):
        await shipments.buy(shipment)

    shipments.carrier.is_unreachable = True
    with pytest.raises(RetryLater):
        await shipments.buy(shipment)

    assert (await shipments.read(shipment)).parcels[0].label_status is LabelStatus.UNKNOWN
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_a_carrier_that_does_not_answer_in_time_may_have_sold(shipments: Shipments) -> None:
    shipments.carrier.gate = asyncio.Event()
    shipments.carrier.answers_within = timedelta(milliseconds=20)
    shipment = await shipments.allocated()

    with pytest.raises(RetryLater, match="carrier_outcome_unknown"):
        await shipments.buy(shipment)

    assert (await shipments.read(shipment)).parcels[0].label_status is LabelStatus.UNKNOWN


async def test_a_refusal_fails_the_shipment_in_the_carriers_words(shipments: Shipments) -> None:
    shipments.carrier.script = [fails(CarrierRefused("address_rejected", "No such street."))]
    shipment = await shipments.allocated()

    await shipments.buy(shipment)

    *_, event = await shipments.events(shipment)
    assert event.type == "shipment.failed"
    assert (event.shipment.error.code, event.shipment.error.message) == ("address_rejected", "No such street.")
    assert list(event.shipment.allocations) == []


async def test_stock_that_returns_before_the_label_is_given_back_finds_it(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    task = await shipments.begin(shipment)
    await shipments.hear_of_stock(shipment, StockStatus.WAITING, 2)

    label = shipments.carrier.sell(shipments.steps.labels.purchase_of(task))
    await shipments.settle(task, label)
    assert (await shipments.read(shipment)).status is Status.BACKORDERED
    await shipments.hear_of_stock(shipment, StockStatus.HELD, 3, "SEA-1")
    await shipments.buy(shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}
