"""The sweeper: what no event brought on is taken up, every shipment in its turn, whatever is in trouble beside it."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from chassis import rpc
from chassis.errors import Fault
from chassis.ids import new_id
from services.shipments import domain, operations, store, sweeper
from services.shipments.carriers.port import CarrierRefused, CarrierUnavailable, Tracking
from services.shipments.domain import LabelStatus, Line, Shipment, ShipmentRequest, Status, Stock, StockStatus
from services.shipments.sweeper import Sweeper
from skutrail.v1 import inventory_pb2
from tests.shipments.conftest import ADA, ANNOUNCER, Shipments, eventually, nobody

WATCHES = sweeper.watches()
A_LOOK = max(watch.every for watch in WATCHES.values()) + timedelta(seconds=1)
RELEASED = inventory_pb2.ALLOCATION_STATUS_RELEASED


async def sweep(shipments: Shipments, *names: str) -> None:
    """Time passes and the watches sweep, until quiet: the database is every test's, and so is what others left."""
    shipments.clock.passes(A_LOOK)
    swept = Sweeper(shipments.database, shipments.steps, shipments.clock)
    for name in names or WATCHES:
        while await swept.sweep(name):
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


async def shipped(shipments: Shipments, count: int) -> dict[str, Shipment]:
    """So many that have left, by their tracking numbers. Their carrier may be silent for longer than a test takes."""
    shipments.carrier.answers_within = timedelta(minutes=5)
    sent = [await shipments.allocated() for _ in range(count)]
    while await shipments.steps.labels.buy_all([(shipment.tenant_id, shipment.id) for shipment in sent]):
        continue
    news = [
        ((shipment.tenant_id, shipment.id), Stock(StockStatus.DISPATCHED, 2, shipment.allocations)) for shipment in sent
    ]
    await shipments.pipelined(lambda p: operations.follow_stock(p, news, announcer=ANNOUNCER, clock=shipments.clock))
    found = await shipments.pipelined(lambda p: store.find_all(p, [key for key, _ in news]))
    return {shipment.parcel(1).tracking_number or "": shipment for shipment in found.values()}


async def delivered(shipments: Shipments, sent: Iterable[Shipment]) -> int:
    keys = [(shipment.tenant_id, shipment.id) for shipment in sent]
    found = await shipments.pipelined(lambda p: store.find_all(p, keys))
    return [shipment.status for shipment in found.values()].count(Status.DELIVERED)


async def under_way(shipments: Shipments) -> int:
    """How many the carrier was asked for and has not answered."""
    return len(shipments.carrier.tracking)


async def marks(shipments: Shipments, shipment: Shipment) -> tuple[bool, datetime]:
    """Whether the stock was given back, and when the sweeper last looked."""
    query = text("SELECT stock_given_back, looked_at FROM shipment WHERE tenant_id = :t AND id = :id")
    row = (await shipments.run(lambda tx: tx.execute(query, {"t": shipments.tenant_id, "id": shipment.id}))).one()
    return row.stock_given_back, row.looked_at


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
    shipment = await allocated(shipments)
    assert (await shipments.read(shipment)).status is Status.BACKORDERED
    await shipments.receive(2)
    held = inventory_pb2.ALLOCATION_STATUS_HELD
    await eventually(lambda: shipments.allocation_of(shipment), lambda allocation: allocation.status == held)

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


async def test_a_cancel_that_could_not_reach_inventory_is_finished(shipments: Shipments) -> None:
    shipment = await shipments.ready()
    with pytest.raises(Fault, match="unavailable"):
        await replace(shipments.steps, inventory=nobody()).cancel(shipments.tenant_id, shipment.id)
    asked = await shipments.read(shipment)
    assert (asked.status, asked.cancel_asked_at) == (Status.LABEL_READY, shipments.clock())

    await sweep(shipments, sweeper.ASKED_TO_CANCEL)

    assert (await shipments.read(shipment)).status is Status.CANCELED
    assert (await shipments.allocation_of(shipment)).status == RELEASED


async def test_a_cancel_whose_taker_died_after_inventory_had_decided_is_finished(shipments: Shipments) -> None:
    shipment = await shipments.ready()
    await shipments.pipelined(lambda p: operations.ask_cancel(p, (shipments.tenant_id, shipment.id), shipments.clock()))
    await rpc.call(
        shipments.inventory.Release,
        inventory_pb2.ReleaseRequest(tenant_id=shipments.tenant_id, request_id=shipment.id),
    )

    await sweep(shipments, sweeper.ASKED_TO_CANCEL)

    assert (await shipments.read(shipment)).status is Status.CANCELED


async def test_a_canceled_shipment_is_left_alone_once_inventory_has_answered(shipments: Shipments) -> None:
    shipment = await shipments.cancel(await shipments.ready())

    await sweep(shipments, Status.CANCELED)

    is_given_back, _ = await marks(shipments, shipment)
    assert is_given_back


async def test_a_dispatch_whose_taker_died_is_heard_of(shipments: Shipments) -> None:
    shipment = await shipments.ready()
    await rpc.call(
        shipments.inventory.Dispatch,
        inventory_pb2.DispatchRequest(tenant_id=shipments.tenant_id, request_id=shipment.id),
    )

    await sweep(shipments, Status.LABEL_READY)

    assert (await shipments.read(shipment)).status is Status.SHIPPED


async def test_labels_that_no_event_gave_back_are_given_back(shipments: Shipments) -> None:
    shipment = await shipments.cancel(await shipments.ready())

    await sweep(shipments, sweeper.LABELS_TO_VOID)

    assert [parcel.label_status for parcel in (await shipments.read(shipment)).parcels] == [LabelStatus.VOIDED]


async def test_a_label_of_a_warehouse_that_stock_moved_away_from_is_given_back(shipments: Shipments) -> None:
    shipment = await shipments.allocated("SEA-1")
    await shipments.buy(shipment)
    await shipments.hear_of_stock(shipment, StockStatus.HELD, 2, "PDX-1")

    await sweep(shipments, sweeper.LABELS_TO_VOID)

    moved = await shipments.read(shipment)
    assert [parcel.label_status for parcel in moved.opened_parcels] == [LabelStatus.VOIDED, LabelStatus.NONE]
    assert shipments.carrier.voided == {f"T-{shipment.id}-1-1": 1}


async def test_a_label_that_the_carrier_will_not_take_back_is_not_asked_for_again(shipments: Shipments) -> None:
    shipment = await shipments.cancel(await shipments.ready())
    shipments.carrier.void_script = [CarrierRefused("label_used", "It was scanned.")]

    await sweep(shipments, sweeper.LABELS_TO_VOID)
    await sweep(shipments, sweeper.LABELS_TO_VOID)

    parcel = (await shipments.read(shipment)).parcel(1)
    assert (parcel.label_status, parcel.void_refused_at is not None) == (LabelStatus.READY, True)
    assert len([sold for sold in shipments.carrier.asked_to_void if sold.reference == parcel.reference]) == 1


async def test_what_was_shipped_is_delivered_when_the_carrier_has_delivered_every_parcel(shipments: Shipments) -> None:
    shipment = await shipments.allocated("SEA-1", "PDX-1")
    await shipments.buy(shipment)
    await shipments.hear_of_stock(shipment, StockStatus.DISPATCHED, 2, "SEA-1", "PDX-1")
    first, second = [parcel.tracking_number or "" for parcel in (await shipments.read(shipment)).parcels]

    shipments.carrier.scans = {first: Tracking.DELIVERED, second: Tracking.IN_TRANSIT}
    await sweep(shipments, Status.SHIPPED)
    assert (await shipments.read(shipment)).status is Status.SHIPPED
    shipments.carrier.scans[second] = Tracking.DELIVERED
    await sweep(shipments, Status.SHIPPED)

    assert (await shipments.read(shipment)).status is Status.DELIVERED
    assert (await shipments.event_types(shipment))[-2:] == ["shipment.shipped", "shipment.delivered"]


async def test_what_was_shipped_is_asked_for_side_by_side(shipments: Shipments) -> None:
    sent = await shipped(shipments, sweeper.AT_ONCE_MAX + 4)
    shipments.carrier.silent, shipments.carrier.scans = set(sent), dict.fromkeys(sent, Tracking.DELIVERED)

    sweeping = asyncio.create_task(sweep(shipments, Status.SHIPPED))
    await eventually(lambda: under_way(shipments), lambda count: count == sweeper.AT_ONCE_MAX)
    shipments.carrier.track_gate.set()
    await sweeping

    assert await delivered(shipments, sent.values()) == len(sent)


async def test_a_shipment_that_the_carrier_is_silent_about_does_not_hold_up_those_of_the_next_batch(
    shipments: Shipments,
) -> None:
    sent = await shipped(shipments, store.TAKEN_MAX + 5)
    shipments.carrier.silent, shipments.carrier.scans = {next(iter(sent))}, dict.fromkeys(sent, Tracking.DELIVERED)

    sweeping = asyncio.create_task(sweep(shipments, Status.SHIPPED))
    await eventually(lambda: delivered(shipments, sent.values()), lambda count: count == len(sent) - 1)
    assert await under_way(shipments) == 1
    shipments.carrier.track_gate.set()
    await sweeping

    assert await delivered(shipments, sent.values()) == len(sent)


async def test_a_carrier_that_cannot_tell_leaves_the_shipment_where_it_is(shipments: Shipments) -> None:
    shipment = await shipments.allocated()
    await shipments.buy(shipment)
    await shipments.hear_of_stock(shipment, StockStatus.DISPATCHED, 2, "SEA-1")
    shipments.carrier.is_unreachable = True

    await sweep(shipments, Status.SHIPPED)

    assert (await shipments.read(shipment)).status is Status.SHIPPED


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
    for _ in range(store.TAKEN_MAX + 1):
        stuck, _events = domain.create(unknown_to_inventory, shipment_id=new_id("shp"), now=shipments.clock())
        await shipments.run(lambda tx, stuck=stuck: tx.execute(*store.inserting([stuck])))  # type: ignore[misc]
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
