"""How long trouble with a carrier is waited out, whatever makes it, and how it ends."""

from datetime import timedelta

import pytest

from chassis.consumer import RetryLater
from services.shipments import purchasing
from services.shipments.carriers.port import CarrierUnavailable
from services.shipments.domain import Failure, Status
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


async def test_trouble_that_does_not_end_fails_the_shipment(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    shipments.carrier.faults = {f"{shipment.id}-1": DOWN}

    await shipments.keep_buying(shipment, shipments.carrier, purchasing.PATIENCE)

    failed = await shipments.read(shipment)
    assert (failed.status, failed.error) == (Status.FAILED, Failure("carrier_unavailable", "down"))
