"""The checks that follow a death find what they are there to find: each fault is planted once. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.system.books import Balance, Books, Entry, Hold, Parcel, Shipment
from tests.system.rest import (
    faults_of_ends,
    faults_of_entries,
    faults_of_holds,
    faults_of_lines,
    faults_of_picks,
    faults_of_sales,
)

NOON = datetime(2026, 4, 22, 12, tzinfo=UTC)
RECEIPT = Entry("inv_1", "A", "EAST", seq=1, qty=5, balance=5, created_at=NOON)
PICK = Entry("inv_2", "A", "EAST", seq=2, qty=-2, balance=3, created_at=NOON, reference="shp_1")
LEFT = Shipment("shp_1", "ord_1", "delivered", [_two := {"sku": "A", "qty": 2}], [{**_two, "warehouse": "EAST"}])
CANCELED = Shipment("shp_2", "ord_1", "canceled", [_two], [])
WAITING = Shipment("shp_3", "ord_2", "backordered", [_two], [{"sku": "A", "warehouse": "EAST", "qty": 1}])
READY = Parcel("shp_1", "EAST", "ready", "SKTT1", reference="shp_1-1")
VOIDED = Parcel("shp_2", "EAST", "voided", "SKTT2", reference="shp_2-1")
SOUND = Books(
    entries=[RECEIPT, PICK],
    balances=[Balance("A", "EAST", on_hand=3, held=1, seq=2)],
    holds=[Hold("shp_1", "A", "EAST", open=0), Hold("shp_3", "A", "EAST", open=1)],
    shipments=[LEFT, CANCELED, WAITING],
    parcels=[READY, VOIDED],
    labels=2,
    announced=[],
    parked=0,
)
ENDS = {"shp_1": "delivered", "shp_2": "canceled", "shp_3": "backordered"}
SALES = {"shp_1-1": (1, 0), "shp_2-1": (1, 1)}
LINES = {
    "ord_1": {"A": {"ordered": 4, "waiting": 0, "allocated": 0, "shipped": 2, "canceled": 2}},
    "ord_2": {"A": {"ordered": 2, "waiting": 1, "allocated": 1, "shipped": 0, "canceled": 0}},
}


def faults(books: Books) -> list[str]:
    return [
        *faults_of_entries(books, {"inv_1": {}}),
        *faults_of_ends(books, ENDS),
        *faults_of_picks(books),
        *faults_of_holds(books),
    ]


def test_what_is_at_rest_has_no_fault() -> None:
    assert [*faults(SOUND), *faults_of_sales(SOUND, SALES), *faults_of_lines(SOUND, LINES)] == []


@pytest.mark.parametrize(
    ("what", "books"),
    [
        ("a lost receipt", replace(SOUND, entries=[PICK])),
        ("a doubled receipt", replace(SOUND, entries=[RECEIPT, replace(RECEIPT, id="inv_3"), PICK])),
        ("a lost shipment", replace(SOUND, shipments=[LEFT, WAITING])),
        ("a doubled shipment", replace(SOUND, shipments=[*SOUND.shipments, replace(CANCELED, id="shp_4")])),
        ("one that is stuck", replace(SOUND, shipments=[LEFT, replace(CANCELED, status="label_ready"), WAITING])),
        ("no pick", replace(SOUND, entries=[RECEIPT])),
        ("a second pick", replace(SOUND, entries=[RECEIPT, PICK, replace(PICK, id="inv_3")])),
        ("a pick elsewhere", replace(SOUND, entries=[RECEIPT, replace(PICK, warehouse="WEST")])),
        ("a pick of what was canceled", replace(SOUND, entries=[RECEIPT, PICK, replace(PICK, reference="shp_2")])),
        ("one that left in part", replace(SOUND, shipments=[replace(LEFT, allocations=[]), CANCELED, WAITING])),
        ("an orphan hold", replace(SOUND, holds=[*SOUND.holds, Hold("shp_2", "A", "EAST", open=1)])),
        ("a hold of nobody", replace(SOUND, holds=[*SOUND.holds, Hold("shp_9", "A", "EAST", open=1)])),
        ("a part that is not held", replace(SOUND, holds=[])),
        ("stock of what ended", replace(SOUND, shipments=[LEFT, replace(CANCELED, allocations=[_two]), WAITING])),
    ],
)
def test_a_fault_is_found(what: str, books: Books) -> None:
    assert faults(books), what


@pytest.mark.parametrize(
    ("what", "parcels", "sales"),
    [
        ("a label bought twice", [READY, VOIDED], {**SALES, "shp_1-1": (2, 0)}),
        ("one bought twice and given back once", [READY, VOIDED], {**SALES, "shp_1-1": (2, 1)}),
        ("one that was never given back", [READY, VOIDED], {**SALES, "shp_2-1": (1, 0)}),
        ("one that nobody knows of", [READY, replace(VOIDED, label_status="none")], {**SALES, "shp_2-1": (1, 0)}),
        ("one that serves and was given back", [READY, VOIDED], {**SALES, "shp_1-1": (1, 1)}),
        ("one that is being given back", [READY, replace(VOIDED, label_status="voiding")], SALES),
        ("goods without a label", [VOIDED], SALES),
    ],
)
def test_a_fault_of_labels_is_found(what: str, parcels: Sequence[Parcel], sales: dict[str, tuple[int, int]]) -> None:
    assert [*faults_of_sales(replace(SOUND, parcels=list(parcels)), sales)], what


def test_lines_that_are_not_those_of_the_shipments_are_found() -> None:
    told = {**LINES, "ord_2": {"A": {**LINES["ord_2"]["A"], "waiting": 2}}}

    assert [*faults_of_lines(SOUND, told)]
