"""The life of a shipment, as a table, and what its stock and its labels do to it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chassis.errors import Fault
from chassis.ids import new_id
from services.shipments import domain, purchasing, requests, topology
from services.shipments.carriers.port import TRACKING_NUMBER_LENGTH_MAX
from services.shipments.domain import (
    TRANSITIONS,
    Address,
    Attempt,
    Fact,
    Failure,
    HeldLine,
    LabelStatus,
    Line,
    Shipment,
    ShipmentRequest,
    Status,
    Stock,
    StockStatus,
)
from services.shipments.requests import LINES_MAX, QTY_MAX
from tests.shipments.conftest import ANNOUNCER

NOW = datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
ADA = Address("Ada Lovelace", "1 Shoreline Dr", None, "Seattle", "WA", "98101", "US")
REQUEST = ShipmentRequest("acc_1:test", "ord_1", ADA, (Line("SKU-0042", 2),), "ups_ground")
LOST = Failure("carrier_unavailable", "down")


def queued() -> Shipment:
    return domain.create(REQUEST, shipment_id="shp_1", now=NOW)[0]


def held(version: int, *warehouses: str) -> Stock:
    return Stock(StockStatus.HELD, version, [HeldLine("SKU-0042", warehouse, 1) for warehouse in warehouses])


def waiting(version: int) -> Stock:
    return Stock(StockStatus.WAITING, version, ())


def allocated(*warehouses: str) -> Shipment:
    return domain.follow_stock(queued(), held(1, *warehouses or ("SEA-1",)), NOW)[0]


def buying(shipment: Shipment, warehouse: str = "SEA-1", *, try_id: str = "att_1", now: datetime = NOW) -> Shipment:
    return purchasing.begin_purchase(
        shipment, warehouse, try_id=try_id, leased_until=now + timedelta(seconds=10), now=now
    )


def labeled(shipment: Shipment, *warehouses: str) -> Shipment:
    for warehouse in warehouses:
        shipment = buying(shipment, warehouse)
        shipment = purchasing.keep_label(
            shipment, warehouse, tracking_number=f"T-{warehouse}", carrier="sandbox", service="ground", now=NOW
        )[0]
    return shipment


def scattered(lines: int) -> Stock:
    """Held in so many warehouses with the longest names there are."""
    return Stock(StockStatus.HELD, 1, [HeldLine("📦" * 64, f"{n:04}" + "📦" * 60, 10**11) for n in range(lines)])


def types(events: Sequence[domain.ShipmentEvent]) -> list[str]:
    return [event.type for event in events]


ALLOWED = [
    ("queued", "stock_held", "allocated"),
    ("queued", "stock_waiting", "backordered"),
    ("queued", "stock_failed", "failed"),
    ("queued", "canceled", "canceled"),
    ("backordered", "stock_held", "allocated"),
    ("backordered", "stock_waiting", "backordered"),
    ("backordered", "stock_failed", "failed"),
    ("backordered", "canceled", "canceled"),
    ("allocated", "labels_ready", "label_ready"),
    ("allocated", "carrier_failed", "failed"),
    ("allocated", "canceled", "canceled"),
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

    shipment, events = domain.follow_stock(queued(), stock, LATER)

    assert (shipment.status, shipment.version, shipment.updated_at) == (Status.ALLOCATED, 2, LATER)
    assert [(p.warehouse, p.reference) for p in shipment.parcels] == [("SEA-1", "shp_1-1"), ("PDX-1", "shp_1-2")]
    assert types(events) == ["shipment.allocated"]
    assert events[0].shipment == shipment


def test_missing_stock_backorders_until_it_arrives() -> None:
    short, events = domain.follow_stock(queued(), waiting(1), NOW)
    assert types(events) == ["shipment.backordered"]

    arrived, events = domain.follow_stock(short, held(2, "SEA-1"), NOW)
    assert arrived.status is Status.ALLOCATED
    assert types(events) == ["shipment.allocated"]


@pytest.mark.parametrize("stock", [held(3, "PDX-1"), waiting(3), held(2, "PDX-1"), waiting(1)])
def test_news_that_is_not_newer_changes_nothing(stock: Stock) -> None:
    shipment = domain.follow_stock(queued(), held(3, "SEA-1"), NOW)[0]

    assert domain.follow_stock(shipment, stock, LATER) == (shipment, [])


def test_waiting_that_goes_on_is_heard_and_not_announced() -> None:
    short = domain.follow_stock(queued(), waiting(1), NOW)[0]

    still, events = domain.follow_stock(short, waiting(3), NOW)

    assert (still.status, still.allocation_version, still.version) == (Status.BACKORDERED, 3, short.version + 1)
    assert events == []


@pytest.mark.parametrize("has_label", [False, True])
def test_stock_that_is_taken_away_backorders_again(has_label: bool) -> None:
    shipment = labeled(allocated(), "SEA-1") if has_label else allocated()

    short, events = domain.follow_stock(shipment, waiting(2), NOW)

    assert (short.status, list(short.allocations), list(short.parcels)) == (Status.BACKORDERED, [], [])
    assert types(events) == ["shipment.backordered"]


def test_a_label_outlives_the_loss_of_its_stock_and_serves_when_the_stock_returns() -> None:
    shipment = labeled(allocated(), "SEA-1")
    short = domain.follow_stock(shipment, waiting(2), NOW)[0]
    again = domain.follow_stock(short, held(3, "SEA-1"), NOW)[0]

    assert purchasing.next_parcel(again) is None
    ready, events = purchasing.finish_labels(again, NOW)

    assert ready.parcels[0].tracking_number == "T-SEA-1"
    assert types(events) == ["shipment.label_ready"]


def test_stock_that_moved_elsewhere_needs_a_label_from_there() -> None:
    shipment = labeled(allocated(), "SEA-1")

    moved, events = domain.follow_stock(shipment, held(3, "PDX-1"), NOW)

    assert moved.status is Status.ALLOCATED
    assert [(p.warehouse, p.reference, p.label_status) for p in moved.parcels] == [
        ("PDX-1", "shp_1-2", LabelStatus.NONE)
    ]
    assert types(events) == ["shipment.allocated"]


@pytest.mark.parametrize("before", [queued(), domain.follow_stock(queued(), waiting(1), NOW)[0]])
def test_stock_that_was_picked_before_it_was_heard_of_allocates_the_shipment(before: Shipment) -> None:
    picked = replace(held(3, "SEA-1"), status=StockStatus.CONSUMED)

    shipment, events = domain.follow_stock(before, picked, NOW)

    assert (shipment.status, shipment.allocations) == (Status.ALLOCATED, tuple(picked.held))
    assert types(events) == ["shipment.allocated"]


def test_picking_the_stock_of_a_shipment_with_its_label_is_heard_and_not_announced() -> None:
    ready = labeled(allocated(), "SEA-1")

    after, events = domain.follow_stock(ready, replace(held(2, "SEA-1"), status=StockStatus.CONSUMED), NOW)

    assert (after.status, after.allocation_version, events) == (Status.LABEL_READY, 2, [])


@pytest.mark.parametrize(
    "before",
    [queued(), domain.follow_stock(queued(), waiting(1), NOW)[0], allocated(), labeled(allocated(), "SEA-1")],
    ids=lambda shipment: shipment.status,
)
def test_a_shipment_whose_request_for_stock_was_ended_fails(before: Shipment) -> None:
    shipment, events = domain.follow_stock(before, Stock(StockStatus.RELEASED, 2, ()), NOW)

    assert (shipment.status, shipment.allocations) == (Status.FAILED, ())
    assert shipment.error is not None
    assert shipment.error.code == "stock_released"
    assert types(events) == ["shipment.failed"]


def test_stock_that_is_scattered_over_more_places_than_an_event_can_hold_fails_the_shipment() -> None:
    whole, _ = domain.follow_stock(queued(), scattered(domain.HELD_LINES_MAX), NOW)
    failed, events = domain.follow_stock(queued(), scattered(domain.HELD_LINES_MAX + 1), NOW)

    assert whole.status is Status.ALLOCATED
    assert (failed.status, failed.allocations) == (Status.FAILED, ())
    assert failed.error is not None
    assert failed.error.code == "stock_scattered"
    assert types(events) == ["shipment.failed"]


def test_the_largest_shipment_there_can_be_fits_into_a_message() -> None:
    wide = "📦" * 100
    address = Address(wide, wide, wide, wide, wide, "📦" * 20, "US")
    lines = [Line("📦" * 64, QTY_MAX)] * LINES_MAX
    request = replace(REQUEST, order_id="x" * 64, ship_to=address, line_items=lines, carrier_hint="📦" * 64)
    requests.check(request)
    shipment, _ = domain.create(request, shipment_id=new_id("shp"), now=NOW)
    shipment = domain.follow_stock(shipment, scattered(domain.HELD_LINES_MAX), NOW)[0]
    labels = {"label_status": LabelStatus.READY, "tracking_number": "📦" * TRACKING_NUMBER_LENGTH_MAX}
    parcels = [replace(parcel, **labels) for parcel in shipment.opened_parcels]  # type: ignore[arg-type]
    largest = replace(shipment, status=Status.LABEL_READY, opened_parcels=parcels)

    (event,) = ANNOUNCER.events([domain.ShipmentEvent("shipment.label_ready", largest)])

    assert event.ByteSize() < topology.SHIPMENTS.message_bytes_max


@pytest.mark.parametrize(
    "change",
    [
        lambda s: domain.follow_stock(s, held(2, "PDX-1"), NOW)[0],
        lambda s: domain.follow_stock(s, Stock(StockStatus.RELEASED, 2, ()), NOW)[0],
        buying,
        lambda s: labeled(s, "SEA-1"),
    ],
)
def test_a_clock_that_was_read_too_early_does_not_turn_time_back(change: Callable[[Shipment], Shipment]) -> None:
    before = replace(allocated(), updated_at=LATER)

    assert change(before).updated_at == LATER


@pytest.mark.parametrize("status", [Status.SHIPPED, Status.DELIVERED, Status.CANCELED, Status.FAILED])
@pytest.mark.parametrize(
    "stock", [held(9, "PDX-1"), waiting(9), *(Stock(s, 9, ()) for s in (StockStatus.CONSUMED, StockStatus.RELEASED))]
)
def test_what_has_left_or_ended_is_not_moved_by_its_stock(status: Status, stock: Stock) -> None:
    shipment = replace(allocated(), status=status)

    after, events = domain.follow_stock(shipment, stock, NOW)

    assert (after.status, after.allocations, after.allocation_version) == (status, shipment.allocations, 9)
    assert events == []


def test_a_shipment_is_label_ready_only_when_every_parcel_has_its_label() -> None:
    first = labeled(allocated("SEA-1", "PDX-1"), "SEA-1")
    assert first.status is Status.ALLOCATED
    assert purchasing.next_parcel(first) == first.parcel("PDX-1")

    second, events = purchasing.keep_label(
        buying(first, "PDX-1"), "PDX-1", tracking_number="T-2", carrier="sandbox", service="ground", now=LATER
    )

    assert second.status is Status.LABEL_READY
    assert [p.tracking_number for p in second.parcels] == ["T-SEA-1", "T-2"]
    assert (second.carrier, second.service) == ("sandbox", "ground")
    assert types(events) == ["shipment.label_ready"]


@pytest.mark.parametrize(
    ("label_status", "sent_at"),
    [(LabelStatus.UNKNOWN, NOW), (LabelStatus.NONE, LATER)],
    ids=["what may be bought is looked up first", "what was not bought is sent at once"],
)
def test_a_further_try_has_its_own_lease_and_keeps_the_key_and_the_beginning(
    label_status: LabelStatus, sent_at: datetime
) -> None:
    first = buying(allocated())
    put_off = purchasing.put_off_purchase(first, "SEA-1", LOST, label_status, LATER)[0]

    second = buying(put_off, try_id="att_2", now=LATER)

    parcel = second.parcel("SEA-1")
    assert parcel.label_status is LabelStatus.PURCHASING
    assert parcel.attempt == Attempt(
        "att_1",
        "att_2",
        began_at=NOW,
        tried_at=LATER,
        leased_until=LATER + timedelta(seconds=10),
        sent_at=sent_at,
    )
    assert purchasing.is_latest_try(second, "SEA-1", "att_2")
    assert not purchasing.is_latest_try(second, "SEA-1", "att_1")


def test_a_label_that_comes_after_the_stock_was_lost_is_kept() -> None:
    short = domain.follow_stock(buying(allocated()), waiting(2), NOW)[0]

    kept, events = purchasing.keep_label(
        short, "SEA-1", tracking_number="T-1", carrier="sandbox", service="ground", now=NOW
    )

    assert kept.status is Status.BACKORDERED
    assert kept.parcel("SEA-1").tracking_number == "T-1"
    assert events == []


def test_a_refusal_fails_the_shipment_with_the_carriers_words_and_lets_go_of_the_stock() -> None:
    refused = Failure("address_rejected", "No such street.")

    failed, events = purchasing.fail(buying(allocated()), "SEA-1", refused, LabelStatus.NONE, NOW)

    assert (failed.status, failed.error, list(failed.allocations)) == (Status.FAILED, refused, [])
    assert types(events) == ["shipment.failed"]


def test_a_refusal_that_comes_after_the_stock_was_lost_only_ends_the_attempt() -> None:
    short = domain.follow_stock(buying(allocated()), waiting(2), NOW)[0]

    after, events = purchasing.fail(short, "SEA-1", Failure("address_rejected", "No."), LabelStatus.NONE, NOW)

    assert (after.status, after.error) == (Status.BACKORDERED, None)
    assert after.parcel("SEA-1").attempt is None
    assert events == []


def test_trouble_is_waited_out_for_minutes_and_then_fails_the_shipment() -> None:
    trying = buying(allocated())
    patience_ends = NOW + purchasing.PATIENCE

    put_off, events = purchasing.put_off_purchase(
        trying, "SEA-1", LOST, LabelStatus.NONE, patience_ends - timedelta(seconds=1)
    )
    assert (put_off.status, events) == (Status.ALLOCATED, [])

    failed, events = purchasing.put_off_purchase(put_off, "SEA-1", LOST, LabelStatus.NONE, patience_ends)
    assert (failed.status, failed.error) == (Status.FAILED, LOST)
    assert types(events) == ["shipment.failed"]


def test_patience_is_counted_over_tries_and_not_over_the_time_in_which_nobody_tried() -> None:
    trying = buying(allocated())
    tried_at = NOW + timedelta(hours=1)

    again = buying(trying, now=tried_at).parcel("SEA-1").attempt

    assert again is not None
    assert again.began_at == tried_at - purchasing.BETWEEN_TRIES_MAX


def test_an_attempt_is_not_given_up_while_the_stock_is_away() -> None:
    short = domain.follow_stock(buying(allocated()), waiting(2), NOW)[0]

    late = NOW + 2 * purchasing.PATIENCE
    after, events = purchasing.put_off_purchase(short, "SEA-1", LOST, LabelStatus.UNKNOWN, late)

    parcel = after.parcel("SEA-1")
    assert (after.status, parcel.label_status, events) == (Status.BACKORDERED, LabelStatus.UNKNOWN, [])
    assert parcel.attempt is not None
    assert parcel.attempt.key == "att_1"


def test_every_change_raises_the_version_by_one() -> None:
    shipment = queued()
    versions = [shipment.version]
    for change in (
        lambda s: domain.follow_stock(s, held(1, "SEA-1"), NOW)[0],
        buying,
        lambda s: purchasing.put_off_purchase(s, "SEA-1", LOST, LabelStatus.NONE, NOW)[0],
        buying,
        lambda s: purchasing.keep_label(s, "SEA-1", tracking_number="T", carrier="c", service="s", now=NOW)[0],
        lambda s: domain.follow_stock(s, waiting(2), NOW)[0],
    ):
        shipment = change(shipment)
        versions.append(shipment.version)

    assert versions == [1, 2, 3, 4, 5, 6, 7]
