"""The ledger as it is read: the trail, one entry, balances of old, levels."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.gateway.asking import Answer, Caller
from tests.gateway.listing import pages, walk
from tests.running import RunningStack

LEDGER, LEVELS = "/v1/inventory/ledger", "/v1/inventory/levels"
ENTRY = ["id", "sku", "warehouse", "qty", "balance", "seq", "reason", "reference", "created_at"]


def new_sku() -> str:
    return f"SKU-{uuid4()}"


async def record(caller: Caller, sku: str, qty: int = 5, **more: Any) -> dict[str, Any]:
    movement = {"sku": sku, "warehouse": "SEA-1", "qty": qty, "reason": "receipt", **more}
    answer = await caller.post(LEDGER, movement)
    assert answer.status == 200, answer.json
    recorded: dict[str, Any] = answer.json
    return recorded


@pytest.fixture(scope="module")
async def stranger(stack: RunningStack, caller: Caller) -> Caller:
    return caller.by(await stack.create_key("stranger"))


async def test_an_entry_is_told_in_full(caller: Caller) -> None:
    recorded = await record(caller, new_sku(), reference="PO-1")

    answer = await caller.get(f"{LEDGER}/{recorded['id']}")

    assert answer.status == 200
    assert list(answer.json) == ENTRY
    assert answer.json == {**recorded, "seq": 1, "reason": "receipt", "reference": "PO-1"}


async def test_an_entry_of_another_tenant_is_as_unknown_as_one_that_never_was(caller: Caller, stranger: Caller) -> None:
    recorded = await record(caller, new_sku())

    foreign, unknown = await stranger.get(f"{LEDGER}/{recorded['id']}"), await caller.get(f"{LEDGER}/inv_none")

    assert (foreign.status, foreign.code) == (unknown.status, unknown.code) == (404, "not_found")
    assert foreign.json["detail"] == unknown.json["detail"]


async def test_batch_is_the_id_of_no_entry(caller: Caller) -> None:
    answer = await caller.get(f"{LEDGER}/batch")

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_the_trail_of_a_chain_is_walked_by_seq_while_others_write(caller: Caller, stranger: Caller) -> None:
    sku = new_sku()
    before = [(await record(caller, sku))["id"] for _ in range(5)]
    await record(stranger, sku)

    seen = []
    async for data in pages(caller, LEDGER, sku=sku, warehouse="SEA-1"):
        seen += data
        await record(caller, sku)

    assert [row["id"] for row in seen] == before[::-1]
    assert [row["seq"] for row in seen] == [5, 4, 3, 2, 1]
    assert all(list(row) == ENTRY for row in seen)


async def test_the_trail_of_everything_misses_nothing_and_repeats_nothing_while_others_write(
    stack: RunningStack, caller: Caller
) -> None:
    own = caller.by(await stack.create_key(f"trail-{uuid4().hex[:12]}"))
    before = [(await record(own, new_sku()))["id"] for _ in range(7)]

    seen = []
    async for data in pages(own, LEDGER, limit=3):
        seen += [row["id"] for row in data]
        await record(own, new_sku())

    assert seen == before[::-1]


async def test_each_filter_of_the_trail_filters(caller: Caller) -> None:
    sku = new_sku()
    first = await record(caller, sku, 9, reference="PO 1+1")
    pick = await record(caller, sku, 2, reason="pick", reference="PO-2")
    east = await record(caller, sku, 4, warehouse="NYC-1")

    async def ids(**filters: str) -> list[str]:
        return [row["id"] for row in await walk(caller, LEDGER, sku=sku, **filters)]

    assert await ids() == [east["id"], pick["id"], first["id"]]
    assert await ids(warehouse="NYC-1") == [east["id"]]
    assert await ids(reason="pick") == [pick["id"]]
    assert await ids(reference="PO 1+1") == [first["id"]]
    assert await ids(reference="") == []
    assert await ids(created_after="2999-01-01T00:00:00Z") == []
    assert len(await ids(created_after="2020-01-01T02:00:00.123456+02:00")) == 3
    assert await ids(created_before="2020-01-01t00:00:00z") == []


REFUSED = {
    "limit=0": ("limit", "out_of_range"),
    "limit=-1": ("limit", "out_of_range"),
    "limit=": ("limit", "wrong_type"),
    "limit=ten": ("limit", "wrong_type"),
    "limit=1.0": ("limit", "wrong_type"),
    "limit=1e1": ("limit", "wrong_type"),
    "limit=%D9%A3": ("limit", "wrong_type"),
    "reason=theft": ("reason", "unknown_value"),
    "sku=": ("sku", "wrong_length"),
    "reference=" + "x" * 129: ("reference", "wrong_length"),
    "created_after=2026-04-22T17:04:11": ("created_after", "bad_time"),
    "created_after=2026-04-22": ("created_after", "bad_time"),
    "created_after=2026-04-22T17:04:11+02:00": ("created_after", "bad_time"),
    "created_before=2026-02-30T17:04:11Z": ("created_before", "bad_time"),
    "created_before=0001-01-01T00:00:00%2B14:00": ("created_before", "bad_time"),
    "created_before=1776877451": ("created_before", "bad_time"),
    "created_before=": ("created_before", "bad_time"),
    "colour=red": ("colour", "unknown_parameter"),
}


@pytest.mark.parametrize("query", REFUSED)
async def test_a_parameter_that_makes_no_sense_is_refused_by_its_name(caller: Caller, query: str) -> None:
    answer = await caller.get(f"{LEDGER}?{query}")

    parameter, code = REFUSED[query]
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert [(error["parameter"], error["code"]) for error in answer.json["errors"]] == [(parameter, code)]


async def test_levels_are_walked_by_sku_and_warehouse(caller: Caller, stranger: Caller) -> None:
    sku = new_sku()
    for warehouse in ("ß", "B", "A"):
        await record(caller, sku, warehouse=warehouse)
    await record(stranger, sku, warehouse="C")

    rows = await walk(caller, LEVELS, sku=sku, limit=1)
    one = await walk(caller, LEVELS, sku=sku, warehouse="B")

    assert [row["warehouse"] for row in rows] == ["A", "B", "ß"]
    assert list(one[0]) == ["sku", "warehouse", "on_hand", "held", "available", "waiting"]
    assert one == [{"sku": sku, "warehouse": "B", "on_hand": 5, "held": 0, "available": 5, "waiting": 0}]
    assert await walk(caller, LEVELS, sku="never moved") == []


def assert_cursor_refused(answer: Answer) -> None:
    assert (answer.status, answer.code) == (400, "cursor_invalid")


async def test_a_cursor_serves_its_tenant_route_and_filters_alone(caller: Caller, stranger: Caller) -> None:
    sku = new_sku()
    for _ in range(3):
        await record(caller, sku)
    of_chain = f"sku={sku}&warehouse=SEA-1"
    cursor = (await caller.get(f"{LEDGER}?{of_chain}&limit=1")).json["next_cursor"]

    assert len((await caller.get(f"{LEDGER}?warehouse=SEA-1&sku={sku}&limit=9&cursor={cursor}")).json["data"]) == 2
    for other in (f"sku={sku}", f"{of_chain}&reason=receipt", f"sku={sku}&warehouse=SEA-2", ""):
        assert_cursor_refused(await caller.get(f"{LEDGER}?{other}{'&' if other else ''}cursor={cursor}"))
    assert_cursor_refused(await caller.get(f"{LEVELS}?{of_chain}&cursor={cursor}"))
    assert_cursor_refused(await stranger.get(f"{LEDGER}?{of_chain}&cursor={cursor}"))


@pytest.mark.parametrize("path", [LEDGER, LEVELS, "/v1/orders"])
@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "a" * 3_000, quote("é"), "%00", "inv_0"])
async def test_a_cursor_that_was_not_made_here_is_refused(caller: Caller, path: str, cursor: str) -> None:
    assert_cursor_refused(await caller.get(f"{path}?cursor={cursor}"))


async def test_a_balance_is_told_as_it_was(caller: Caller) -> None:
    sku = new_sku()
    await record(caller, sku)
    balance = f"/v1/inventory/balance?sku={sku}&warehouse=SEA-1"

    before = await caller.get(f"{balance}&as_of=2020-01-01T00:00:00.9Z")
    to_come = await caller.get(f"{balance}&as_of=2999-01-01T00:00:00Z")
    naive = await caller.get(f"{balance}&as_of=2020-01-01T00:00:00")

    assert before.json == {"sku": sku, "warehouse": "SEA-1", "balance": 0, "as_of": "2020-01-01T00:00:00Z"}
    assert to_come.json["balance"] == 5
    assert to_come.json["as_of"] < "2999"
    assert (naive.status, naive.code) == (400, "invalid_parameter")


@pytest.mark.parametrize(("precondition", "wrong", "right"), [("expected_balance", 4, 5), ("expected_seq", 0, 1)])
async def test_a_movement_whose_precondition_does_not_hold_is_refused_and_stays_refused(
    caller: Caller, precondition: str, wrong: int, right: int
) -> None:
    sku, key = new_sku(), str(uuid4())
    await record(caller, sku)
    movement = {"sku": sku, "warehouse": "SEA-1", "qty": 1, "reason": "receipt", precondition: wrong}

    refused = await caller.post(LEDGER, movement, idempotency_key=key)
    again = await caller.post(LEDGER, movement, idempotency_key=key)
    granted = await caller.post(LEDGER, {**movement, precondition: right})

    assert (refused.status, refused.code) == (409, "version_conflict")
    assert (refused.json["expected"], refused.json["actual"]) == (wrong, right)
    assert again.body == refused.body
    assert granted.json["balance"] == 6


@pytest.mark.parametrize("value", [-1, 2**63, "5", 1.0, True])
async def test_a_precondition_is_a_count(caller: Caller, value: Any) -> None:
    movement = {"sku": "A", "warehouse": "W", "qty": 1, "reason": "receipt", "expected_seq": value}

    answer = await caller.post(LEDGER, movement)

    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/expected_seq")
