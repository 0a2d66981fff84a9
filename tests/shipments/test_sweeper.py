"""The sweeper: what no event brought on is taken up, every shipment in its turn, whatever is in trouble beside it."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import grpc
import pytest
from sqlalchemy import text

from chassis import rpc
from chassis.errors import Fault
from chassis.ids import new_id
from services.shipments import domain, store, sweeper
from services.shipments.carriers.port import CarrierRefused, CarrierUnavailable
from services.shipments.domain import Line, Shipment, ShipmentRequest, Status, StockStatus
from services.shipments.sweeper import Sweeper
from skutrail.v1 import inventory_pb2, inventory_pb2_grpc
from tests.shipments.conftest import ADA, Shipments, eventually

A_LOOK = max(watch.every for watch in sweeper.WATCHES.values()) + timedelta(seconds=1)
RELEASED = inventory_pb2.ALLOCATION_STATUS_RELEASED


async def sweep(shipments: Shipments, *statuses: Status) -> None:
    """Time passes and the statuses are swept, until quiet: the database is every test's, and so is what others left."""
    shipments.clock.passes(A_LOOK)
    swept = Sweeper(shipments.database, shipments.steps, shipments.clock)
    for status in statuses or sweeper.WATCHES:
        while await swept.sweep(status):
            continue


async def allocated(shipments: Shipments) -> Shipment:
    """By the real inventory."""
    shipment = await shipments.create(Line("SKU-1", 2))
    await shipments.steps.allocate(shipments.tenant_id, shipment.id)
    return shipment


async def failed(shipments: Shipments) -> Shipment:
    """And nobody heard of it."""
    await shipments.receive(2)
    shipment = await allocated(shipments)
    shipments.carrier.faults[f"{shipment.id}-1"] = CarrierRefused("address_rejected", "No such street.")
    await shipments.buy(shipment)
    return shipment


async def marks(shipments: Shipments, shipment: Shipment) -> tuple[bool, datetime]:
    """Whether the stock was given back, and when the sweeper last looked."""
    query = text("SELECT stock_given_back, looked_at FROM shipment WHERE tenant_id = :t AND id = :id")
    row = (await shipments.run(lambda tx: tx.execute(query, {"t": shipments.tenant_id, "id": shipment.id}))).one()
    return row.stock_given_back, row.looked_at


def nobody() -> inventory_pb2_grpc.InventoryStub:
    """An inventory that is away."""
    channel: grpc.aio.Channel = rpc.channel("127.0.0.1:1")
    return inventory_pb2_grpc.InventoryStub(channel)


async def test_the_sweeper_takes_up_what_no_event_did(shipments: Shipments) -> None:
    await shipments.receive(2)
    shipment = await shipments.create(Line("SKU-1", 2))

    await sweep(shipments, Status.QUEUED)
    assert (await shipments.read(shipment)).status is Status.ALLOCATED
    await sweep(shipments, Status.ALLOCATED)

    assert (await shipments.read(shipment)).status is Status.LABEL_READY
    assert shipments.carrier.sold[f"{shipment.id}-1"] == 1


async def test_the_sweeper_leaves_alone_what_has_just_moved(shipments: Shipments) -> None:
    await sweep(shipments)
    await shipments.receive(2)
    shipment = await shipments.create(Line("SKU-1", 2))

    swept = Sweeper(shipments.database, shipments.steps, shipments.clock)

    assert await swept.sweep(Status.QUEUED) == 0
    assert (await shipments.read(shipment)).status is Status.QUEUED


async def test_a_backordered_shipment_learns_that_it_was_served_though_nobody_told_it(shipments: Shipments) -> None:
    shipment = await shipments.create(Line("SKU-1", 2))
    await shipments.hear_of_stock(shipment, StockStatus.WAITING, 1)
    await shipments.receive(2)
    await shipments.allocation_of(shipment)

    await sweep(shipments, Status.BACKORDERED)

    assert (await shipments.read(shipment)).status is Status.ALLOCATED


async def test_a_shipment_with_its_label_learns_that_its_stock_was_sent_back(shipments: Shipments) -> None:
    await shipments.receive(2)
    shipment = await allocated(shipments)
    await shipments.buy(shipment)
    await sweep(shipments, Status.LABEL_READY)
    assert (await shipments.read(shipment)).status is Status.LABEL_READY

    await shipments.record(-1, inventory_pb2.REASON_ADJUSTMENT)
    await sweep(shipments, Status.LABEL_READY)

    assert (await shipments.read(shipment)).status is Status.BACKORDERED


async def test_a_failed_shipment_gives_its_stock_back_though_nobody_heard_of_it(shipments: Shipments) -> None:
    shipment = await failed(shipments)

    await sweep(shipments, Status.FAILED)

    assert (await shipments.allocation_of(shipment)).status == RELEASED
    is_given_back, _ = await marks(shipments, shipment)
    assert is_given_back


async def test_a_canceled_shipment_gives_its_stock_back(shipments: Shipments) -> None:
    await shipments.receive(2)
    shipment = await allocated(shipments)
    cancel = text("UPDATE shipment SET status = 'canceled' WHERE id = :id")
    await shipments.run(lambda tx: tx.execute(cancel, {"id": shipment.id}))

    await sweep(shipments, Status.CANCELED)

    assert (await shipments.allocation_of(shipment)).status == RELEASED


async def test_stock_counts_as_given_back_only_when_inventory_has_answered(shipments: Shipments) -> None:
    shipment = await failed(shipments)

    with pytest.raises(Fault, match="unavailable"):
        await replace(shipments.steps, inventory=nobody()).release_stock(shipments.tenant_id, shipment.id)

    is_given_back, _ = await marks(shipments, shipment)
    assert not is_given_back


async def test_what_was_given_back_is_not_asked_for_again(shipments: Shipments) -> None:
    shipment = await failed(shipments)
    await sweep(shipments, Status.FAILED)
    before = await marks(shipments, shipment)

    await sweep(shipments, Status.FAILED)

    assert await marks(shipments, shipment) == before


async def test_one_shipment_in_trouble_does_not_keep_the_sweeper_from_the_next(shipments: Shipments) -> None:
    broken, down, sound = [await shipments.allocated() for _ in range(3)]
    shipments.carrier.faults = {f"{broken.id}-1": ValueError("a defect"), f"{down.id}-1": CarrierUnavailable("down")}

    await sweep(shipments, Status.ALLOCATED)

    statuses = [(await shipments.read(shipment)).status for shipment in (broken, down, sound)]
    assert statuses == [Status.ALLOCATED, Status.ALLOCATED, Status.LABEL_READY]


async def test_more_shipments_in_trouble_than_a_batch_takes_do_not_keep_others_from_their_turn(
    shipments: Shipments,
) -> None:
    unknown_to_inventory = ShipmentRequest(shipments.tenant_id, "ord_1", ADA, [Line("BAD\x01", 1)], None)
    for _ in range(sweeper.BATCH_MAX + 1):
        stuck, _events = domain.create(unknown_to_inventory, shipment_id=new_id("shp"), now=shipments.clock())
        await shipments.run(lambda tx, stuck=stuck: store.insert(tx, stuck))  # type: ignore[misc]
    sound = await shipments.create(Line("SKU-1", 1))

    await sweep(shipments, Status.QUEUED)

    assert (await shipments.read(sound)).status is Status.BACKORDERED


async def test_an_inventory_that_is_away_holds_up_no_label(shipments: Shipments) -> None:
    await sweep(shipments)
    queued, ready = await shipments.create(), await shipments.allocated()
    shipments.clock.passes(A_LOOK)
    swept = Sweeper(shipments.database, replace(shipments.steps, inventory=nobody()), shipments.clock)

    running = asyncio.create_task(swept.run())
    await eventually(lambda: shipments.read(ready), lambda shipment: shipment.status is Status.LABEL_READY)
    swept.stop()
    await running

    assert (await shipments.read(queued)).status is Status.QUEUED
