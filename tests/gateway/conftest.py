"""Two doors to knock at: a gateway of our own in front of services that are not there, and that of the whole system."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp
import pytest

from chassis.database import Database, create_engine
from cli.local.stack import free_ports
from cli.provision import DatabaseUrls
from gateway.access import Gatekeeper
from gateway.app import make_app
from gateway.client_address import parse_networks
from gateway.cursors import Cursors
from gateway.intake import HELD_BYTES_MAX, Intake
from gateway.keyring import KeyRing
from gateway.limits import Buckets, Limit
from gateway.metrics import Metrics
from gateway.operate import Readiness
from gateway.serving import Serving, serve
from gateway.upstream import Upstream
from tests.gateway.asking import Caller
from tests.running import RunningStack


@dataclass(frozen=True)
class Door:
    caller: Caller
    port: int
    database: Database
    serving: Serving

    @property
    def database_url(self) -> str:
        return self.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture(scope="session")
async def door(databases: Mapping[str, DatabaseUrls], session: aiohttp.ClientSession) -> AsyncIterator[Door]:
    """One without limits: most tests ask more than a caller may."""
    async for opened in _open(databases["gateway"].application, session):
        yield opened


@pytest.fixture
async def limited_door(databases: Mapping[str, DatabaseUrls], session: aiohttp.ClientSession) -> AsyncIterator[Door]:
    """One with limits, and buckets that nobody has drawn on."""
    async for opened in _open(databases["gateway"].application, session, buckets=Buckets()):
        yield opened


@pytest.fixture
async def proxied_door(databases: Mapping[str, DatabaseUrls], session: aiohttp.ClientSession) -> AsyncIterator[Door]:
    """One with limits, which takes whoever calls from this machine for a proxy."""
    async for opened in _open(databases["gateway"].application, session, buckets=Buckets(), proxies="127.0.0.0/8"):
        yield opened


@pytest.fixture
async def demanding_door(databases: Mapping[str, DatabaseUrls], session: aiohttp.ClientSession) -> AsyncIterator[Door]:
    """One whose operator wants an Idempotency-Key with every POST."""
    async for opened in _open(databases["gateway"].application, session, key_is_required=True):
        yield opened


@pytest.fixture
async def narrow_door(databases: Mapping[str, DatabaseUrls], session: aiohttp.ClientSession) -> AsyncIterator[Door]:
    """One with room for 100,000 bytes of bodies at once."""
    async for opened in _open(databases["gateway"].application, session, body_bytes=100_000):
        yield opened


@pytest.fixture
async def keyless_door(session: aiohttp.ClientSession) -> AsyncIterator[Door]:
    """One with limits, whose key database is away."""
    async for opened in _open("postgresql://nobody:x@127.0.0.1:1/none", session, buckets=Buckets()):
        yield opened


@pytest.fixture
async def leaving_door(databases: Mapping[str, DatabaseUrls], session: aiohttp.ClientSession) -> AsyncIterator[Door]:
    """One that a test may stop."""
    async for opened in _open(databases["gateway"].application, session):
        yield opened


@pytest.fixture
async def quiet_door(databases: Mapping[str, DatabaseUrls], session: aiohttp.ClientSession) -> AsyncIterator[Door]:
    """Of the requests that went well it logs every third."""
    async for opened in _open(databases["gateway"].application, session, log_every=3):
        yield opened


async def _open(
    url: str,
    session: aiohttp.ClientSession,
    *,
    buckets: Buckets | None = None,
    key_is_required: bool = False,
    body_bytes: int = HELD_BYTES_MAX,
    proxies: str = "",
    log_every: int = 1,
) -> AsyncIterator[Door]:
    database = Database(create_engine(url))
    names = ("inventory", "shipments", "orders", "webhooks")
    upstream = Upstream({name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(4), strict=True)})
    gatekeeper = Gatekeeper(KeyRing(database, admits_example=True), buckets, proxies=parse_networks(proxies))
    readiness = Readiness(upstream, database)
    app = make_app(
        metrics=Metrics(),
        upstream=upstream,
        gatekeeper=gatekeeper,
        readiness=readiness,
        intake=Intake(body_bytes),
        cursors=Cursors(bytes(32)),
        key_is_required=key_is_required,
        log_every=log_every,
    )
    serving = await serve(app, host="127.0.0.1", port=0)
    yield Door(Caller(session, serving.url), int(serving.url.rpartition(":")[2]), database, serving)
    await serving.stop()
    await upstream.close()
    await database.engine.dispose()


@pytest.fixture(scope="session")
async def caller(stack: RunningStack, session: aiohttp.ClientSession) -> Caller:
    """A caller of the whole system, who may ask as often as a test likes."""
    return Caller(session, stack.base_url, await stack.create_key("door-tests", limit=Limit(100_000, 1)))
