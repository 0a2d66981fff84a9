"""The webhooks database, emptied before each test, the house on it, and its door."""

from collections.abc import AsyncIterator, Mapping

import psycopg
import pytest

from chassis import rpc
from chassis.database import Database, create_engine
from chassis.ids import new_id
from cli.provision import DatabaseUrls
from services.webhooks.egress import Egress
from services.webhooks.secrets import Vault
from services.webhooks.server import WebhooksServer
from skutrail.v1 import webhooks_pb2_grpc
from tests.webhooks.house import LOOPBACK, MADE, House, StandingClock

# What names another first. Emptied by DELETE: of tables as small as a test's, TRUNCATE takes ten times as long.
TABLES = "attempt", "delivery", "event", "subscription", "idempotency_key", "inbox", "outbox", "parked_event"
EMPTY = ";".join(f"DELETE FROM {table}" for table in TABLES)


@pytest.fixture(scope="session")
async def webhooks_database(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    engine = create_engine(databases["webhooks"].application)
    yield Database(engine)
    await engine.dispose()


@pytest.fixture(scope="session")
async def owner(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[psycopg.AsyncConnection]:
    """Empties the tables; the service itself may not."""
    async with await psycopg.AsyncConnection.connect(databases["webhooks"].owner, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def database(webhooks_database: Database, owner: psycopg.AsyncConnection) -> Database:
    await owner.execute(EMPTY)
    return webhooks_database


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with Egress(LOOPBACK) as egress:
        yield House(database, Vault(bytes(range(32))), egress, StandingClock())


@pytest.fixture
async def webhooks(house: House) -> AsyncIterator[webhooks_pb2_grpc.WebhooksStub]:
    """The service as its callers see it."""
    servicer = WebhooksServer(
        house.database, LOOPBACK, house.vault, clock=house.clock, make_id=new_id, make_key=lambda size: MADE[:size]
    )
    server = rpc.Server("127.0.0.1:0", ready=house.database.is_up)
    await server.start(
        lambda grpc_server: webhooks_pb2_grpc.add_WebhooksServicer_to_server(servicer, grpc_server),
        ["skutrail.v1.Webhooks"],
    )
    channel = rpc.channel(f"127.0.0.1:{server.port}")
    yield webhooks_pb2_grpc.WebhooksStub(channel)
    await channel.close()
    await server.stop()
