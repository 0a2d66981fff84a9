"""The states of a label, as a table, and what buying and giving back do to them."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from services.shipments import domain, following, purchasing, voiding
from services.shipments.domain import (
    LABEL_TRANSITIONS,
    Attempt,
    Decision,
    Failure,
    LabelFact,
    LabelStatus,
    Shipment,
    Status,
    Stock,
    StockStatus,
)
from tests.shipments.lives import LATER, LEASE, LOST, NOW, allocated, buying, held, labeled, queued, types, waiting

REFUSED = Failure("address_rejected", "No such street.")

ALLOWED = [
    ("none", "to_be_bought", "purchasing"),
    ("none", "bought", "ready"),
    ("none", "not_bought", "none"),
    ("purchasing", "to_be_bought", "purchasing"),
    ("purchasing", "bought", "ready"),
    ("purchasing", "not_bought", "none"),
    ("purchasing", "unclear", "unknown"),
    ("unknown", "to_be_bought", "purchasing"),
    ("unknown", "bought", "ready"),
    ("unknown", "not_bought", "none"),
    ("unknown", "unclear", "unknown"),
    ("ready", "to_be_voided", "voiding"),
    ("voiding", "to_be_voided", "voiding"),
    ("voiding", "voided", "voided"),
    ("voiding", "not_taken_back", "ready"),
]


@pytest.mark.parametrize("fact", LabelFact)
@pytest.mark.parametrize("label_status", LabelStatus)
def test_a_label_changes_by_the_table_and_by_nothing_else(label_status: LabelStatus, fact: LabelFact) -> None:
    after = {fact_: to for from_, fact_, to in ALLOWED if from_ == label_status}.get(fact)

    if after is not None:
        assert domain.label_step(label_status, fact) == after
    else:
        with pytest.raises(KeyError):
            domain.label_step(label_status, fact)


def test_every_state_of_a_label_has_its_row() -> None:
    assert set(LABEL_TRANSITIONS) == set(LabelStatus)


def backordered(shipment: Shipment, version: int = 2) -> Shipment:
    return following.follow_stock(shipment, waiting(version), NOW)[0]


def canceled(shipment: Shipment) -> Shipment:
    return following.follow_stock(following.ask_cancel(shipment, NOW), Stock(StockStatus.RELEASED, 9, ()), NOW)[0]


def dispatched(shipment: Shipment, *warehouses: str) -> Shipment:
    stock = held(9, *warehouses or ("SEA-1",), status=StockStatus.DISPATCHED)
    return following.follow_stock(shipment, stock, NOW)[0]


def failed(shipment: Shipment, number: int = 1) -> Shipment:
    return purchasing.fail(buying(shipment, number), number, REFUSED, LabelFact.NOT_BOUGHT, NOW)[0]


def unknown(shipment: Shipment) -> Shipment:
    return purchasing.put_off_purchase(buying(shipment), 1, LOST, LabelFact.UNCLEAR, NOW)[0]


def voiding_(shipment: Shipment, *, try_id: str = "att_v") -> Shipment:
    return voiding.begin_void(shipment, 1, try_id=try_id, leased_until=NOW + LEASE, now=NOW)


def voided(shipment: Shipment) -> Shipment:
    return voiding.close_void(voiding_(shipment), 1, NOW)


def test_a_shipment_is_label_ready_only_when_every_parcel_has_its_label() -> None:
    first = labeled(allocated("SEA-1", "PDX-1"), 1)
    assert first.status is Status.ALLOCATED
    assert purchasing.next_parcel(first) == first.parcel(2)

    second, events = purchasing.keep_label(
        buying(first, 2), 2, tracking_number="T-2", carrier="sandbox", service="ground", now=LATER
    )

    assert second.status is Status.LABEL_READY
    assert [p.tracking_number for p in second.parcels] == ["T-1", "T-2"]
    assert (second.carrier, second.service) == ("sandbox", "ground")
    assert types(events) == ["shipment.label_ready"]


@pytest.mark.parametrize(
    ("outcome", "sent_at"),
    [(LabelFact.UNCLEAR, NOW), (LabelFact.NOT_BOUGHT, LATER)],
    ids=["what may be bought is looked up first", "what was not bought is sent at once"],
)
def test_a_further_try_has_its_own_lease_and_keeps_the_key_and_the_beginning(
    outcome: LabelFact, sent_at: datetime
) -> None:
    first = buying(allocated())
    put_off = purchasing.put_off_purchase(first, 1, LOST, outcome, LATER)[0]

    second = buying(put_off, try_id="att_2", now=LATER)

    parcel = second.parcel(1)
    assert parcel.label_status is LabelStatus.PURCHASING
    assert parcel.attempt == Attempt(
        "att_1",
        "att_2",
        began_at=NOW,
        tried_at=LATER,
        leased_until=LATER + timedelta(seconds=10),
        sent_at=sent_at,
    )
    assert purchasing.is_latest_try(second, 1, "att_2")
    assert not purchasing.is_latest_try(second, 1, "att_1")


def test_a_label_that_comes_after_the_stock_was_lost_is_kept() -> None:
    short = following.follow_stock(buying(allocated()), waiting(2), NOW)[0]

    kept, events = purchasing.keep_label(short, 1, tracking_number="T-1", carrier="sandbox", service="ground", now=NOW)

    assert kept.status is Status.BACKORDERED
    assert kept.parcel(1).tracking_number == "T-1"
    assert events == []


def test_a_refusal_fails_the_shipment_with_the_carriers_words_and_lets_go_of_the_stock() -> None:
    failed, events = purchasing.fail(buying(allocated()), 1, REFUSED, LabelFact.NOT_BOUGHT, NOW)

    assert (failed.status, failed.error, list(failed.allocations)) == (Status.FAILED, REFUSED, [])
    assert types(events) == ["shipment.failed"]


def test_a_refusal_that_comes_after_the_stock_was_lost_only_ends_the_attempt() -> None:
    short = following.follow_stock(buying(allocated()), waiting(2), NOW)[0]

    after, events = purchasing.fail(short, 1, REFUSED, LabelFact.NOT_BOUGHT, NOW)

    assert (after.status, after.error) == (Status.BACKORDERED, None)
    assert after.parcel(1).attempt is None
    assert events == []


def test_trouble_is_waited_out_for_minutes_and_then_fails_the_shipment() -> None:
    trying = buying(allocated())
    patience_ends = NOW + purchasing.PATIENCE

    put_off, events = purchasing.put_off_purchase(
        trying, 1, LOST, LabelFact.NOT_BOUGHT, patience_ends - timedelta(seconds=1)
    )
    assert (put_off.status, events) == (Status.ALLOCATED, [])

    failed, events = purchasing.put_off_purchase(put_off, 1, LOST, LabelFact.NOT_BOUGHT, patience_ends)
    assert (failed.status, failed.error) == (Status.FAILED, LOST)
    assert types(events) == ["shipment.failed"]


def test_patience_is_counted_over_tries_and_not_over_the_time_in_which_nobody_tried() -> None:
    trying = buying(allocated())
    tried_at = NOW + timedelta(hours=1)

    again = buying(trying, now=tried_at).parcel(1).attempt

    assert again is not None
    assert again.began_at == tried_at - purchasing.BETWEEN_TRIES_MAX


def test_an_attempt_is_not_given_up_while_the_stock_is_away() -> None:
    short = following.follow_stock(buying(allocated()), waiting(2), NOW)[0]

    late = NOW + 2 * purchasing.PATIENCE
    after, events = purchasing.put_off_purchase(short, 1, LOST, LabelFact.UNCLEAR, late)

    parcel = after.parcel(1)
    assert (after.status, parcel.label_status, events) == (Status.BACKORDERED, LabelStatus.UNKNOWN, [])
    assert parcel.attempt is not None
    assert parcel.attempt.key == "att_1"


def test_every_change_raises_the_version_by_one_and_is_announced_with_it() -> None:
    """Whoever hears of two changes tells by the version which is the later."""
    shipment = queued()
    versions, told = [shipment.version], []
    changes: list[Callable[[Shipment], Decision]] = [
        lambda s: following.follow_stock(s, held(1, "SEA-1"), NOW),
        lambda s: (buying(s), []),
        lambda s: purchasing.put_off_purchase(s, 1, LOST, LabelFact.NOT_BOUGHT, NOW),
        lambda s: (buying(s), []),
        lambda s: purchasing.keep_label(s, 1, tracking_number="T", carrier="c", service="s", now=NOW),
        lambda s: following.follow_stock(s, waiting(2), NOW),
        lambda s: following.follow_stock(s, held(3, "SEA-1"), NOW),
        lambda s: purchasing.finish_labels(s, NOW),
        lambda s: following.follow_stock(s, held(4, "SEA-1", status=StockStatus.DISPATCHED), NOW),
        lambda s: domain.deliver(s, NOW),
    ]
    for change in changes:
        shipment, events = change(shipment)
        versions.append(shipment.version)
        told += [(event.type.removeprefix("shipment."), event.shipment.version) for event in events]

    assert versions == list(range(1, 12))
    assert told == [
        ("allocated", 2),
        ("label_ready", 6),
        ("backordered", 7),
        ("allocated", 8),
        ("label_ready", 9),
        ("shipped", 10),
        ("delivered", 11),
    ]


WAYS_TO_BE_OF_NO_USE: list[Callable[[Shipment], Shipment]] = [
    backordered,
    canceled,
    lambda s: following.follow_stock(s, Stock(StockStatus.EXPIRED, 9, ()), NOW)[0],
    lambda s: following.follow_stock(s, held(9, "PDX-1"), NOW)[0],
    lambda s: dispatched(s, "PDX-1"),
]


@pytest.mark.parametrize("lose_use", WAYS_TO_BE_OF_NO_USE)
def test_a_label_under_which_no_goods_will_leave_is_to_be_given_back(lose_use: Callable[[Shipment], Shipment]) -> None:
    labeled_ = labeled(allocated())
    assert voiding.next_parcel(labeled_) is None

    useless = lose_use(labeled_)

    assert voiding.next_parcel(useless) == useless.parcel(1)


@pytest.mark.parametrize("lose_use", WAYS_TO_BE_OF_NO_USE)
@pytest.mark.parametrize("begin", [buying, unknown], ids=["purchasing", "unknown"])
def test_what_may_have_been_bought_is_looked_for(
    begin: Callable[[Shipment], Shipment], lose_use: Callable[[Shipment], Shipment]
) -> None:
    begun = begin(allocated())
    assert voiding.next_parcel(begun) is None

    useless = lose_use(begun)

    assert voiding.next_parcel(useless) == useless.parcel(1)


@pytest.mark.parametrize("use", [lambda s: s, dispatched, lambda s: domain.deliver(dispatched(s), NOW)[0]])
def test_a_label_that_goods_leave_under_is_nobodys_to_give_back(use: Callable[[Shipment], Shipment]) -> None:
    assert voiding.next_parcel(use(labeled(allocated()))) is None


def test_the_labels_of_a_shipment_that_failed_for_another_parcel_are_given_back() -> None:
    one_of_two = failed(labeled(allocated("SEA-1", "PDX-1"), 1), 2)

    assert voiding.next_parcel(one_of_two) == one_of_two.parcel(1)
    assert voiding.next_parcel(voided(one_of_two)) is None


def test_what_may_be_bought_when_patience_ends_is_still_looked_for() -> None:
    late = NOW + purchasing.PATIENCE

    given_up = purchasing.put_off_purchase(buying(allocated()), 1, LOST, LabelFact.UNCLEAR, late)[0]

    parcel = given_up.parcel(1)
    assert (given_up.status, parcel.label_status) == (Status.FAILED, LabelStatus.UNKNOWN)
    assert parcel.attempt is not None
    assert (parcel.attempt.sent_at, parcel.attempt.leased_until) == (NOW, late)
    assert voiding.next_parcel(given_up) == parcel


def test_a_void_is_written_down_with_a_lease_of_its_own_before_the_carrier_hears_of_it() -> None:
    parcel = voiding_(canceled(labeled(allocated()))).parcel(1)

    assert (parcel.label_status, parcel.tracking_number) == (LabelStatus.VOIDING, "T-1")
    assert parcel.attempt == Attempt("att_v", "att_v", NOW, NOW, leased_until=NOW + LEASE, sent_at=NOW)


def test_a_label_that_was_taken_back_keeps_its_number_and_is_at_rest() -> None:
    closed = voided(canceled(labeled(allocated())))

    parcel = closed.parcel(1)
    assert (parcel.label_status, parcel.tracking_number, parcel.attempt) == (LabelStatus.VOIDED, "T-1", None)
    assert voiding.next_parcel(closed) is None


def test_a_label_that_is_not_taken_back_stays_ready_and_is_not_asked_for_again() -> None:
    refused = voiding.refuse_void(voiding_(canceled(labeled(allocated()))), 1, LATER)

    parcel = refused.parcel(1)
    assert (parcel.label_status, parcel.void_refused_at, parcel.attempt) == (LabelStatus.READY, LATER, None)
    assert voiding.next_parcel(refused) is None


def test_a_void_that_settled_nothing_is_free_for_the_next_taker() -> None:
    free = voiding.put_off(voiding_(canceled(labeled(allocated()))), 1, LATER)

    again = voiding.begin_void(free, 1, try_id="att_2", leased_until=LATER + LEASE, now=LATER).parcel(1)

    assert free.parcel(1).attempt is not None
    assert voiding.next_parcel(free) == free.parcel(1)
    assert again.attempt is not None
    assert (again.attempt.key, again.attempt.try_id) == ("att_v", "att_2")


def test_of_several_labels_the_one_that_was_tried_longest_ago_comes_first() -> None:
    two = canceled(labeled(allocated("SEA-1", "PDX-1"), 1, 2))

    in_trouble = voiding.put_off(voiding_(two), 1, LATER)

    assert voiding.next_parcel(in_trouble) == in_trouble.parcel(2)


def test_a_purchase_that_is_looked_for_is_taken_from_whoever_was_at_it() -> None:
    looked_for = voiding.begin_search(
        canceled(buying(allocated())), 1, try_id="att_s", leased_until=LATER + LEASE, now=LATER
    )

    parcel = looked_for.parcel(1)
    assert parcel.label_status is LabelStatus.UNKNOWN
    assert parcel.attempt is not None
    assert (parcel.attempt.key, parcel.attempt.sent_at) == ("att_1", NOW)
    assert not purchasing.is_latest_try(looked_for, 1, "att_1")


def test_a_purchase_that_was_not_made_is_closed_and_keeps_its_key() -> None:
    closed = voiding.close_search(canceled(buying(allocated())), 1, LATER)

    parcel = closed.parcel(1)
    assert parcel.label_status is LabelStatus.NONE
    assert parcel.attempt is not None
    assert (parcel.attempt.key, parcel.attempt.sent_at) == ("att_1", None)
    assert voiding.next_parcel(closed) is None


def test_a_label_that_comes_after_the_cancel_is_kept_and_then_given_back() -> None:
    late, events = purchasing.keep_label(
        canceled(buying(allocated())), 1, tracking_number="T-1", carrier="sandbox", service="ground", now=NOW
    )

    assert (late.status, events) == (Status.CANCELED, [])
    assert voiding.next_parcel(late) == late.parcel(1)


@pytest.mark.parametrize("begin", [voiding_, voided], ids=["voiding", "voided"])
def test_stock_that_comes_back_after_giving_back_began_opens_another_parcel(
    begin: Callable[[Shipment], Shipment],
) -> None:
    lost = begin(backordered(labeled(allocated("SEA-1", "PDX-1"), 1, 2)))

    again = following.follow_stock(lost, held(3, "SEA-1", "PDX-1"), LATER)[0]

    assert [(p.number, p.warehouse, p.reference) for p in again.parcels] == [
        (3, "SEA-1", "shp_1-3"),
        (2, "PDX-1", "shp_1-2"),
    ]
    assert purchasing.next_parcel(again) == again.parcel(3)


def test_no_label_is_bought_for_what_somebody_wants_canceled_and_no_trouble_fails_it() -> None:
    asked = following.ask_cancel(buying(allocated()), NOW)

    refused, events = purchasing.fail(asked, 1, REFUSED, LabelFact.NOT_BOUGHT, LATER)

    assert purchasing.next_parcel(asked) is None
    assert (refused.status, refused.parcel(1).label_status, events) == (Status.ALLOCATED, LabelStatus.NONE, [])


@pytest.mark.parametrize(
    ("shipment", "shown"),
    [
        (allocated(), ["none"]),
        (backordered(labeled(allocated())), []),
        (canceled(allocated()), []),
        (canceled(labeled(allocated())), ["ready"]),
        (voiding_(canceled(labeled(allocated()))), ["voiding"]),
        (voided(canceled(labeled(allocated()))), ["voided"]),
        (failed(labeled(allocated("SEA-1", "PDX-1"), 1), 2), ["ready"]),
        (following.follow_stock(voided(backordered(labeled(allocated()))), held(3, "SEA-1"), NOW)[0], ["none"]),
    ],
)
def test_a_reader_sees_the_current_parcels_and_after_an_end_what_became_of_the_labels(
    shipment: Shipment, shown: list[str]
) -> None:
    assert [parcel.label_status for parcel in shipment.parcels] == shown


def test_there_is_a_label_document_only_while_every_current_parcel_has_its_page() -> None:
    two = allocated("SEA-1", "PDX-1")

    assert [labeled(two, 1).has_labels, labeled(two, 1, 2).has_labels] == [False, True]
    assert dispatched(labeled(allocated())).has_labels
    assert not dispatched(labeled(allocated()), "PDX-1").has_labels
    assert not backordered(labeled(allocated())).has_labels
    assert not canceled(labeled(allocated())).has_labels
