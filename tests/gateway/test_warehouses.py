"""/v1/warehouses: described wholly, as often as one likes, under every code that the ledger takes."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.gateway.asking import Caller
from tests.gateway.listing import walk
from tests.gateway.test_answers import INSTANT, movement, new_sku
from tests.running import RunningStack

WAREHOUSES = "/v1/warehouses"
ADDRESS = {"line1": "200 Dock St", "city": "Seattle", "state": "WA", "postal": "98134", "country": "US"}
WHOLE = {
    "name": "Seattle, Shoreline",
    "address": ADDRESS,
    "coordinates": {"latitude": 47.58, "longitude": -122.335},
    "priority": 10,
    "active": False,
}
NOTHING_SAID = {"name": None, "address": None, "coordinates": None, "priority": 0, "active": True}


@pytest.fixture
async def own(stack: RunningStack, caller: Caller) -> Caller:
    """A tenant that nobody else writes to."""
    return caller.by(await stack.create_key(f"warehouses-{uuid4().hex[:12]}"))


def said(told: Any) -> Any:
    return {name: value for name, value in told.items() if name not in ("code", "created_at", "updated_at")}


async def test_a_warehouse_is_told_as_it_was_described(own: Caller) -> None:
    put = await own.put(f"{WAREHOUSES}/SEA-1", WHOLE)
    got = await own.get(f"{WAREHOUSES}/SEA-1")

    assert (put.status, got.status) == (200, 200)
    assert list(put.json) == [
        *("code", "name", "address", "coordinates", "priority", "active", "created_at", "updated_at")
    ]
    assert said(put.json) == WHOLE | {"address": {**ADDRESS, "line2": None}}
    assert put.json["code"] == "SEA-1"
    assert INSTANT.fullmatch(put.json["created_at"])
    assert got.body == put.body


async def test_a_put_replaces_all_and_keeps_the_day_it_was_first_described(own: Caller) -> None:
    first = await own.put(f"{WAREHOUSES}/SEA-1", WHOLE)
    again = await own.put(f"{WAREHOUSES}/SEA-1", {})

    assert said(again.json) == NOTHING_SAID
    assert again.json["created_at"] == first.json["created_at"]
    assert said((await own.get(f"{WAREHOUSES}/SEA-1")).json) == NOTHING_SAID


async def test_a_put_needs_no_key_and_looks_at_none(own: Caller) -> None:
    key = {"Idempotency-Key": str(uuid4())}

    one = await own.put(f"{WAREHOUSES}/SEA-1", {"priority": 1}, headers=key)
    other = await own.put(f"{WAREHOUSES}/NYC-1", {"priority": 2}, headers=key)
    moved = await own.post("/v1/inventory/ledger", movement(new_sku()), headers=key)

    assert [answer.status for answer in (one, other, moved)] == [200, 200, 200]
    assert "Idempotency-Key" not in one.headers
    assert (await own.get(f"{WAREHOUSES}/NYC-1")).json["priority"] == 2


async def test_a_warehouse_that_was_never_described_is_not_found_whatever_is_in_it(own: Caller) -> None:
    await own.post("/v1/inventory/ledger", movement(new_sku()))

    answer = await own.get(f"{WAREHOUSES}/SEA-1")

    assert (answer.status, answer.code) == (404, "not_found")
    assert (await own.get(WAREHOUSES)).json == {"data": [], "has_more": False, "next_cursor": None}


@pytest.mark.parametrize(
    "code",
    [
        "SEA 1",
        "SEA/1",
        "/",
        "a/../b",
        "{code}",
        "100%",
        "%2F",
        "%ff",
        "größe-ß",
        "商品-７",
        "📦" * 64,
        "a+b",
        "a?b#c",
        "x" * 64,
    ],
)
async def test_every_code_of_the_ledger_can_be_described(own: Caller, code: str) -> None:
    path = f"{WAREHOUSES}/{quote(code, safe='')}"

    assert (await own.put(path, {"name": "Odd"})).json["code"] == code
    assert (await own.get(path)).json["code"] == code
    # Escaped or not, it is the same.
    respelled = re.sub(r"%2[Ff]", "%2f", path)
    assert (await own.get(respelled)).json["code"] == code
    assert [row["code"] for row in await walk(own, WAREHOUSES)] == [code]


async def test_warehouses_are_listed_by_their_codes(own: Caller) -> None:
    codes = ["SEA-1", "NYC-1", "sea-1", "NYC-10", "a/b", "Ä", "NYC 1"]
    for code in codes:
        await own.put(f"{WAREHOUSES}/{quote(code, safe='')}", {})

    rows = await walk(own, WAREHOUSES, limit=3)

    assert [row["code"] for row in rows] == sorted(codes)


async def test_a_description_that_is_refused_changes_nothing(own: Caller) -> None:
    before = await own.put(f"{WAREHOUSES}/SEA-1", WHOLE)

    for body in ({"priority": 101}, {"nmae": "x"}, {"active": "yes"}, [], None):
        refused = await own.put(f"{WAREHOUSES}/SEA-1", body)
        assert (refused.status, refused.code) == (422, "validation_failed")

    assert (await own.get(f"{WAREHOUSES}/SEA-1")).body == before.body
