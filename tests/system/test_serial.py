"""The judge of a flood finds what it is there to find: each fault is planted once. Pure."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.builders import WAREHOUSE, movement
from tests.system.books import Entry
from tests.system.serial import Answered, Read, faults_of_serial_order, foretell

NOON = datetime(2026, 4, 22, 12, tzinfo=UTC)
PLACE = "A", WAREHOUSE


def entry(seq: int, qty: int, balance: int) -> Entry:
    return Entry(f"inv_{seq}", *PLACE, seq, qty, balance, NOON)


def accepted(seq: int, began: float, ended: float, qty: int, balance: int, **sent: Any) -> Answered:
    body = {"id": f"inv_{seq}", "qty": qty, "balance": balance}
    return Answered(f"key-{seq}", movement(qty, "A") | sent, began, ended, 200, json.dumps(body).encode())


def refused(began: float, ended: float, sent: dict[str, Any], **facts: Any) -> Answered:
    return Answered("key-refused", sent, began, ended, 409, json.dumps(facts).encode())


def pick(qty: int) -> dict[str, Any]:
    return movement(qty, "A", reason="pick")


def short(requested: int, available: int) -> dict[str, Any]:
    return {"code": "insufficient_stock", "requested": requested, "available": available}


# 5 arrive between instants 0 and 2, 3 are picked between 1 and 4, 2 arrive between 5 and 6.
CHAIN = [entry(1, 5, 5), entry(2, -3, 2), entry(3, 2, 4)]
TOLD = [
    accepted(1, 0, 2, 5, 5),
    accepted(2, 1, 4, -3, 2, reason="pick"),
    accepted(3, 5, 6, 2, 4, expected_seq=2),
]
EXPLAINED = [
    refused(0, 1, pick(1), **short(1, 0)),
    refused(3, 4, pick(6), **short(6, 5)),
    refused(3, 4, pick(6), **short(6, 2)),
    refused(7, 8, movement(1, "A") | {"expected_balance": 5}, code="version_conflict", expected=5, actual=4),
    refused(7, 8, movement(1, "A") | {"expected_seq": 1}, code="version_conflict", expected=1, actual=3),
]


def faults(told: list[Answered] = TOLD, reads: list[Read] | None = None, chain: list[Entry] = CHAIN) -> list[str]:
    return list(faults_of_serial_order(told, reads or [], chain))


def test_what_a_serial_ledger_could_have_told_has_no_faults() -> None:
    reads = [
        Read(PLACE, 0, 1, 0),
        Read(PLACE, 1, 3, 0),
        Read(PLACE, 3, 5, 5),
        Read(PLACE, 3, 5, 2),
        Read(PLACE, 7, 8, 4),
    ]

    assert faults([*TOLD, *EXPLAINED], reads) == []


@pytest.mark.parametrize(
    "late",
    [
        refused(7, 8, pick(5), **short(5, 2)),  # of another time
        refused(5, 8, pick(5), **short(5, 5)),  # three were picked before it began
        refused(3, 4, pick(6), **short(6, 4)),  # of the future
        refused(7, 8, pick(4), **short(4, 4)),  # there was enough
        refused(7, 8, pick(5), **short(6, 4)),  # not what was asked for
        refused(7, 8, movement(1, "A") | {"expected_seq": 3}, code="version_conflict", expected=3, actual=3),
        refused(7, 8, pick(5), code="version_conflict", expected=5, actual=4),
    ],
)
def test_a_refusal_that_nothing_explains_is_found(late: Answered) -> None:
    assert len(faults([*TOLD, late])) == 1


@pytest.mark.parametrize("read", [Read(PLACE, 3, 5, 0), Read(PLACE, 7, 8, 2), Read(PLACE, 3, 4, 4)])
def test_a_balance_that_was_not_so_in_its_time_is_found(read: Read) -> None:
    assert len(faults(reads=[read])) == 1


@pytest.mark.parametrize(
    ("told", "chain"),
    [
        ([*TOLD, accepted(4, 7, 8, 1, 5)], CHAIN),  # lost
        (TOLD[:2], CHAIN),  # recorded, though nobody was told
        ([*TOLD, accepted(3, 7, 8, 2, 4)], CHAIN),  # two keys, one entry
        ([*TOLD[:2], accepted(3, 5, 6, 2, 4, expected_seq=1)], CHAIN),
        ([*TOLD[:2], accepted(3, 5, 6, 2, 4, expected_balance=5)], CHAIN),
        ([*TOLD[:2], accepted(3, 5, 6, 2, 5)], CHAIN),  # told another balance than it came to
        ([*TOLD[:2], accepted(3, 5, 6, -4, -2, reason="pick")], [*CHAIN[:2], entry(3, -4, -2)]),
        (TOLD, [*CHAIN[:2], replace(CHAIN[2], seq=4)]),  # a gap
        # Answered before the one began that stands before it.
        ([TOLD[0], accepted(2, 6, 7, 1, 6), accepted(3, 4, 5, 1, 7)], [CHAIN[0], entry(2, 1, 6), entry(3, 1, 7)]),
    ],
)  # fmt: skip
def test_an_entry_that_is_not_at_its_place_is_found(told: list[Answered], chain: list[Entry]) -> None:
    assert len(faults(told, chain=chain)) == 1


def test_a_pick_takes_out_whatever_its_sign() -> None:
    assert foretell(5, 1, pick(-2)) == foretell(5, 1, pick(2)) == (200, {"qty": -2, "balance": 3})
