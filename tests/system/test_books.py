"""The checks that follow a storm find what they are there to find: each fault is planted once. Pure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.system.books import (
    Balance,
    Books,
    Entry,
    Hold,
    Parcel,
    Shipment,
    faults_of_events,
    faults_of_labels,
    faults_of_shipments,
    faults_of_the_ledger,
)
from tests.system.outboxes import Announced

NOON = datetime(2026, 4, 22, 12, tzinfo=UTC)
RECEIPT = Entry("inv_1", "A", "EAST", seq=1, qty=5, balance=5, created_at=NOON)
PICK = Entry("inv_2", "A", "EAST", seq=2, qty=-1, balance=4, created_at=NOON + timedelta(seconds=1))
HELD = {"sku": "A", "warehouse": "EAST", "qty": 3}
SHIPPED = Shipment("shp_1", "ord_1", "label_ready", [{"sku": "A", "qty": 3}], [HELD])
WAITING = Shipment("shp_2", "ord_2", "backordered", [{"sku": "A", "qty": 2}], [])
SOUND = Books(
    entries=[RECEIPT, PICK],
    balances=[Balance("A", "EAST", on_hand=4, held=3, seq=2)],
    holds=[Hold("shp_1", "A", "EAST", open=3)],
    shipments=[SHIPPED, WAITING],
    parcels=[Parcel("shp_1", "EAST", "ready", "SKTT1")],
    labels=1,
    announced=[Announced(f"evt_{number}", "inventory.updated", is_published=True) for number in (1, 2)],
    parked=0,
)
TOLD = {
    entry.id: {"sku": "A", "warehouse": "EAST", "qty": entry.qty, "balance": entry.balance} for entry in (RECEIPT, PICK)
}
DELIVERED = {
    f"evt_{number}": {"type": "inventory.updated", "data": {"id": entry.id}}
    for number, entry in enumerate((RECEIPT, PICK), start=1)
}


def test_sound_books_have_no_fault() -> None:
    assert [*faults_of_the_ledger(SOUND, TOLD), *faults_of_shipments(SOUND, ["shp_1", "shp_2"])] == []
    assert [*faults_of_labels(SOUND), *faults_of_events(SOUND, DELIVERED)] == []


@pytest.mark.parametrize(
    ("what", "books"),
    [
        ("a lost entry", replace(SOUND, entries=[RECEIPT])),
        ("a doubled entry", replace(SOUND, entries=[RECEIPT, PICK, replace(PICK, id="inv_3", seq=3, balance=3)])),
        ("a gap", replace(SOUND, entries=[RECEIPT, replace(PICK, seq=3)])),
        ("another balance than was told", replace(SOUND, entries=[RECEIPT, replace(PICK, balance=3)])),
        ("another quantity than was told", replace(SOUND, entries=[replace(RECEIPT, qty=6), PICK])),
        ("time that runs backwards", replace(SOUND, entries=[RECEIPT, replace(PICK, created_at=NOON - timedelta(1))])),
        ("a balance that is no sum", replace(SOUND, balances=[replace(SOUND.balances[0], on_hand=5)])),
        ("stock held twice", replace(SOUND, holds=[*SOUND.holds, Hold("shp_2", "A", "EAST", open=2)])),
        ("more held than there is", replace(SOUND, balances=[replace(SOUND.balances[0], held=5)],
                                            holds=[Hold("shp_1", "A", "EAST", open=5)])),
        ("a missing balance", replace(SOUND, balances=[])),
    ],
)  # fmt: skip
def test_the_ledger_check_finds(what: str, books: Books) -> None:
    assert [*faults_of_the_ledger(books, TOLD)], what


@pytest.mark.parametrize(
    ("what", "books"),
    [
        ("a lost shipment", replace(SOUND, shipments=[SHIPPED])),
        ("one that nobody asked for", replace(SOUND, shipments=[SHIPPED, WAITING, replace(WAITING, id="shp_3")])),
        ("one that is stuck", replace(SOUND, shipments=[replace(SHIPPED, status="allocated"), WAITING])),
        ("one that waits for stock that is there", replace(SOUND, balances=[replace(SOUND.balances[0], on_hand=9)])),
        ("stock that is not held", replace(SOUND, holds=[])),
        ("an orphan hold", replace(SOUND, holds=[*SOUND.holds, Hold("shp_2", "A", "EAST", open=1)])),
        ("a part of an order", replace(SOUND, shipments=[replace(SHIPPED, line_items=[HELD, HELD]), WAITING])),
        ("a hold for nobody", replace(SOUND, holds=[*SOUND.holds, Hold("shp_9", "A", "EAST", open=1)])),
        ("a missing label", replace(SOUND, parcels=[])),
    ],
)  # fmt: skip
def test_the_shipment_check_finds(what: str, books: Books) -> None:
    assert [*faults_of_shipments(books, ["shp_1", "shp_2"])], what


def test_the_label_check_finds_a_number_given_twice_and_a_label_too_many() -> None:
    twice = [*SOUND.parcels, Parcel("shp_2", "EAST", "ready", "SKTT1")]

    assert [*faults_of_labels(replace(SOUND, parcels=twice, labels=2))]
    assert [*faults_of_labels(replace(SOUND, labels=2))]


def test_the_event_check_finds_what_was_never_announced_or_never_delivered() -> None:
    one, two = SOUND.announced

    assert [*faults_of_events(SOUND, {"evt_1": DELIVERED["evt_1"]})]
    assert [*faults_of_events(replace(SOUND, announced=[one]), DELIVERED)]
    assert [*faults_of_events(replace(SOUND, announced=[one]), {"evt_1": DELIVERED["evt_1"]})]
    assert [*faults_of_events(replace(SOUND, announced=[one, replace(two, is_published=False)]), DELIVERED)]
    assert [
        *faults_of_events(replace(SOUND, announced=[replace(n, version=("shp_1", 2)) for n in (one, two)]), DELIVERED)
    ]
    assert [*faults_of_events(replace(SOUND, parked=1), DELIVERED)]
