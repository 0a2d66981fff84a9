"""Several takers of one label: one is at it, and whoever comes late may add what was bought and spoils nothing."""

import asyncio
from collections.abc import Callable

import pytest

from chassis.consumer import RetryLater
from services.shipments.carriers.port import CarrierFailure, CarrierRefused, CarrierUnavailable, OutcomeUnknown
from services.shipments.domain import LabelStatus, Status
from tests.shipments.carriers import Dawdler, fails
from tests.shipments.conftest import LEASE, Shipments, eventually, warm_up

DOWN = CarrierUnavailable("down")
LOST = OutcomeUnknown("reset")
REFUSED = CarrierRefused("address_rejected", "No such street.")


async def until(holds: Callable[[], bool]) -> None:
    async def read() -> bool:
        return holds()

    await eventually(read, bool)


async def test_many_takers_at_once_buy_one_label(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    carrier = shipments.carrier
    carrier.gate = asyncio.Event()
    await warm_up(shipments.database, connections=8)

    takers = [asyncio.create_task(shipments.buy(shipment)) for _ in range(8)]
    # All have passed the lease or been turned away before the first label is sold.
    await until(lambda: len(carrier.asked) + sum(taker.done() for taker in takers) == len(takers))
    carrier.gate.set()
    outcomes = await asyncio.gather(*takers, return_exceptions=True)

    assert all(outcome is None or isinstance(outcome, RetryLater) for outcome in outcomes)
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_while_one_is_at_it_another_is_told_to_come_back(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    await shipments.begin(shipment)

    with pytest.raises(RetryLater):
        await shipments.buy(shipment)

    assert shipments.carrier.asked == []


@pytest.mark.parametrize("failure", [DOWN, LOST, REFUSED], ids=lambda failure: failure.code)
async def test_a_late_takers_failure_does_nothing_to_whoever_is_at_it(
    shipments: Shipments, failure: CarrierFailure
) -> None:
    shipment = await shipments.allocated()
    late = await shipments.begin(shipment)
    shipments.clock.passes(LEASE)
    shipments.carrier.gate = asyncio.Event()
    buying = asyncio.create_task(shipments.buy(shipment))
    await shipments.carrier.was_asked.wait()
    under_way = await shipments.read(shipment)

    await shipments.settle(late, failure)

    assert await shipments.read(shipment) == under_way
    with pytest.raises(RetryLater):
        await shipments.buy(shipment)
    shipments.carrier.gate.set()
    await buying
    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_a_late_takers_label_serves_where_there_is_none_yet(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    late = await shipments.begin(shipment)
    shipments.clock.passes(LEASE)
    current = await shipments.begin(shipment)

    ready = await shipments.settle(late, shipments.carrier.sell(shipments.steps.labels.purchase_of(late)))
    after = await shipments.settle(current, REFUSED)

    assert ready.status is Status.LABEL_READY
    assert after == ready


async def test_a_late_takers_label_does_not_replace_the_one_that_stands(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    late = await shipments.begin(shipment)
    shipments.clock.passes(LEASE)
    await shipments.buy(shipment)
    standing = await shipments.read(shipment)

    await shipments.settle(late, shipments.carrier.sell(shipments.steps.labels.purchase_of(late)))

    assert await shipments.read(shipment) == standing


async def test_a_late_takers_label_is_kept_though_the_shipment_has_failed(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    late = await shipments.begin(shipment)
    shipments.clock.passes(LEASE)
    await shipments.settle(await shipments.begin(shipment), REFUSED)

    failed = await shipments.settle(late, shipments.carrier.sell(shipments.steps.labels.purchase_of(late)))

    assert (failed.status, failed.parcel(1).label_status) == (Status.FAILED, LabelStatus.READY)


async def test_whoever_loses_the_lease_while_looking_does_not_buy(shipments: Shipments) -> None:
    carrier = Dawdler(fails(LOST))
    shipment = await shipments.allocated()
    with pytest.raises(RetryLater):
        await shipments.steps_with(carrier).buy_labels(shipments.tenant_id, shipment.id)
    shipments.clock.passes(carrier.answers_within)  # what is not found now was not sold

    async def somebody_else_takes_over() -> None:
        shipments.clock.passes(LEASE)
        await shipments.begin(shipment)

    carrier.meanwhile = somebody_else_takes_over
    with pytest.raises(RetryLater):
        await shipments.steps_with(carrier).buy_labels(shipments.tenant_id, shipment.id)

    assert len(carrier.asked) == 1
