"""The steps with a real inventory: stock is asked for, followed and given back, and repetition changes nothing."""

from datetime import timedelta

import pytest

from chassis.consumer import RetryLater
from services.shipments import purchasing
from services.shipments.carriers.port import CarrierRefused
from services.shipments.domain import Line, Shipment, Status
from skutrail.v1 import events_pb2, inventory_pb2
from tests.shipments.carriers import fails
from tests.shipments.conftest import Shipments
from tests.shipments.selling import selling

RELEASED = inventory_pb2.ALLOCATION_STATUS_RELEASED
REFUSED = CarrierRefused("address_rejected", "No such street.")


async def deliver_until_quiet(shipments: Shipments, shipment: Shipment) -> list[events_pb2.Event]:
    """Delivers every event of the shipment, those that come of it too. Returns them all."""
    delivered = 0
    while len(events := await shipments.events(shipment)) > delivered:
        await shipments.deliver(events[delivered])
        delivered += 1
    return events


async def test_a_shipment_goes_from_queued_to_label_ready_by_its_own_events(shipments: Shipments) -> None:
    await shipments.receive(5)
    shipment = await shipments.create(Line("SKU-1", 2))

    events = await deliver_until_quiet(shipments, shipment)

    assert [event.type for event in events] == ["shipment.created", "shipment.allocated", "shipment.label_ready"]
    assert [(line.warehouse, line.qty) for line in events[-1].shipment.allocations] == [("SEA-1", 2)]


async def test_a_sku_that_never_moved_backorders_the_shipment(shipments: Shipments) -> None:
    shipment = await shipments.create(Line("NEVER-SEEN", 1))

    events = await deliver_until_quiet(shipments, shipment)

    assert [event.type for event in events] == ["shipment.created", "shipment.backordered"]


async def test_a_pick_that_was_quicker_than_the_news_of_the_hold_still_gets_its_label(shipments: Shipments) -> None:
    await shipments.receive(2)
    shipment = await shipments.create(Line("SKU-1", 2))
    await shipments.allocation_of(shipment)  # held, and the answer was lost
    await shipments.pick(2, shipment)

    await deliver_until_quiet(shipments, shipment)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY


async def test_a_request_for_stock_that_somebody_else_ended_fails_the_shipment(shipments: Shipments) -> None:
    shipment = await shipments.create(Line("SKU-1", 2))
    await shipments.steps.release_stock(shipments.tenant_id, shipment.id)

    events = await deliver_until_quiet(shipments, shipment)

    assert [event.type for event in events] == ["shipment.created", "shipment.failed"]
    assert events[-1].shipment.error.code == "stock_released"


async def test_every_event_delivered_again_in_any_order_changes_nothing(shipments: Shipments) -> None:
    await shipments.receive(5)
    shipment = await shipments.create(Line("SKU-1", 2))
    events = await deliver_until_quiet(shipments, shipment)
    stock_news = events_pb2.Event(
        type="allocation.changed", tenant_id=shipments.tenant_id, allocation=await shipments.allocation_of(shipment)
    )
    before = await shipments.read(shipment)

    for event in [*events, stock_news, *reversed(events), stock_news]:
        await shipments.deliver(event)

    assert await shipments.read(shipment) == before
    assert await shipments.events(shipment) == events
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1}


async def test_a_refused_shipment_gives_its_stock_back(shipments: Shipments) -> None:
    shipments.carrier.script = [fails(REFUSED)]
    await shipments.receive(2)
    shipment = await shipments.create(Line("SKU-1", 2))

    await deliver_until_quiet(shipments, shipment)

    assert (await shipments.read(shipment)).status is Status.FAILED
    assert (await shipments.allocation_of(shipment)).status == RELEASED
    another = await shipments.create(Line("SKU-1", 2))
    await deliver_until_quiet(shipments, another)
    assert (await shipments.read(another)).status is Status.LABEL_READY


async def test_a_failure_heard_of_twice_releases_once_and_stays_failed(shipments: Shipments) -> None:
    shipments.carrier.script = [fails(REFUSED)]
    await shipments.receive(2)
    shipment = await shipments.create(Line("SKU-1", 2))
    events = await deliver_until_quiet(shipments, shipment)

    for event in events:
        await shipments.deliver(event)

    assert (await shipments.read(shipment)).status is Status.FAILED
    assert len(shipments.carrier.asked) == 1


async def test_the_sandbox_refuses_and_fails_by_the_recipients_name(shipments: Shipments) -> None:
    await shipments.receive(10)
    rejected, busy, broken = [
        await shipments.create(name=f"SANDBOX_{fault}") for fault in ("REJECT_ADDRESS", "RATE_LIMIT", "5XX")
    ]
    async with selling() as shop:
        steps = shipments.steps_with(shop.carrier)
        for shipment in (rejected, busy, broken):
            await steps.allocate(shipments.tenant_id, shipment.id)

        await steps.buy_labels(shipments.tenant_id, rejected.id)
        for shipment in (busy, broken):
            with pytest.raises(RetryLater):
                await steps.buy_labels(shipments.tenant_id, shipment.id)
            assert (await shipments.read(shipment)).status is Status.ALLOCATED
            await shipments.keep_buying(shipment, shop.carrier, purchasing.PATIENCE)
            assert await shop.sandbox.sales(f"{shipment.id}-1") == (0, 0)

    errors = [(await shipments.read(shipment)).error for shipment in (rejected, busy, broken)]
    assert [error.code if error else None for error in errors] == [
        "address_rejected",
        "carrier_unavailable",
        "carrier_outcome_unknown",
    ]


@pytest.mark.parametrize("fault", ["LATE_SUCCESS", "5XX x2", "EMPTY_200 x1", "RATE_LIMIT x1"])
async def test_a_label_that_was_hard_to_get_was_bought_once(shipments: Shipments, fault: str) -> None:
    await shipments.receive(2)
    shipment = await shipments.create(name=f"SANDBOX_{fault}")
    async with selling() as shop:
        await shipments.steps_with(shop.carrier).allocate(shipments.tenant_id, shipment.id)

        await shipments.keep_buying(shipment, shop.carrier, timedelta(minutes=2))

        assert await shop.sandbox.sales(f"{shipment.id}-1") == (1, 0)
        [label] = await shop.sandbox.found(f"{shipment.id}-1")
    labeled = await shipments.read(shipment)
    assert labeled.status is Status.LABEL_READY
    assert [parcel.tracking_number for parcel in labeled.parcels] == [label["tracking_number"]]
