"""A database that holds the chassis' own tables and one more, emptied before each test, and a stream per test."""

import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import structlog
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo, StreamInfo

from chassis import jetstream, outbox
from chassis.database import Database, create_engine
from chassis.jetstream import ConsumerSpec, Nats, StreamSpec
from chassis.migrate import messaging_tables
from cli.local import nats
from cli.local.children import Child
from cli.local.home import keep_secrets, open_home
from cli.local.processes import NATS
from cli.local.stack import Stack, choose_ports
from cli.provision import DatabaseUrls
from skutrail.v1 import events_pb2
from tests.chassis.probes import TABLES, Admin

DATABASE = "skutrail_chassis"
ROLE, OWNER = "skutrail_orders", "skutrail_orders_owner"

_numbers = count(1)


@pytest.fixture(scope="session", autouse=True)
def plain_log_lines() -> None:
    """The library's default draws every traceback for a terminal: 500 failing handlers would take half a minute."""
    plain = [
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(processors=plain)


def _on(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
async def database_url(postgres: str, databases: Mapping[str, DatabaseUrls]) -> str:
    """A database of its own, as an application role sees it: the relay publishes whatever it finds."""
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as server:
        await server.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await server.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER} TEMPLATE template0")
    async with await psycopg.AsyncConnection.connect(_on(databases["orders"].owner, DATABASE)) as owner:
        for step in ("0001", "0002"):
            await owner.execute(messaging_tables(ROLE, step=step))
        await owner.execute("CREATE TABLE account (name text PRIMARY KEY, amount int NOT NULL CHECK (amount >= 0))")
        await owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON account TO {ROLE}")
    return _on(databases["orders"].application, DATABASE)


@pytest.fixture(scope="session")
async def admin(postgres: str, database_url: str) -> AsyncIterator[Admin]:
    async with await psycopg.AsyncConnection.connect(_on(postgres, DATABASE), autocommit=True) as connection:
        yield Admin(connection, DATABASE)


@pytest.fixture(scope="session")
async def shared_database(database_url: str) -> AsyncIterator[Database]:
    engine = create_engine(database_url)
    yield Database(engine)
    await engine.dispose()


@pytest.fixture
async def database(shared_database: Database, admin: Admin) -> Database:
    await admin.execute("; ".join(f"DELETE FROM {table}" for table in TABLES))  # cheaper than TRUNCATE while small
    await shared_database.engine.dispose()  # a test that shut the database left dead connections in the pool
    return shared_database


@pytest.fixture(scope="session")
async def nats_connection(nats_url: str) -> AsyncIterator[Nats]:
    connection = Nats(nats_url, "tests")
    yield connection
    await connection.close()


@dataclass(frozen=True)
class Lane:
    """A stream nobody else uses, and short words for what happens on it."""

    number: int
    js: JetStreamContext
    nats_url: str

    @property
    def stream(self) -> StreamSpec:
        return StreamSpec(f"LANE{self.number}", (f"skutrail.lane{self.number}.>",), bytes_max=1024 * 1024)

    def type(self, name: str = "happened") -> str:
        """An event type whose subject belongs to this stream."""
        return f"lane{self.number}.{name}"

    def consumer(self, name: str = "reader", **more: object) -> ConsumerSpec:
        return ConsumerSpec(self.stream.name, f"{name}{self.number}", (f"skutrail.lane{self.number}.>",), **more)  # type: ignore[arg-type]

    async def declare(self, *consumers: ConsumerSpec) -> None:
        # A stream forgets what nobody wants or all have acknowledged: the keeper does neither.
        await jetstream.declare(self.nats_url, [self.stream], [self.consumer("keeper"), *consumers])

    async def publish(self, *events: events_pb2.Event) -> None:
        for event in events:
            await self.publish_raw(event.SerializeToString(), message_id=event.id, event_type=event.type)

    async def publish_raw(self, payload: bytes, message_id: str = "", event_type: str = "") -> None:
        headers = {"Nats-Msg-Id": message_id} if message_id else None
        await self.js.publish(f"skutrail.{event_type or self.type()}", payload, headers=headers)

    async def info(self) -> StreamInfo:
        return await self.js.stream_info(self.stream.name)

    async def consumer_info(self, spec: ConsumerSpec) -> ConsumerInfo:
        return await self.js.consumer_info(spec.stream, spec.name)

    async def count(self) -> int:
        return (await self.info()).state.messages

    async def events(self) -> list[events_pb2.Event]:
        """What the stream holds, first published first."""
        return [event for payload in await self.payloads() for event in outbox.events_in(payload)]

    async def payloads(self) -> list[bytes]:
        state = (await self.info()).state
        numbers = range(state.first_seq, state.last_seq + 1)
        messages = [await self.js.get_msg(self.stream.name, number) for number in numbers]
        return [message.data or b"" for message in messages]


@pytest.fixture
async def lane(nats_connection: Nats, nats_url: str) -> AsyncIterator[Lane]:
    js = await nats_connection.jetstream()
    lane = Lane(next(_numbers), js, nats_url)
    await lane.declare()
    yield lane
    await js.delete_stream(lane.stream.name)


async def announce(database: Database, *events: events_pb2.Event) -> None:
    """Commits events to the outbox, as an operation does."""
    await database.run(lambda tx: outbox.add(tx, events))


class OwnNats:
    """A nats-server that a test may stop and start."""

    def __init__(self, folder: Path) -> None:
        home = open_home(folder)
        self._stack = Stack(home=home, secrets=keep_secrets(home), ports=choose_ports())
        self._child = Child(NATS, self._stack)
        self._connections: list[Nats] = []

    @property
    def url(self) -> str:
        return self._stack.nats_url

    async def connect(self) -> Nats:
        connection = Nats(self.url, "tests")
        await connection.jetstream()
        self._connections.append(connection)
        return connection

    async def start(self) -> None:
        await nats.prepare(self._stack)
        await self._child.start()
        await self._child.wait_healthy()

    async def stop(self) -> None:
        await self._child.stop()

    def forget(self) -> None:
        """Loses all that was stored, while it is stopped."""
        shutil.rmtree(nats.data_folder(self._stack))

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()
        await self.stop()


@pytest.fixture
async def own_nats(tmp_path: Path) -> AsyncIterator[OwnNats]:
    server = OwnNats(tmp_path)
    await server.start()
    yield server
    await server.close()
