"""A label that serves nobody is given back: whatever crashes, repeats or answers late, and nothing is bought anew."""

import asyncio
from datetime import timedelta

import pytest

from chassis.consumer import RetryLater
from sandbox.faults import Pace
from services.shipments.carriers.port import CarrierRefused, CarrierUnavailable, OutcomeUnknown
from services.shipments.domain import LabelStatus, Line, Shipment, Status, StockStatus
from services.shipments.sweeper import LABELS_TO_VOID, Sweeper
from tests.shipments.carriers import fails, sells_and_loses_the_answer
from tests.shipments.conftest import LEASE, Shipments, eventually, warm_up
from tests.shipments.selling import selling

USED = CarrierRefused("label_used", "It was scanned.")
DOWN = CarrierUnavailable("down")
LOST = OutcomeUnknown("reset")


async def canceled(shipments: Shipments) -> Shipment:
    """With a label to give back."""
    return await shipments.cancel(await shipments.ready())


async def labels(shipments: Shipments, shipment: Shipment) -> list[LabelStatus]:
    return [parcel.label_status for parcel in (await shipments.read(shipment)).opened_parcels]


async def test_a_canceled_shipment_gives_every_label_back(shipments: Shipments) -> None:
    shipment = await shipments.allocated("SEA-1", "PDX-1")
    await shipments.buy(shipment)
    await shipments.end(shipment)

    await shipments.void(shipment)

    assert await labels(shipments, shipment) == [LabelStatus.VOIDED] * 2
    assert shipments.carrier.voided == {f"T-{shipment.id}-1-1": 1, f"T-{shipment.id}-2-1": 1}
    *_, event = await shipments.events(shipment)
    assert event.type == "shipment.canceled"


async def test_the_events_of_an_end_or_a_loss_give_labels_back(shipments: Shipments) -> None:
    ended, short = await canceled(shipments), await shipments.allocated()
    await shipments.buy(short)
    await shipments.hear_of_stock(short, StockStatus.WAITING, 2)

    for shipment in (ended, short):
        await shipments.deliver((await shipments.events(shipment))[-1])

    assert await labels(shipments, ended) == await labels(shipments, short) == [LabelStatus.VOIDED]


async def test_the_attempt_is_stored_before_the_carrier_hears_of_it(shipments: Shipments) -> None:
    shipment = await canceled(shipments)
    shipments.carrier.void_gate = asyncio.Event()

    giving_back = asyncio.create_task(shipments.void(shipment))
    await shipments.carrier.was_asked_to_void.wait()
    stored = (await shipments.read(shipment)).parcel(1)
    shipments.carrier.void_gate.set()
    await giving_back

    assert stored.label_status is LabelStatus.VOIDING
    assert stored.attempt is not None
    assert await labels(shipments, shipment) == [LabelStatus.VOIDED]


async def test_a_step_taken_again_asks_for_nothing(shipments: Shipments) -> None:
    shipment = await canceled(shipments)
    await shipments.void(shipment)
    before = await shipments.read(shipment)

    await shipments.void(shipment)

    assert await shipments.read(shipment) == before
    assert len(shipments.carrier.asked_to_void) == 1


async def test_many_takers_at_once_ask_the_carrier_once(shipments: Shipments) -> None:
    shipment = await canceled(shipments)
    shipments.carrier.void_gate = asyncio.Event()
    await warm_up(shipments.database, connections=8)
    takers = [asyncio.create_task(shipments.void(shipment)) for _ in range(8)]

    async def settled() -> int:
        return len(shipments.carrier.asked_to_void) + sum(taker.done() for taker in takers)

    await eventually(settled, lambda count: count == len(takers))
    shipments.carrier.void_gate.set()
    outcomes = await asyncio.gather(*takers, return_exceptions=True)

    assert all(outcome is None or isinstance(outcome, RetryLater) for outcome in outcomes)
    assert len(shipments.carrier.asked_to_void) == 1
    assert await labels(shipments, shipment) == [LabelStatus.VOIDED]


@pytest.mark.parametrize("has_asked", [False, True], ids=["before the call", "after the call"])
async def test_a_crash_around_the_call_ends_as_given_back(shipments: Shipments, has_asked: bool) -> None:
    shipment = await canceled(shipments)
    task = await shipments.begin_void(shipment)
    if has_asked:
        shipments.carrier.voided[task.parcel.tracking_number or ""] = 1

    with pytest.raises(RetryLater):
        await shipments.void(shipment)
    shipments.clock.passes(LEASE)
    await shipments.void(shipment)

    assert await labels(shipments, shipment) == [LabelStatus.VOIDED]
    assert shipments.carrier.voided == {task.parcel.tracking_number: 1}


@pytest.mark.parametrize("trouble", [DOWN, LOST, ValueError("a defect of the adapter")], ids=repr)
async def test_trouble_is_tried_again_until_there_is_an_answer(shipments: Shipments, trouble: Exception) -> None:
    shipment = await canceled(shipments)
    shipments.carrier.void_script = [trouble] * 3
    for _ in range(3):
        with pytest.raises(RetryLater):
            await shipments.void(shipment)
        assert await labels(shipments, shipment) == [LabelStatus.VOIDING]
        shipments.clock.passes(timedelta(hours=1))

    await shipments.void(shipment)

    assert await labels(shipments, shipment) == [LabelStatus.VOIDED]
    assert set(shipments.carrier.voided.values()) == {1}


async def test_one_label_in_trouble_does_not_hold_up_the_next(shipments: Shipments) -> None:
    shipment = await shipments.allocated("SEA-1", "PDX-1")
    await shipments.buy(shipment)
    await shipments.end(shipment)
    shipments.carrier.void_script = [DOWN]
    with pytest.raises(RetryLater):
        await shipments.void(shipment)
    shipments.clock.passes(timedelta(seconds=1))

    await shipments.void(shipment)

    assert [sold.reference[-1] for sold in shipments.carrier.asked_to_void] == ["1", "2", "1"]


async def test_a_label_that_is_not_taken_back_stays_and_is_not_asked_for_again(shipments: Shipments) -> None:
    shipment = await canceled(shipments)
    shipments.carrier.void_script = [USED]

    await shipments.void(shipment)
    await shipments.void(shipment)

    parcel = (await shipments.read(shipment)).parcel(1)
    assert (parcel.label_status, parcel.void_refused_at) == (LabelStatus.READY, shipments.clock())
    assert len(shipments.carrier.asked_to_void) == 1


async def test_a_label_that_is_not_taken_back_never_serves_other_goods(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    await shipments.buy(shipment)
    await shipments.hear_of_stock(shipment, StockStatus.WAITING, 2)
    shipments.carrier.void_script = [USED]
    await shipments.void(shipment)

    await shipments.hear_of_stock(shipment, StockStatus.HELD, 3, "SEA-1")
    await shipments.buy(shipment)

    ready = await shipments.read(shipment)
    assert (ready.status, [parcel.number for parcel in ready.parcels]) == (Status.LABEL_READY, [2])
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1, f"{shipment.id}-2": 1}


@pytest.mark.parametrize("failure", [DOWN, LOST, USED], ids=lambda failure: failure.code)
async def test_a_late_takers_failure_does_nothing_to_whoever_is_at_it(
    shipments: Shipments, failure: CarrierUnavailable | OutcomeUnknown | CarrierRefused
) -> None:
    shipment = await canceled(shipments)
    late = await shipments.begin_void(shipment)
    shipments.clock.passes(LEASE)
    current = await shipments.begin_void(shipment)
    under_way = await shipments.read(shipment)

    assert not await shipments.settle_void(late, failure)
    assert await shipments.read(shipment) == under_way

    assert await shipments.settle_void(current, None)
    assert not await shipments.settle_void(late, failure)
    assert await labels(shipments, shipment) == [LabelStatus.VOIDED]


async def test_what_the_carrier_took_back_is_back_whoever_tells_it(shipments: Shipments) -> None:
    shipment = await canceled(shipments)
    late = await shipments.begin_void(shipment)
    shipments.clock.passes(LEASE)
    current = await shipments.begin_void(shipment)

    assert await shipments.settle_void(late, None)
    assert not await shipments.settle_void(current, USED)

    assert await labels(shipments, shipment) == [LabelStatus.VOIDED]


async def test_a_cancel_in_the_middle_of_a_purchase_gives_the_label_back_when_it_comes(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    shipments.carrier.gate = asyncio.Event()
    buying = asyncio.create_task(shipments.buy(shipment))
    await shipments.carrier.was_asked.wait()

    assert (await shipments.end(shipment)).status is Status.CANCELED
    with pytest.raises(RetryLater):
        await shipments.void(shipment)
    shipments.carrier.gate.set()
    await buying
    assert await labels(shipments, shipment) == [LabelStatus.READY]
    await shipments.void(shipment)

    assert await labels(shipments, shipment) == [LabelStatus.VOIDED]
    assert (shipments.carrier.sold, shipments.carrier.voided) == (
        {f"{shipment.id}-1": 1},
        {f"T-{shipment.id}-1-1": 1},
    )
    assert (await shipments.read(shipment)).status is Status.CANCELED


async def test_a_wish_to_cancel_stops_the_buying_of_what_is_not_bought_yet(shipments: Shipments) -> None:
    shipment = await shipments.allocated("SEA-1", "PDX-1")
    shipments.carrier.gate = asyncio.Event()
    buying = asyncio.create_task(shipments.buy(shipment))
    await shipments.carrier.was_asked.wait()

    await shipments.end(shipment)
    shipments.carrier.gate.set()
    await buying
    await shipments.void(shipment)

    assert await labels(shipments, shipment) == [LabelStatus.VOIDED, LabelStatus.NONE]
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_a_label_whose_buyer_died_is_looked_for_and_given_back(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    task = await shipments.begin(shipment)
    lost = shipments.carrier.sell(shipments.steps.labels.purchase_of(task))
    await shipments.end(shipment)

    shipments.clock.passes(LEASE)
    await shipments.void(shipment)

    parcel = (await shipments.read(shipment)).parcel(1)
    assert (parcel.label_status, parcel.tracking_number) == (LabelStatus.VOIDED, lost.tracking_number)
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_what_was_never_sold_is_not_bought_in_order_to_be_given_back(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    await shipments.begin(shipment)
    await shipments.end(shipment)

    shipments.clock.passes(LEASE)
    await shipments.void(shipment)

    assert await labels(shipments, shipment) == [LabelStatus.NONE]
    assert (shipments.carrier.asked, shipments.carrier.asked_to_void) == ([], [])


async def test_a_carrier_that_is_slow_to_tell_is_given_its_time_before_nothing_counts_as_sold(
    shipments: Shipments,
) -> None:
    shipments.carrier.settles_after = timedelta(minutes=2)
    shipments.carrier.script = [sells_and_loses_the_answer]
    shipments.carrier.finds_nothing = True
    shipment = await shipments.allocated()
    with pytest.raises(RetryLater):
        await shipments.buy(shipment)
    await shipments.end(shipment)
    with pytest.raises(RetryLater):
        await shipments.void(shipment)
    assert await labels(shipments, shipment) == [LabelStatus.UNKNOWN]

    shipments.clock.passes(timedelta(minutes=1))
    shipments.carrier.finds_nothing = False
    await shipments.void(shipment)

    assert await labels(shipments, shipment) == [LabelStatus.VOIDED]


async def test_a_carrier_that_cannot_be_asked_leaves_the_outcome_unknown(shipments: Shipments) -> None:
    shipments.carrier.script = [sells_and_loses_the_answer]
    shipment = await shipments.allocated()
    with pytest.raises(RetryLater):
        await shipments.buy(shipment)
    await shipments.end(shipment)

    shipments.carrier.is_unreachable = True
    with pytest.raises(RetryLater):
        await shipments.void(shipment)

    assert await labels(shipments, shipment) == [LabelStatus.UNKNOWN]


async def test_a_label_that_comes_when_nobody_looks_for_it_any_more_is_given_back(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    late = await shipments.begin(shipment)
    await shipments.end(shipment)
    shipments.clock.passes(LEASE)
    await shipments.void(shipment)
    assert await labels(shipments, shipment) == [LabelStatus.NONE]

    await shipments.settle(late, shipments.carrier.sell(shipments.steps.labels.purchase_of(late)))
    await shipments.void(shipment)

    assert await labels(shipments, shipment) == [LabelStatus.VOIDED]


async def test_stock_that_returns_before_the_label_was_given_back_uses_it(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    await shipments.buy(shipment)
    await shipments.hear_of_stock(shipment, StockStatus.WAITING, 2)
    await shipments.hear_of_stock(shipment, StockStatus.HELD, 3, "SEA-1")

    await shipments.buy(shipment)
    await shipments.void(shipment)

    ready = await shipments.read(shipment)
    assert (ready.status, ready.parcels[0].tracking_number) == (Status.LABEL_READY, f"T-{shipment.id}-1-1")
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}
    assert shipments.carrier.asked_to_void == []


@pytest.mark.parametrize("is_over", [False, True], ids=["while it is given back", "after it was given back"])
async def test_stock_that_returns_later_gets_another_parcel_and_another_label(
    shipments: Shipments, is_over: bool
) -> None:
    shipment = await shipments.allocated()
    await shipments.buy(shipment)
    await shipments.hear_of_stock(shipment, StockStatus.WAITING, 2)
    task = await shipments.begin_void(shipment)
    if is_over:
        await shipments.settle_void(task, None)

    await shipments.hear_of_stock(shipment, StockStatus.HELD, 3, "SEA-1")
    await shipments.buy(shipment)
    if not is_over:
        await shipments.settle_void(task, None)

    ready = await shipments.read(shipment)
    assert (ready.status, [p.reference for p in ready.parcels]) == (Status.LABEL_READY, [f"{shipment.id}-2"])
    assert await labels(shipments, shipment) == [LabelStatus.VOIDED, LabelStatus.READY]
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1, f"{shipment.id}-2": 1}


async def test_a_search_that_meets_the_return_of_the_stock_hands_the_label_over(shipments: Shipments) -> None:
    shipments.carrier.script = [sells_and_loses_the_answer]
    shipment = await shipments.allocated()
    with pytest.raises(RetryLater):
        await shipments.buy(shipment)
    await shipments.hear_of_stock(shipment, StockStatus.WAITING, 2)
    await shipments.begin_void(shipment)
    await shipments.hear_of_stock(shipment, StockStatus.HELD, 3, "SEA-1")
    with pytest.raises(RetryLater):
        await shipments.buy(shipment)

    shipments.clock.passes(LEASE)
    await shipments.buy(shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_the_label_document_is_gone_with_the_shipment_and_the_reader_sees_what_became_of_it(
    shipments: Shipments,
) -> None:
    shipment = await canceled(shipments)
    await shipments.void(shipment)

    message = shipments.steps.announcer.snapshot(await shipments.read(shipment), shipments.clock())

    assert not message.HasField("label_url")
    assert [parcel.tracking_number for parcel in message.parcels] == [f"T-{shipment.id}-1-1"]


async def test_a_sale_that_is_under_way_when_its_shipment_is_canceled_is_waited_for_and_given_back(
    shipments: Shipments,
) -> None:
    async with selling(timedelta(milliseconds=300), Pace(slow_s=1.0)) as shop:
        await shipments.receive(2)
        shipment = await shipments.create(Line("SKU-1", 2), name="SANDBOX_SLOW_30S")
        steps, key = shipments.steps_with(shop.carrier), (shipments.tenant_id, shipment.id)
        reference = f"{shipment.id}-1"
        await steps.allocate(*key)
        with pytest.raises(RetryLater):
            await steps.buy_labels(*key)
        await steps.cancel(*key)

        for _ in range(2):
            shipments.clock.passes(timedelta(seconds=10))
            with pytest.raises(RetryLater):
                await steps.void_labels(*key)
        await eventually(lambda: shop.sandbox.sales(reference), lambda sales: sales == (1, 0))
        shipments.clock.passes(timedelta(seconds=10))
        await steps.void_labels(*key)

        assert await shop.sandbox.sales(reference) == (1, 1)
        assert await labels(shipments, shipment) == [LabelStatus.VOIDED]


async def test_a_search_that_found_nothing_is_taken_up_until_nothing_can_be_sold_any_more(
    shipments: Shipments,
) -> None:
    async with selling() as shop:
        shipment = await shipments.allocated()
        await shipments.begin(shipment)
        await shipments.end(shipment)
        sweeper = Sweeper(shipments.database, shipments.steps_with(shop.carrier), shipments.clock)

        shipments.clock.passes(LEASE)
        with pytest.raises(RetryLater):
            await shipments.steps_with(shop.carrier).void_labels(shipments.tenant_id, shipment.id)
        assert await labels(shipments, shipment) == [LabelStatus.UNKNOWN]
        shipments.clock.passes(timedelta(seconds=46))
        while await sweeper.sweep(LABELS_TO_VOID):  # the database is every test's
            continue

        assert await labels(shipments, shipment) == [LabelStatus.NONE]


async def test_a_no_to_a_repetition_does_not_close_the_purchase_that_is_under_way(shipments: Shipments) -> None:
    carrier = shipments.carrier
    carrier.takes_keys, carrier.settles_after = True, timedelta(seconds=35)
    carrier.script = [fails(LOST), fails(DOWN), fails(CarrierRefused("address_rejected", "No such street."))]
    shipment = await shipments.allocated()
    for _ in range(2):
        with pytest.raises(RetryLater):
            await shipments.buy(shipment)
        assert await labels(shipments, shipment) == [LabelStatus.UNKNOWN]
        shipments.clock.passes(timedelta(seconds=2))
    await shipments.buy(shipment)
    failed = await shipments.read(shipment)

    carrier.sell(carrier.asked[0])  # the first of them, at last
    shipments.clock.passes(timedelta(seconds=2))
    await shipments.void(shipment)

    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.code == "address_rejected"
    assert (carrier.sold, carrier.voided) == ({f"{shipment.id}-1": 1}, {f"T-{shipment.id}-1-1": 1})
