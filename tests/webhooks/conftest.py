"""The webhooks database, emptied before each test, and the house on it."""

from collections.abc import AsyncIterator, Mapping

import psycopg
import pytest

from chassis.database import Database, create_engine
from cli.provision import DatabaseUrls
from services.webhooks.egress import Egress
from services.webhooks.secrets import Vault
from tests.webhooks.house import LOOPBACK, House, StandingClock

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
