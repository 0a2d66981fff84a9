"""API keys end to end: made, presented, refused, revoked, and known while their database is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from chassis.database import Database, create_engine
from chassis.errors import Fault
from cli.provision import DatabaseUrls
from gateway import keys
from gateway.access import Gatekeeper
from gateway.keyring import KNOWN_S, UNKNOWN_S, KeyRing
from gateway.limits import Buckets, Limit
from gateway.serving import is_loopback
from tests.gateway.conftest import Door


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Wire:
    """A TCP wire to the database that can be cut, or held so that nothing comes through."""

    host: str
    port: int
    open_ends: list[asyncio.StreamWriter] = field(default_factory=list)
    flows: asyncio.Event = field(default_factory=asyncio.Event)

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        self.open_ends += [writer, far_writer]
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                await self.flows.wait()
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass  # cut
        finally:
            writer.close()

    def cut(self) -> None:
        for end in self.open_ends:
            end.transport.abort()


@pytest.fixture
async def database(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    database = Database(create_engine(databases["gateway"].application, pool_size=2))
    yield database
    await database.engine.dispose()


@pytest.fixture
async def wired(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[tuple[Database, Wire, asyncio.Server]]:
    """The gateway's database at the end of a wire."""
    url = make_url(databases["gateway"].application)
    wire = Wire(url.host or "", url.port or 0)
    wire.flows.set()
    server = await asyncio.start_server(wire.join, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = Database(create_engine(url.set(port=port).render_as_string(hide_password=False), pool_size=2))
    yield database, wire, server
    wire.flows.set()
    await database.engine.dispose()
    server.close()
    wire.cut()


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
    door: Door, wired: tuple[Database, Wire, asyncio.Server]
) -> None:
    database, wire, server = wired
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    clock = Clock()
    ring = KeyRing(database, admits_example=False, clock=clock)
    await ring.find(created.secret)

    server.close()
    wire.cut()

    assert await ring.find(created.secret) == created.key
    clock.now += KNOWN_S
    with pytest.raises(Fault) as refused:
        await ring.find(created.secret)
    assert refused.value.code == "unavailable"


async def test_a_frozen_database_holds_nobody_up(door: Door, wired: tuple[Database, Wire, asyncio.Server]) -> None:
    database, wire, _ = wired
    created = await keys.create_key(door.database_url, account="acme", mode="test")
    ring = KeyRing(database, admits_example=False)
    wire.flows.clear()
    started = time.monotonic()

    waits = [asyncio.create_task(ring.find(created.secret)) for _ in range(20)]
    outcomes = await asyncio.gather(*waits, return_exceptions=True)

    assert time.monotonic() - started < 2
    assert {getattr(outcome, "code", None) for outcome in outcomes} == {"unavailable"}
    wire.flows.set()
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
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_the_key_of_the_examples_is_admitted_on_loopback_alone(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


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


async def test_without_a_valid_key_the_address_is_counted(limited_door: Door, database: Database) -> None:
    for secret in ("", "sk_test_guess"):
        answer = await limited_door.caller.by(secret).get("/v1/orders/x")
        assert (answer.status, answer.headers["X-RateLimit-Limit"]) == (401, "100")

    gatekeeper = Gatekeeper(KeyRing(database, admits_example=False), Buckets())
    nobody, guesser = Fault("authentication_required", "-"), Fault("invalid_api_key", "-")
    drawn = [gatekeeper.draw(caller, "192.0.2.1") for _ in range(100) for caller in (nobody, guesser)]
    assert [budget.is_spent for budget in drawn if budget] == [False] * 100 + [True] * 100
    elsewhere = gatekeeper.draw(nobody, "192.0.2.2")
    assert elsewhere is not None
    assert not elsewhere.is_spent


async def test_operators_pages_are_not_counted(limited_door: Door) -> None:
    answers = [await limited_door.caller.by("").get("/healthz") for _ in range(150)]

    assert {answer.status for answer in answers} == {200}
    assert "RateLimit" not in answers[0].headers
