"""How long trouble with a carrier is waited out, whatever makes it, and how it ends."""

from datetime import timedelta

import pytest

from chassis.consumer import RetryLater
from services.shipments import purchasing
from services.shipments.carriers.port import (
    LABEL_BYTES_MAX,
    CarrierFailure,
    CarrierRefused,
    CarrierUnavailable,
    Label,
    OutcomeUnknown,
)
from services.shipments.domain import Failure, LabelStatus, Status, StockStatus
from tests.shipments.carriers import fails
from tests.shipments.conftest import Shipments

DOWN = CarrierUnavailable("down")


async def test_trouble_is_tried_again_under_the_attempts_own_key(shipments: Shipments) -> None:
    shipments.carrier.script = [fails(DOWN), fails(DOWN)]
    shipment = await shipments.allocated()
    for _ in range(2):
        with pytest.raises(RetryLater, match="carrier_unavailable"):
            await shipments.buy(shipment)
        shipments.clock.passes(timedelta(seconds=30))

    await shipments.buy(shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert len({purchase.attempt_key for purchase in shipments.carrier.asked}) == 1


async def test_a_carrier_in_trouble_is_asked_ever_more_rarely_however_often_somebody_comes(
    shipments: Shipments,
) -> None:
    shipment = await shipments.allocated()
    shipments.carrier.faults = {f"{shipment.id}-1": DOWN}
    for _ in range(60):  # beside one that gets on, and comes again at once
        with pytest.raises(RetryLater):
            await shipments.buy(shipment)
        shipments.clock.passes(timedelta(seconds=1.6))
    asked = len(shipments.carrier.asked)

    shipments.carrier.faults = {}
    shipments.clock.passes(purchasing.REST_MAX)
    await shipments.buy(shipment)

    assert asked < 15
    assert (await shipments.read(shipment)).status is Status.LABEL_READY


@pytest.mark.parametrize("trouble", [DOWN, OutcomeUnknown("reset")], ids=lambda trouble: trouble.code)
async def test_trouble_that_does_not_end_fails_the_shipment(shipments: Shipments, trouble: CarrierFailure) -> None:
    shipment = await shipments.allocated()
    shipments.carrier.faults = {f"{shipment.id}-1": trouble}

    await shipments.keep_buying(shipment, shipments.carrier, purchasing.PATIENCE)

    failed = await shipments.read(shipment)
    assert (failed.status, failed.error) == (Status.FAILED, Failure(trouble.code, trouble.message))


async def test_a_defect_is_an_outcome_that_is_unknown_and_told_to_nobody(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    shipments.carrier.script = [fails(ValueError("a defect of the adapter"))]

    with pytest.raises(RetryLater, match=r"^carrier_outcome_unknown$"):
        await shipments.buy(shipment)

    assert (await shipments.read(shipment)).parcels[0].label_status is LabelStatus.UNKNOWN
    shipments.clock.passes(shipments.carrier.answers_within)
    await shipments.buy(shipment)
    assert (await shipments.read(shipment)).status is Status.LABEL_READY


@pytest.mark.parametrize(
    ("tracking_number", "content"),
    [("T-1", b""), ("T-1", bytes(LABEL_BYTES_MAX + 1)), ("", b"%PDF"), ("T\0", b"%PDF"), ("T" * 65, b"%PDF")],
    ids=["empty", "too large", "no number", "unprintable number", "long number"],
)
def test_a_label_that_could_not_be_kept_is_no_label(tracking_number: str, content: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        Label(tracking_number, content, "scripted", "ground")


def test_a_carriers_words_are_cut_to_what_can_be_stored() -> None:
    assert CarrierRefused("address_rejected", "No\0such\nstreet." + "x" * 1000).message.startswith("No such street.xxx")
    assert len(CarrierRefused("address_rejected", "x" * 1000).message) == 500


async def test_patience_begins_anew_when_the_stock_returns(shipments: Shipments) -> None:
    shipments.carrier.script = [fails(DOWN), fails(DOWN)]
    shipment = await shipments.allocated()
    await shipments.keep_buying(shipment, shipments.carrier, timedelta(0))
    await shipments.hear_of_stock(shipment, StockStatus.WAITING, 2)
    shipments.carrier.faults = {f"{shipment.id}-1": DOWN}
    shipments.clock.passes(timedelta(hours=1))

    await shipments.hear_of_stock(shipment, StockStatus.HELD, 3, "SEA-1")
    await shipments.keep_buying(shipment, shipments.carrier, purchasing.PATIENCE - timedelta(minutes=1))
    assert (await shipments.read(shipment)).status is Status.ALLOCATED
    shipments.carrier.faults = {}
    shipments.carrier.script = []
    await shipments.buy(shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert len({purchase.attempt_key for purchase in shipments.carrier.asked}) == 1


async def test_time_in_which_nobody_tried_is_no_trouble_of_the_carriers(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    shipments.carrier.faults = {f"{shipment.id}-1": DOWN}
    await shipments.keep_buying(shipment, shipments.carrier, timedelta(minutes=5))

    shipments.clock.passes(timedelta(hours=1))
    await shipments.keep_buying(shipment, shipments.carrier, timedelta(minutes=5))

    assert (await shipments.read(shipment)).status is Status.ALLOCATED
