"""The life of a shipment, as a table, and what its stock and its labels do to it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chassis.errors import Fault
from chassis.ids import new_id
from services.shipments import domain, following, purchasing, requests, topology
from services.shipments.carriers.port import TRACKING_NUMBER_LENGTH_MAX
from services.shipments.domain import (
    TRANSITIONS,
    Address,
    Coordinates,
    Fact,
    HeldLine,
    LabelStatus,
    Line,
    Shipment,
    Status,
    Stock,
    StockStatus,
)
from services.shipments.requests import LINES_MAX, QTY_MAX
from tests.shipments.conftest import ANNOUNCER
from tests.shipments.lives import (
    LATER,
    NOW,
    REQUEST,
    allocated,
    buying,
    held,
    labeled,
    queued,
    short,
    types,
    waiting,
)

UNDER_WAY = [queued(), short(), allocated(), labeled(allocated())]


def scattered(lines: int) -> Stock:
    """Held in so many warehouses with the longest names there are."""
    return Stock(StockStatus.HELD, 1, [HeldLine("📦" * 64, f"{n:04}" + "📦" * 60, 10**11) for n in range(lines)])


ALLOWED = [
    ("queued", "stock_held", "allocated"),
    ("queued", "stock_waiting", "backordered"),
    ("queued", "stock_failed", "failed"),
    ("queued", "canceled", "canceled"),
    ("queued", "dispatched", "shipped"),
    ("backordered", "stock_held", "allocated"),
    ("backordered", "stock_waiting", "backordered"),
    ("backordered", "stock_failed", "failed"),
    ("backordered", "canceled", "canceled"),
    ("backordered", "dispatched", "shipped"),
    ("allocated", "labels_ready", "label_ready"),
    ("allocated", "carrier_failed", "failed"),
    ("allocated", "canceled", "canceled"),
    ("allocated", "dispatched", "shipped"),
    ("allocated", "stock_waiting", "backordered"),
    ("allocated", "stock_held", "allocated"),
    ("allocated", "stock_failed", "failed"),
    ("label_ready", "dispatched", "shipped"),
    ("label_ready", "canceled", "canceled"),
    ("label_ready", "stock_waiting", "backordered"),
    ("label_ready", "stock_held", "allocated"),
    ("label_ready", "stock_failed", "failed"),
    ("shipped", "delivered", "delivered"),
]


@pytest.mark.parametrize("fact", Fact)
@pytest.mark.parametrize("status", Status)
def test_a_status_changes_by_the_table_and_by_nothing_else(status: Status, fact: Fact) -> None:
    after = {fact_: to for from_, fact_, to in ALLOWED if from_ == status}.get(fact)

    if after is not None:
        assert domain.step(status, fact) == after
    else:
        with pytest.raises(Fault) as refused:
            domain.step(status, fact)
        assert refused.value.code == "invalid_state"
        assert refused.value.facts == {"current_status": status.value}


def test_every_status_has_its_row_and_its_event() -> None:
    assert set(TRANSITIONS) == set(Status) == set(domain.EVENT_TYPES)
    assert domain.EVENT_TYPES[Status.QUEUED] == "shipment.created"
    assert domain.EVENT_TYPES[Status.LABEL_READY] == "shipment.label_ready"


def test_a_new_shipment_is_queued_and_says_so() -> None:
    shipment, events = domain.create(REQUEST, shipment_id="shp_1", now=NOW)

    assert (shipment.status, shipment.version, shipment.allocation_version) == (Status.QUEUED, 1, 0)
    assert types(events) == ["shipment.created"]


def test_held_stock_allocates_the_shipment_and_opens_a_parcel_per_warehouse() -> None:
    stock = Stock(
        StockStatus.HELD, 1, [HeldLine("A", "SEA-1", 1), HeldLine("B", "PDX-1", 1), HeldLine("C", "SEA-1", 5)]
    )

    shipment, events = following.follow_stock(queued(), stock, LATER)

    assert (shipment.status, shipment.version, shipment.updated_at) == (Status.ALLOCATED, 2, LATER)
    assert [(p.warehouse, p.reference) for p in shipment.parcels] == [("SEA-1", "shp_1-1"), ("PDX-1", "shp_1-2")]
    assert types(events) == ["shipment.allocated"]
    assert events[0].shipment == shipment


def test_missing_stock_backorders_until_it_arrives() -> None:
    missing, events = following.follow_stock(queued(), waiting(1), NOW)
    assert types(events) == ["shipment.backordered"]

    arrived, events = following.follow_stock(missing, held(2, "SEA-1"), NOW)
    assert arrived.status is Status.ALLOCATED
    assert types(events) == ["shipment.allocated"]


@pytest.mark.parametrize("stock", [held(3, "PDX-1"), waiting(3), held(2, "PDX-1"), waiting(1)])
def test_news_that_is_not_newer_changes_nothing(stock: Stock) -> None:
    shipment = following.follow_stock(queued(), held(3, "SEA-1"), NOW)[0]

    assert following.follow_stock(shipment, stock, LATER) == (shipment, [])


def test_waiting_that_goes_on_is_heard_and_not_announced() -> None:
    still, events = following.follow_stock(short(), waiting(3), NOW)

    assert (still.status, still.allocation_version, still.version) == (Status.BACKORDERED, 3, short().version + 1)
    assert events == []


@pytest.mark.parametrize("has_label", [False, True])
def test_stock_that_is_taken_away_backorders_again(has_label: bool) -> None:
    shipment = labeled(allocated()) if has_label else allocated()

    lost, events = following.follow_stock(shipment, waiting(2), NOW)

    assert (lost.status, list(lost.allocations), list(lost.parcels)) == (Status.BACKORDERED, [], [])
    assert types(events) == ["shipment.backordered"]


def test_partial_stock_backorders_with_what_there_is_and_opens_no_parcel() -> None:
    part, events = following.follow_stock(queued(), waiting(1, "SEA-1"), NOW)

    assert (part.status, [line.warehouse for line in part.allocations]) == (Status.BACKORDERED, ["SEA-1"])
    assert list(part.opened_parcels) == list(part.parcels) == []
    assert types(events) == ["shipment.backordered"]


def test_each_further_part_is_announced_and_the_whole_allocates() -> None:
    part = following.follow_stock(queued(), waiting(1, "SEA-1"), NOW)[0]

    more, events = following.follow_stock(part, waiting(2, "SEA-1", "PDX-1"), NOW)
    assert types(events) == ["shipment.backordered"]
    same, events = following.follow_stock(more, waiting(3, "SEA-1", "PDX-1"), NOW)
    assert types(events) == []
    whole, events = following.follow_stock(same, held(4, "SEA-1", "PDX-1"), NOW)

    assert types(events) == ["shipment.allocated"]
    assert [parcel.warehouse for parcel in whole.parcels] == ["SEA-1", "PDX-1"]


def test_a_label_that_nobody_began_to_give_back_serves_when_the_stock_returns() -> None:
    shipment = labeled(allocated())
    lost = following.follow_stock(shipment, waiting(2), NOW)[0]
    again = following.follow_stock(lost, held(3, "SEA-1"), NOW)[0]

    assert purchasing.next_parcel(again) is None
    ready, events = purchasing.finish_labels(again, NOW)

    assert ready.parcels[0].tracking_number == "T-1"
    assert types(events) == ["shipment.label_ready"]


def test_stock_that_moved_elsewhere_needs_a_label_from_there() -> None:
    shipment = labeled(allocated())

    moved, events = following.follow_stock(shipment, held(3, "PDX-1"), NOW)

    assert moved.status is Status.ALLOCATED
    assert [(p.warehouse, p.reference, p.label_status) for p in moved.parcels] == [
        ("PDX-1", "shp_1-2", LabelStatus.NONE)
    ]
    assert types(events) == ["shipment.allocated"]


@pytest.mark.parametrize("before", [queued(), short()], ids=lambda shipment: shipment.status)
def test_stock_that_was_picked_before_it_was_heard_of_allocates_the_shipment(before: Shipment) -> None:
    picked = replace(held(3, "SEA-1"), status=StockStatus.CONSUMED)

    shipment, events = following.follow_stock(before, picked, NOW)

    assert (shipment.status, shipment.allocations) == (Status.ALLOCATED, tuple(picked.held))
    assert types(events) == ["shipment.allocated"]


def test_picking_the_stock_of_a_shipment_with_its_label_is_heard_and_not_announced() -> None:
    ready = labeled(allocated())

    after, events = following.follow_stock(ready, replace(held(2, "SEA-1"), status=StockStatus.CONSUMED), NOW)

    assert (after.status, after.allocation_version, events) == (Status.LABEL_READY, 2, [])


@pytest.mark.parametrize("before", UNDER_WAY, ids=lambda shipment: shipment.status)
@pytest.mark.parametrize(
    ("ended", "code"), [(StockStatus.RELEASED, "stock_released"), (StockStatus.EXPIRED, "hold_expired")]
)
def test_a_shipment_whose_request_for_stock_was_ended_fails(before: Shipment, ended: StockStatus, code: str) -> None:
    shipment, events = following.follow_stock(before, Stock(ended, 2, ()), NOW)

    assert (shipment.status, shipment.allocations) == (Status.FAILED, ())
    assert shipment.error is not None
    assert shipment.error.code == code
    assert types(events) == ["shipment.failed"]


@pytest.mark.parametrize("before", UNDER_WAY, ids=lambda shipment: shipment.status)
def test_a_shipment_that_inventory_let_go_is_shipped_whatever_it_had_heard(before: Shipment) -> None:
    asked = following.ask_cancel(before, NOW)

    shipment, events = following.follow_stock(asked, held(2, "PDX-1", status=StockStatus.DISPATCHED), NOW)

    assert (shipment.status, shipment.cancel_asked_at) == (Status.SHIPPED, None)
    assert [line.warehouse for line in shipment.allocations] == ["PDX-1"]
    assert types(events) == ["shipment.shipped"]


@pytest.mark.parametrize("before", UNDER_WAY, ids=lambda shipment: shipment.status)
def test_stock_given_back_for_what_somebody_wanted_canceled_cancels_it(before: Shipment) -> None:
    asked = following.ask_cancel(before, NOW)
    assert (asked.status, asked.cancel_asked_at, asked.version) == (before.status, NOW, before.version + 1)

    shipment, events = following.follow_stock(asked, Stock(StockStatus.RELEASED, 2, ()), LATER)

    assert (shipment.status, shipment.allocations, shipment.error) == (Status.CANCELED, (), None)
    assert shipment.cancel_asked_at is None
    assert types(events) == ["shipment.canceled"]


def test_a_wish_is_written_down_once() -> None:
    asked = following.ask_cancel(allocated(), NOW)

    assert following.ask_cancel(asked, LATER) == asked


@pytest.mark.parametrize("status", [Status.SHIPPED, Status.DELIVERED, Status.CANCELED, Status.FAILED])
def test_what_has_left_or_ended_takes_no_wish(status: Status) -> None:
    shipment = replace(allocated(), status=status)

    assert following.ask_cancel(shipment, LATER) == shipment


@pytest.mark.parametrize("before", UNDER_WAY, ids=lambda shipment: shipment.status)
def test_what_expired_before_it_was_canceled_has_failed(before: Shipment) -> None:
    asked = following.ask_cancel(before, NOW)

    shipment, _ = following.follow_stock(asked, Stock(StockStatus.EXPIRED, 2, ()), LATER)

    assert (shipment.status, shipment.cancel_asked_at) == (Status.FAILED, None)


def test_the_arrival_of_every_parcel_delivers_once() -> None:
    shipped = following.follow_stock(labeled(allocated()), held(2, "SEA-1", status=StockStatus.DISPATCHED), NOW)[0]

    delivered, events = domain.deliver(shipped, LATER)

    assert delivered.status is Status.DELIVERED
    assert types(events) == ["shipment.delivered"]
    assert domain.deliver(delivered, LATER) == (delivered, [])
    assert domain.deliver(allocated(), LATER) == (allocated(), [])


def test_stock_that_is_scattered_over_more_places_than_an_event_can_hold_fails_the_shipment() -> None:
    whole, _ = following.follow_stock(queued(), scattered(domain.HELD_LINES_MAX), NOW)
    failed, events = following.follow_stock(queued(), scattered(domain.HELD_LINES_MAX + 1), NOW)

    assert whole.status is Status.ALLOCATED
    assert (failed.status, failed.allocations) == (Status.FAILED, ())
    assert failed.error is not None
    assert failed.error.code == "stock_scattered"
    assert types(events) == ["shipment.failed"]


def test_the_largest_shipment_there_can_be_fits_into_a_message() -> None:
    wide = "📦" * 100
    address = Address(wide, wide, wide, wide, wide, "📦" * 20, "US", Coordinates(-89.123456789, -179.123456789))
    lines = [Line("📦" * 64, QTY_MAX)] * LINES_MAX
    request = replace(REQUEST, order_id="x" * 64, ship_to=address, line_items=lines, carrier_hint="📦" * 64)
    requests.check(request, NOW)
    shipment, _ = domain.create(request, shipment_id=new_id("shp"), now=NOW)
    shipment = following.follow_stock(shipment, scattered(domain.HELD_LINES_MAX), NOW)[0]
    labels = {"label_status": LabelStatus.READY, "tracking_number": "📦" * TRACKING_NUMBER_LENGTH_MAX}
    parcels = [replace(parcel, **labels) for parcel in shipment.opened_parcels]  # type: ignore[arg-type]
    largest = replace(shipment, status=Status.LABEL_READY, opened_parcels=parcels)

    (event,) = ANNOUNCER.events([domain.ShipmentEvent("shipment.label_ready", largest)])

    assert event.ByteSize() < topology.SHIPMENTS.message_bytes_max


@pytest.mark.parametrize(
    "change",
    [
        lambda s: following.follow_stock(s, held(2, "PDX-1"), NOW)[0],
        lambda s: following.follow_stock(s, Stock(StockStatus.RELEASED, 2, ()), NOW)[0],
        buying,
        labeled,
    ],
)
def test_a_clock_that_was_read_too_early_does_not_turn_time_back(change: Callable[[Shipment], Shipment]) -> None:
    before = replace(allocated(), updated_at=LATER)

    assert change(before).updated_at == LATER


@pytest.mark.parametrize("status", [Status.SHIPPED, Status.DELIVERED, Status.CANCELED, Status.FAILED])
@pytest.mark.parametrize(
    "stock", [Stock(status, 9, [HeldLine("SKU-0042", "PDX-1", 1)]) for status in StockStatus], ids=lambda s: s.status
)
def test_what_has_left_or_ended_is_not_moved_by_its_stock(status: Status, stock: Stock) -> None:
    shipment = replace(allocated(), status=status)

    after, events = following.follow_stock(shipment, stock, NOW)

    assert (after.status, after.allocations, after.allocation_version) == (status, shipment.allocations, 9)
    assert events == []
