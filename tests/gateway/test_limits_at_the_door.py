"""Who asks too often, with a key or without: what it is told, and that nobody else notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp
import psycopg
import pytest
from sqlalchemy import event, text

from chassis.database import Database
from cli.provision import DatabaseUrls
from gateway import keys
from gateway.keyring import KNOWN_S, KeyRing
from gateway.limits import Limit
from tests.gateway.conftest import Door
from tests.gateway.test_api_keys import Clock


@contextmanager
def look_ups(database: Database) -> Iterator[list[str]]:
    """Every look-up of a key that goes to the database meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "WHERE digest" in statement:
            seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


async def until_waiting(database: Database, count: int) -> None:
    """Returns once so many look-ups wait for a lock."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%api_key%'")
    async with asyncio.timeout(1.4):  # less than their lock timeout
        async with database.transaction() as tx:
            while (await tx.execute(waiting)).scalar_one() != count:
                await tx.execute(text("SELECT pg_stat_clear_snapshot()"))


async def test_a_key_may_call_so_often_and_is_told_how_often(limited_door: Door) -> None:
    created = await keys.create_key(limited_door.database_url, account="acme", mode="test", limit=Limit(20, 600))
    caller = limited_door.caller.by(created.secret)

    first, *others = [await caller.post("/v1/shipments", b"") for _ in range(21)]

    assert first.headers["X-RateLimit-Limit"] == "20"
    assert first.headers["X-RateLimit-Remaining"] == "19"
    assert 0 < int(first.headers["X-RateLimit-Reset"]) - time.time() <= 31
    assert first.headers["RateLimit-Policy"] == '"default";q=20;w=600'
    assert first.headers["RateLimit"].startswith('"default";r=19;t=')
    assert [answer.code for answer in others] == ["malformed_json"] * 19 + ["rate_limited"]
    assert others[-1].status == 429
    assert others[-1].headers["Retry-After"] == str(others[-1].json["retry_after_s"])
    assert others[-1].headers["X-RateLimit-Remaining"] == "0"


async def test_the_budget_is_the_keys_and_not_the_tenants(limited_door: Door) -> None:
    one, other = [
        await keys.create_key(limited_door.database_url, account="acme", mode="test", limit=Limit(1, 600)) for _ in "12"
    ]

    answers = [await limited_door.caller.by(key.secret).post("/v1/shipments", b"") for key in (one, other, one)]

    assert [answer.code for answer in answers] == ["malformed_json", "malformed_json", "rate_limited"]


@pytest.mark.parametrize(("mode", "quota"), [("test", "250"), ("live", "1000")])
async def test_a_key_without_a_limit_of_its_own_has_its_modes(limited_door: Door, mode: keys.Mode, quota: str) -> None:
    created = await keys.create_key(limited_door.database_url, account="acme", mode=mode)

    answer = await limited_door.caller.by(created.secret).get("/v1/nothing")

    assert (answer.status, answer.headers["X-RateLimit-Limit"]) == (404, quota)


async def test_without_a_valid_key_the_address_is_counted(limited_door: Door) -> None:
    wrong = ["", "sk_test_guess", keys.EXAMPLE_KEY + "D", keys.new_secret("live")] * 50

    answers = [await limited_door.caller.by(secret).get("/v1/orders/x") for secret in wrong]

    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"100"}
    assert {answer.status for answer in answers[:100]} == {401}
    refused = [answer for answer in answers if answer.code == "rate_limited"]
    assert len(refused) > 40  # a token comes back every tenth of a second
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert (await limited_door.caller.get("/v1/nothing")).status == 404
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(limited_door.caller.base_url, connector=elsewhere) as session:
        assert (await session.get("/v1/orders/x")).status == 401


async def test_made_up_keys_are_looked_up_no_more_often_than_their_address_may_ask(limited_door: Door) -> None:
    known = await keys.create_key(limited_door.database_url, account="acme", mode="test", limit=Limit(1000, 1))
    await limited_door.caller.by(known.secret).get("/v1/nothing")

    with look_ups(limited_door.database) as asked:
        made_up = [await limited_door.caller.by(keys.new_secret("live")).get("/v1/orders/x") for _ in range(200)]
        still_known = await limited_door.caller.by(known.secret).get("/v1/nothing")

    told = [answer.status for answer in made_up]
    assert len(asked) == told.count(401) < 150
    assert told.count(429) == 200 - len(asked)
    assert still_known.status == 404


async def test_a_flood_of_made_up_keys_leaves_connections_for_the_rest(
    door: Door, databases: Mapping[str, DatabaseUrls]
) -> None:
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    clock = Clock()
    ring = KeyRing(door.database, admits_example=False, clock=clock)
    await ring.find(created.secret)
    clock.now += KNOWN_S

    async with await psycopg.AsyncConnection.connect(databases["gateway"].owner) as owner:
        await owner.execute("LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE")
        flood = [asyncio.create_task(ring.find(keys.new_secret("live"))) for _ in range(50)]
        await asyncio.sleep(0)
        started = time.monotonic()
        assert await door.database.is_up()
        assert time.monotonic() - started < 0.5
        recheck = asyncio.create_task(ring.find(created.secret))
        await until_waiting(door.database, 5)
        await owner.rollback()

    assert await recheck == created.key
    await asyncio.gather(*flood, return_exceptions=True)


async def test_strangers_do_not_queue_without_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.keyring.STRANGERS_WAITING_MAX", 10)
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    ring = KeyRing(door.database, admits_example=False)
    await ring.find(created.secret)

    outcomes = await asyncio.gather(
        *(ring.find(keys.new_secret("live")) for _ in range(50)), ring.find(created.secret), return_exceptions=True
    )

    assert outcomes[:10] == [None] * 10
    assert {getattr(outcome, "code", None) for outcome in outcomes[10:50]} == {"unavailable"}
    assert outcomes[50] == created.key


async def test_a_key_that_cannot_be_checked_is_not_counted_as_a_wrong_one(keyless_door: Door) -> None:
    secrets = [keys.new_secret("live") for _ in range(10)] * 12

    answers = await asyncio.gather(*(keyless_door.caller.by(secret).get("/v1/orders/x") for secret in secrets))

    assert {(answer.status, answer.code) for answer in answers} == {(503, "unavailable")}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}


async def test_operators_pages_are_not_counted(limited_door: Door) -> None:
    answers = [await limited_door.caller.by("").get("/healthz") for _ in range(150)]

    assert {answer.status for answer in answers} == {200}
    assert "RateLimit" not in answers[0].headers
