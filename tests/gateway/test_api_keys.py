"""API keys end to end: made, presented, refused, revoked, and known while their database is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from chassis.database import Database, create_engine
from chassis.errors import Fault
from cli.provision import DatabaseUrls
from gateway import keys
from gateway.keyring import KNOWN_S, UNKNOWN_S, KeyRing
from gateway.limits import Limit
from gateway.serving import is_loopback
from tests.gateway.conftest import Door
from tests.wire import Wire, wire_to


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    database = Database(create_engine(databases["gateway"].application, pool_size=2))
    yield database
    await database.engine.dispose()


@pytest.fixture
async def wired(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[tuple[Database, Wire]]:
    """The gateway's database at the end of a wire."""
    async with wire_to(databases["gateway"].application) as wire:
        database = Database(create_engine(wire.url, pool_size=2))
        yield database, wire
        wire.mend()
        await database.engine.dispose()


async def test_a_new_key_opens_the_door_and_belongs_to_account_and_mode(door: Door, database: Database) -> None:
    created = await keys.create_key(door.database_url, account="acme", mode="live", limit=Limit(5, 1))

    assert (await door.caller.by(created.secret).post("/v1/shipments", {})).status == 422
    found = await KeyRing(database, admits_example=False).find(created.secret)
    assert found == created.key
    assert (created.key.tenant_id, created.key.last_four) == ("acme/live", created.secret[-4:])


async def test_nothing_that_is_stored_opens_the_door(door: Door, database: Database) -> None:
    created = await keys.create_key(door.database_url, account="acme", mode="test")

    async with database.transaction() as tx:
        rows = await tx.execute(text("SELECT api_key::text FROM api_key"))
        stored = " ".join(row[0] for row in rows)

    assert created.key.id in stored
    assert created.secret.removeprefix("sk_test_")[:8] not in stored


@pytest.mark.parametrize("account", ["", "Acme", "a/b", "a" * 41, "ä", "a b", "a\n"])
async def test_an_account_is_a_plain_name(door: Door, account: str) -> None:
    with pytest.raises(ValueError, match="1 to 40"):
        await keys.create_key(door.database_url, account=account, mode="test")


async def test_wrong_keys_are_all_told_the_same(door: Door) -> None:
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    await keys.revoke_key(door.database_url, created.key.id)
    wrong = [created.secret, keys.new_secret("test"), keys.new_secret("live"), "sk_test_", "x", "sk_live_REPLACE", "é"]

    answers = [await door.caller.by(secret).get("/v1/orders/x") for secret in wrong]

    assert {answer.status for answer in answers} == {401}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {
        'Bearer realm="skutrail", error="invalid_token"'
    }
    bodies = {answer.body.replace(answer.headers["Request-Id"].encode(), b"") for answer in answers}
    assert len(bodies) == 1


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Basic c2tfdGVzdDo=", "authentication_required"),
        ("Bearer", "authentication_required"),
        ("Bearer ", "authentication_required"),
        ("sk_test_REPLACE", "authentication_required"),
        ("Bearer sk_test_REPLACE sk_test_REPLACE", "invalid_api_key"),
        ("bearer sk_test_REPLACE", ""),
    ],
)
async def test_a_key_is_presented_as_a_bearer_token(door: Door, header: str, code: str) -> None:
    answer = await door.caller.by("").post("/v1/shipments", {}, headers={"Authorization": header})

    assert answer.code == (code or "validation_failed")


async def test_two_keys_at_once_are_none(door: Door) -> None:
    header = ("Authorization", "Bearer sk_test_REPLACE")

    assert (await door.caller.by("").ask("GET", "/v1/orders/x", headers=[header, header])).code == "invalid_api_key"


async def test_a_revoked_key_ends_within_seconds(door: Door, database: Database) -> None:
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    clock = Clock()
    ring = KeyRing(database, admits_example=False, clock=clock)
    assert await ring.find(created.secret) == created.key

    assert await keys.revoke_key(door.database_url, created.key.id)

    clock.now += KNOWN_S
    assert KNOWN_S < 5
    assert await ring.find(created.secret) is None
    assert not await keys.revoke_key(door.database_url, created.key.id)


async def test_a_key_made_after_it_was_refused_is_soon_known(door: Door, database: Database) -> None:
    clock = Clock()
    ring = KeyRing(database, admits_example=False, clock=clock)
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    async with database.transaction() as tx:
        await tx.execute(text("UPDATE api_key SET revoked_at = now() WHERE id = :id"), {"id": created.key.id})
    assert await ring.find(created.secret) is None
    async with database.transaction() as tx:
        await tx.execute(text("UPDATE api_key SET revoked_at = NULL WHERE id = :id"), {"id": created.key.id})

    clock.now += UNKNOWN_S

    assert await ring.find(created.secret) == created.key


async def test_a_known_key_works_for_its_life_while_the_database_is_away(
    door: Door, wired: tuple[Database, Wire]
) -> None:
    database, wire = wired
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    clock = Clock()
    ring = KeyRing(database, admits_example=False, clock=clock)
    await ring.find(created.secret)

    wire.end()

    assert await ring.find(created.secret) == created.key
    clock.now += KNOWN_S
    with pytest.raises(Fault) as refused:
        await ring.find(created.secret)
    assert refused.value.code == "unavailable"


async def test_a_frozen_database_holds_nobody_up(door: Door, wired: tuple[Database, Wire]) -> None:
    database, wire = wired
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    ring = KeyRing(database, admits_example=False)
    wire.hold()
    started = time.monotonic()

    waits = [asyncio.create_task(ring.find(created.secret)) for _ in range(20)]
    outcomes = await asyncio.gather(*waits, return_exceptions=True)

    assert time.monotonic() - started < 2
    assert {getattr(outcome, "code", None) for outcome in outcomes} == {"unavailable"}
    wire.mend()
    while await ring_answers(ring, created.secret) is None:
        pass


async def ring_answers(ring: KeyRing, secret: str) -> keys.ApiKey | None:
    try:
        return await ring.find(secret)
    except Fault:
        return None


async def test_the_key_of_the_examples_opens_only_where_it_is_admitted(database: Database) -> None:
    admitted = await KeyRing(database, admits_example=True).find(keys.EXAMPLE_KEY)

    assert admitted is not None
    assert admitted.tenant_id == "local/test"
    assert await KeyRing(database, admits_example=False).find(keys.EXAMPLE_KEY) is None


@pytest.mark.parametrize(
    ("host", "code"),
    [
        *((host, "not_found") for host in ("localhost", "LocalHost:8080", "127.0.0.1:80", "127.8.8.8", "[::1]:8080")),
        *((host, "invalid_api_key") for host in ("rebound.example", "rebound.example:8080", "127.0.0.1.example")),
        *((host, "invalid_api_key") for host in ("localhost.example", "0.0.0.0", "[::2]", "localhost@x", "127.0.0.1:")),
    ],
)
async def test_the_key_of_the_examples_is_refused_where_another_name_led_here(door: Door, host: str, code: str) -> None:
    """DNS rebinding: a web page in a browser on this machine, under a name that resolves to 127.0.0.1."""
    answer = await door.caller.get("/v1/orders/%00", headers={"Host": host})

    assert answer.code == code


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_the_key_of_the_examples_is_admitted_on_loopback_alone(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


async def test_a_key_is_a_stranger_until_it_was_found_and_again_when_it_was_revoked(
    door: Door, database: Database
) -> None:
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    clock = Clock()
    ring = KeyRing(database, admits_example=False, clock=clock)
    assert ring.is_stranger(created.secret)
    assert not ring.is_stranger("sk_test_mistyped")

    await ring.find(created.secret)
    clock.now += 10 * KNOWN_S
    assert not ring.is_stranger(created.secret)

    await keys.revoke_key(door.database_url, created.key.id)
    await ring.find(created.secret)
    assert not ring.is_stranger(created.secret)
    clock.now += UNKNOWN_S
    assert ring.is_stranger(created.secret)
