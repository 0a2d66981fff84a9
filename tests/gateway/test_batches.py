"""Writes of several entries: batches, atomic or line by line, and transfers."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.gateway.asking import Caller
from tests.gateway.listing import walk
from tests.gateway.test_ledger_reads import ENTRY, new_sku, record

BATCH, LEDGER, TRANSFERS = "/v1/inventory/ledger/batch", "/v1/inventory/ledger", "/v1/inventory/transfers"


def line(sku: str, qty: int = 5, reason: str = "receipt", **more: Any) -> dict[str, Any]:
    return {"sku": sku, "warehouse": "SEA-1", "qty": qty, "reason": reason, **more}


def batch(*lines: dict[str, Any], atomic: bool = True) -> dict[str, Any]:
    return {"atomic": atomic, "movements": list(lines)}


def transfer(sku: str, qty: int = 2, **more: Any) -> dict[str, Any]:
    return {"sku": sku, "from_warehouse": "SEA-1", "to_warehouse": "NYC-1", "qty": qty, **more}


async def balance(caller: Caller, sku: str, warehouse: str = "SEA-1") -> int:
    answer = await caller.get(f"/v1/inventory/balance?sku={sku}&warehouse={warehouse}")
    return int(answer.json["balance"])


async def test_an_atomic_batch_is_recorded_in_order(caller: Caller) -> None:
    sku = new_sku()

    answer = await caller.post(BATCH, batch(line(sku), line(sku, 3, "pick", reference="PO-1"), line(sku, 1)))

    assert answer.status == 200
    assert list(answer.json) == ["entries"]
    assert [list(entry) for entry in answer.json["entries"]] == [ENTRY] * 3
    assert [(e["seq"], e["qty"], e["balance"]) for e in answer.json["entries"]] == [(1, 5, 5), (2, -3, 2), (3, 1, 3)]
    assert (await caller.get(f"{LEDGER}/{answer.json['entries'][1]['id']}")).json == answer.json["entries"][1]


async def test_an_atomic_batch_is_refused_as_a_whole_and_names_the_lines(caller: Caller) -> None:
    sku, key = new_sku(), str(uuid4())
    wanted = batch(line(sku), line(sku, 6, "pick"), line(sku, 9, expected_seq=0))

    refused = await caller.post(BATCH, wanted, idempotency_key=key)
    await record(caller, sku, 100)
    again = await caller.post(BATCH, wanted, idempotency_key=key)

    assert (refused.status, refused.code) == (409, "insufficient_stock")
    named = [(error["pointer"], error["code"]) for error in refused.json["errors"]]
    assert named == [("/movements/1", "insufficient_stock"), ("/movements/2", "version_conflict")]
    assert (again.status, again.body) == (409, refused.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await balance(caller, sku) == 100


async def test_each_line_of_another_batch_stands_for_itself(caller: Caller) -> None:
    sku = new_sku()

    answer = await caller.post(BATCH, batch(line(sku), line(sku, 6, "pick"), line(sku, 4, "pick"), atomic=False))

    first, refused, last = answer.json["results"]
    assert (answer.status, list(answer.json)) == (200, ["results"])
    assert (first["status"], list(first), list(first["entry"])) == (200, ["status", "entry"], ENTRY)
    assert (refused["status"], list(refused)) == (409, ["status", "error"])
    assert list(refused["error"])[:6] == ["type", "title", "status", "detail", "code", "request_id"]
    assert refused["error"]["code"] == "insufficient_stock"
    assert (refused["error"]["requested"], refused["error"]["available"]) == (6, 5)
    assert refused["error"]["request_id"] == answer.headers["Request-Id"]
    assert last["entry"]["balance"] == await balance(caller, sku) == 1


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_batch_is_replayed_byte_for_byte(caller: Caller, atomic: bool) -> None:
    sku, key = new_sku(), str(uuid4())
    lines = [line(sku), line(sku, 1, "pick")] + ([] if atomic else [line(sku, 99, "pick")])
    wanted = batch(*lines, atomic=atomic)

    first = await caller.post(BATCH, wanted, idempotency_key=key)
    again = await caller.post(BATCH, json.dumps(wanted, indent=1).encode(), idempotency_key=key)
    other = await caller.post(BATCH, batch(*lines, atomic=not atomic), idempotency_key=key)
    invalid = await caller.post(BATCH, batch(), idempotency_key=key)

    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status, other.code) == (invalid.status, invalid.code) == (422, "idempotency_key_reused")
    assert await balance(caller, sku) == 4


async def test_a_line_runs_once_under_its_key_whatever_batch_it_comes_in(caller: Caller) -> None:
    sku, key = new_sku(), str(uuid4())
    keyed = line(sku, idempotency_key=key)

    first = await caller.post(BATCH, batch(keyed, line(sku, 1), atomic=False))
    again = await caller.post(BATCH, batch(line(sku, 2), dict(reversed(keyed.items())), atomic=False))
    changed = await caller.post(BATCH, batch({**keyed, "qty": 6}, {**keyed, "reference": None}, atomic=False))
    alone = await caller.post(LEDGER, line(sku), idempotency_key=key)

    assert again.json["results"][1] == first.json["results"][0]
    assert [result["error"]["code"] for result in changed.json["results"]] == ["idempotency_key_reused"] * 2
    assert [result["status"] for result in changed.json["results"]] == [422, 422]
    assert (alone.status, alone.code) == (422, "idempotency_key_reused")
    assert await balance(caller, sku) == 5 + 1 + 2


async def test_a_key_twice_in_a_batch_is_one_movement_or_a_refusal(caller: Caller) -> None:
    sku, key, other = new_sku(), str(uuid4()), str(uuid4())
    keyed = line(sku, idempotency_key=key)

    same = await caller.post(BATCH, batch(keyed, keyed, atomic=False))
    differing = batch(line(sku, 1, idempotency_key=other), line(sku, 2, idempotency_key=other))
    refused = await caller.post(BATCH, differing)

    assert same.json["results"][0] == same.json["results"][1]
    assert (refused.status, refused.code) == (422, "idempotency_key_reused")
    assert [error["pointer"] for error in refused.json["errors"]] == ["/movements/1"]
    assert await balance(caller, sku) == 5


async def test_a_batch_takes_a_thousand_movements_and_no_more(caller: Caller) -> None:
    sku = new_sku()
    lines = [line(sku, 1, warehouse=f"W-{number:04}", reference="x" * 128) for number in range(1001)]

    answer = await caller.post(BATCH, batch(*lines[:1000]))
    too_many = await caller.post(BATCH, batch(*lines))
    rows = await walk(caller, "/v1/inventory/levels", sku=sku, limit=100)

    assert (answer.status, len(answer.json["entries"])) == (200, 1000)
    assert [row["warehouse"] for row in rows] == [wanted["warehouse"] for wanted in lines[:1000]]
    assert (too_many.status, too_many.json["errors"][0]["pointer"]) == (422, "/movements")


@pytest.mark.parametrize(
    ("limit", "count"), [("", 20), ("&limit=1", 1), ("&limit=101", 100), ("&limit=" + "9" * 4_000, 100)]
)
async def test_a_page_has_at_most_100_rows_and_20_where_nobody_says(caller: Caller, limit: str, count: int) -> None:
    sku = new_sku()
    await caller.post(BATCH, batch(*(line(sku, 1) for _ in range(101))))

    page = (await caller.get(f"{LEDGER}?sku={sku}{limit}")).json

    assert (len(page["data"]), page["has_more"]) == (count, True)


REFUSED: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "no list": ({"atomic": True}, [("/movements", "required")]),
    "an empty list": (batch(), [("/movements", "wrong_length")]),
    "nothing said of all or nothing": ({"movements": [line("A")]}, [("/atomic", "required")]),
    "a word for it": ({"atomic": "true", "movements": [line("A")]}, [("/atomic", "wrong_type")]),
    "faults of several lines": (
        batch(line("A"), line("A", 0), line("", -1)),
        [
            ("/movements/1/qty", "out_of_range"),
            ("/movements/2/sku", "wrong_length"),
            ("/movements/2/qty", "out_of_range"),
        ],
    ),
    "a blank in a key": (batch(line("A", idempotency_key="a b")), [("/movements/0/idempotency_key", "bad_characters")]),
    "an empty key": (batch(line("A", idempotency_key="")), [("/movements/0/idempotency_key", "bad_characters")]),
    "a long key": (batch(line("A", idempotency_key="k" * 256)), [("/movements/0/idempotency_key", "bad_characters")]),
    "a number for a line": (batch(5), [("/movements/0", "wrong_type")]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("body", "faults"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_batch_that_is_not_valid_records_nothing(
    caller: Caller, body: Any, faults: list[tuple[str, str]]
) -> None:
    answer = await caller.post(BATCH, body)

    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in answer.json["errors"]] == faults


async def test_a_transfer_is_two_entries_and_leaves_the_sum(caller: Caller) -> None:
    sku, key = new_sku(), str(uuid4())
    await record(caller, sku)

    answer = await caller.post(TRANSFERS, transfer(sku, reference="T-1"), idempotency_key=key)
    again = await caller.post(TRANSFERS, transfer(sku, reference="T-1"), idempotency_key=key)

    out, into = answer.json["entries"]
    assert (answer.status, list(answer.json), list(out)) == (200, ["id", "entries"], ENTRY)
    assert answer.json["id"].startswith("trf_")
    assert [(e["warehouse"], e["qty"], e["balance"]) for e in (out, into)] == [("SEA-1", -2, 3), ("NYC-1", 2, 2)]
    assert {(e["reason"], e["reference"]) for e in (out, into)} == {("transfer", "T-1")}
    assert (again.body, again.headers["Idempotent-Replayed"]) == (answer.body, "true")
    assert await balance(caller, sku) + await balance(caller, sku, "NYC-1") == 5


async def test_a_transfer_of_more_than_there_is_moves_nothing_and_stays_refused(caller: Caller) -> None:
    sku, key = new_sku(), str(uuid4())
    await record(caller, sku)

    refused = await caller.post(TRANSFERS, transfer(sku, 6), idempotency_key=key)
    await record(caller, sku)
    again = await caller.post(TRANSFERS, transfer(sku, 6), idempotency_key=key)

    assert (refused.status, refused.code, refused.json["available"]) == (409, "insufficient_stock", 5)
    assert again.body == refused.body
    assert await balance(caller, sku, "NYC-1") == 0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"to_warehouse": "SEA-1"}, ("/to_warehouse", "same_warehouse")),
        ({"qty": 0}, ("/qty", "out_of_range")),
        ({"qty": -2}, ("/qty", "out_of_range")),
        ({"qty": 2.0}, ("/qty", "wrong_type")),
        ({"reason": "transfer"}, ("/reason", "unknown_field")),
    ],
)
async def test_a_transfer_that_is_not_valid_is_refused(
    caller: Caller, change: dict[str, Any], fault: tuple[str, str]
) -> None:
    answer = await caller.post(TRANSFERS, transfer("A") | change)

    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in answer.json["errors"]] == [fault]
