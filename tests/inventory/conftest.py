"""An inventory on a real database, and short words for what its callers do."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import grpc
import psycopg
import pytest
from sqlalchemy import text

from chassis import rpc, trace
from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.errors import Fault
from chassis.idempotency import Claim
from chassis.ids import new_id
from chassis.jetstream import Nats
from chassis.migrate import upgrade
from chassis.outbox import Relay, events_in
from cli.provision import DatabaseUrls
from services.inventory import allocating, dispatching, operations, planning, queue_store, store, trail, warehouses
from services.inventory.domain import Movement, Reason, Stock, StockKey
from services.inventory.operations import Outcome, Wish
from services.inventory.registrar import Registrar
from services.inventory.requests import StockRequest
from services.inventory.server import InventoryServer
from services.inventory.trail import Level
from services.inventory.waker import Waker
from services.inventory.warehouses import Described, Warehouse
from services.inventory.writer import Writer
from skutrail.v1 import events_pb2, inventory_pb2, inventory_pb2_grpc

_numbers = count(1)


class NoRelay:
    """Stands for the relay's nudge alone: nothing is published here."""

    def nudge(self) -> None: ...


@dataclass
class Inventory:
    """The operations, each in a transaction of its own, for one tenant that nobody else uses."""

    database: Database
    tenant_id: str
    ahead: timedelta = timedelta(0)

    def clock(self) -> datetime:
        """The hour it is for this tenant: tests may put it ahead."""
        return utc_now() + self.ahead

    def key(self, sku: str = "SKU-1", warehouse: str = "SEA-1") -> StockKey:
        return StockKey(self.tenant_id, sku, warehouse)

    def wish(
        self,
        qty: int,
        reason: Reason = Reason.RECEIPT,
        *,
        sku: str = "SKU-1",
        warehouse: str = "SEA-1",
        reference: str | None = None,
        key: str = "",
        fingerprint: bytes = b"f",
        expected_balance: int | None = None,
        expected_seq: int | None = None,
    ) -> Wish:
        movement = Movement(self.key(sku, warehouse), qty, reason, reference, expected_balance, expected_seq)
        return Wish(movement, Claim(self.tenant_id, key or f"key-{next(_numbers)}", fingerprint), trace.current())

    async def record(self, *wishes: Wish) -> list[Outcome]:
        return await self.database.run_pipelined(
            lambda pipeline: operations.record_movements(pipeline, wishes, self.clock, new_id)
        )

    async def move(self, qty: int, reason: Reason = Reason.RECEIPT, **more: str) -> Outcome:
        return (await self.record(self.wish(qty, reason, **more)))[0]  # type: ignore[arg-type]

    async def allocate(self, request_id: str, *lines: tuple[str, int], **options: Any) -> inventory_pb2.Allocation:
        request = StockRequest(self.tenant_id, request_id, lines, **options)
        [outcome] = await self.allocate_all(request)
        assert isinstance(outcome, inventory_pb2.Allocation), outcome
        return outcome

    async def allocate_all(self, *requests: StockRequest) -> list[inventory_pb2.Allocation | Fault]:
        return await self.database.run_pipelined(lambda p: allocating.allocate(p, requests, self.clock, new_id))

    async def release(self, request_id: str) -> inventory_pb2.Allocation:
        return await self.database.run_pipelined(
            lambda p: allocating.release(p, self.tenant_id, request_id, self.clock, new_id)
        )

    async def dispatch(self, request_id: str) -> inventory_pb2.Allocation:
        return await self.database.run_pipelined(
            lambda p: dispatching.dispatch(p, self.tenant_id, request_id, self.clock, new_id)
        )

    async def serve(self, *request_ids: str) -> int:
        keys = [(self.tenant_id, request_id) for request_id in request_ids]
        return await self.database.run_pipelined(lambda p: allocating.serve(p, keys, self.clock, new_id))

    @property
    def waker(self) -> Waker:
        return Waker(self.database, NoRelay(), self.clock, new_id)  # type: ignore[arg-type]

    async def expire_due(self) -> int:
        return await self.waker.expire_due()

    async def serveable(self) -> list[str]:
        """The requests of this tenant that wait and could be served now, in the order of rank."""
        [rows] = await self.database.run_pipelined(lambda p: p.ask(queue_store.serveable(self.clock(), 1_000)))
        return [waiting.key[1] for waiting in queue_store.waiting_of(rows) if waiting.key[0] == self.tenant_id]

    async def put_warehouse(self, code: str, **described: Any) -> Described:
        warehouse = Warehouse(self.tenant_id, code, **described)
        return await self.database.run(lambda tx: warehouses.put(tx, warehouse, self.clock()))

    async def plan(self, *lines: tuple[str, int], **options: Any) -> inventory_pb2.AllocationPlan:
        request = StockRequest(self.tenant_id, "shp_new", lines, **options)
        return await self.database.run_pipelined(lambda p: planning.plan(p, request, self.clock))

    async def explain(self, request_id: str) -> inventory_pb2.AllocationPlan:
        return await self.database.run_pipelined(lambda p: planning.explain(p, self.tenant_id, request_id, self.clock))

    async def levels(self, sku: str | None = None) -> list[Level]:
        return await self.database.run(
            lambda tx: trail.list_levels(
                tx, self.tenant_id, sku=sku, warehouse=None, after=None, limit=100, now=self.clock()
            )
        )

    async def ask(self, query: str) -> list[Any]:
        """Rows of a query in which :tenant stands for this tenant."""
        async with self.database.transaction() as tx:
            return list((await tx.execute(text(query), {"tenant": self.tenant_id})).all())

    async def events(self, event_type: str) -> list[events_pb2.Event]:
        """Those of this tenant that were announced, in order."""
        async with self.database.transaction() as tx:
            query = text("SELECT payload FROM outbox WHERE subject = :subject ORDER BY id")
            rows = await tx.execute(query, {"subject": f"skutrail.{event_type}"})
        told = [event for row in rows for event in events_in(row.payload)]
        return [event for event in told if event.tenant_id == self.tenant_id]

    async def stock(self, sku: str = "SKU-1", warehouse: str = "SEA-1") -> Stock:
        return await self.database.run(lambda tx: store.read_stock(tx, self.key(sku, warehouse)))


@pytest.fixture(scope="session")
async def inventory_database(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    database = Database(create_engine(databases["inventory"].application))
    yield database
    await database.engine.dispose()


@pytest.fixture
def inventory(inventory_database: Database) -> Inventory:
    return Inventory(inventory_database, new_id("tenant"))


@pytest.fixture
async def stub(inventory: Inventory, nats_url: str) -> AsyncIterator[inventory_pb2_grpc.InventoryStub]:
    """The doors, over gRPC, with all that runs behind them."""
    nats = Nats(nats_url, "test")
    relay = Relay(inventory.database.engine, nats)
    waker = Waker(inventory.database, relay, inventory.clock, new_id)
    writer = Writer(inventory.database, inventory.clock, new_id)
    registrar = Registrar(inventory.database, inventory.clock)
    servicer = InventoryServer(inventory.database, writer, registrar, relay, waker, inventory.clock, new_id)
    running = [asyncio.create_task(one.run()) for one in (waker, writer, registrar)]
    server = rpc.Server("127.0.0.1:0", ready=inventory.database.is_up)
    await server.start(
        lambda s: inventory_pb2_grpc.add_InventoryServicer_to_server(servicer, s), ["skutrail.v1.Inventory"]
    )
    channel: grpc.aio.Channel = rpc.channel(f"127.0.0.1:{server.port}")
    yield inventory_pb2_grpc.InventoryStub(channel)
    await channel.close()
    await server.stop()
    waker.stop()
    writer.stop()
    registrar.stop()
    await asyncio.gather(*running)
    await nats.close()


@dataclass(frozen=True)
class Place:
    """An inventory database that nobody else uses, as each of those who can reach it."""

    superuser: str
    owner: str
    application: str


@asynccontextmanager
async def fresh_database(postgres: str, urls: DatabaseUrls) -> AsyncIterator[Place]:
    """One without a schema."""
    name = f"fresh_{new_id('db')[3:]}"
    at = [urlsplit(url)._replace(path=f"/{name}").geturl() for url in (postgres, urls.owner, urls.application)]
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        create = f"CREATE DATABASE {name} OWNER skutrail_inventory_owner TEMPLATE template0 LOCALE_PROVIDER builtin"
        await connection.execute(f"{create} BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'".encode())
        yield Place(*at)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
async def place(postgres: str, databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Place]:
    """An empty one."""
    async with fresh_database(postgres, databases["inventory"]) as place:
        await asyncio.to_thread(upgrade, "inventory", place.owner)
        yield place


@pytest.fixture
async def other_place(postgres: str, databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Place]:
    """Another empty one."""
    async with fresh_database(postgres, databases["inventory"]) as place:
        await asyncio.to_thread(upgrade, "inventory", place.owner)
        yield place
