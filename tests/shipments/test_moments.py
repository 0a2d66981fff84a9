"""When things are known: an answer is as old as its question."""

from datetime import timedelta

import pytest

from chassis.consumer import RetryLater
from services.shipments.domain import LabelStatus
from tests.shipments.carriers import Dawdler, sells_and_loses_the_answer
from tests.shipments.conftest import Shipments


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
