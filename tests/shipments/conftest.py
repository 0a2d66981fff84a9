"""Shipments on a real database beside a real inventory, and short words for what happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import grpc
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox, rpc, trace
from chassis.clock import utc_now
from chassis.consumer import RetryLater
from chassis.database import Database, create_engine
from chassis.errors import Fault
from chassis.idempotency import Claim
from chassis.ids import new_id
from chassis.jetstream import Nats
from chassis.outbox import Relay
from chassis.pipeline import Pipeline
from cli.provision import DatabaseUrls
from services.inventory.registrar import Registrar
from services.inventory.server import InventoryServer
from services.inventory.waker import Waker
from services.inventory.writer import Writer
from services.shipments import creating, labeling, listener, operations, store
from services.shipments.carriers.port import Carrier, CarrierFailure, Label
from services.shipments.creating import Wish
from services.shipments.domain import Address, HeldLine, Line, Policy, Shipment, ShipmentRequest, Stock, StockStatus
from services.shipments.events import Announcer
from services.shipments.label_steps import LEASE_MARGIN
from services.shipments.labeling import Begun, Ended, LabelTask, Settled
from services.shipments.links import LabelLinks
from services.shipments.server import SERVICE_NAME, ShipmentsServer
from services.shipments.steps import Steps
from services.shipments.stragglers import Stragglers
from services.shipments.writer import Writer as CreateWriter
from skutrail.v1 import common_pb2, events_pb2, inventory_pb2, inventory_pb2_grpc, shipments_pb2_grpc
from tests.shipments.carriers import ScriptedCarrier

T = TypeVar("T")

WITHIN_S = 60.0  # the longest way: a redelivery after a kill
POLL_S = 0.02

LEASE = ScriptedCarrier.answers_within + LEASE_MARGIN

ADA = Address("Ada Lovelace", "1 Shoreline Dr", None, "Seattle", "WA", "98101", "US")
ANNOUNCER = Announcer(LabelLinks("https://api.example.com", key=bytes(range(32))), new_id)

_OUTBOX = text("SELECT payload FROM outbox WHERE key LIKE :prefix ORDER BY id")


@dataclass
class Clock:
    """Time that passes when told to."""

    now: datetime = field(default_factory=utc_now)

    def __call__(self) -> datetime:
        return self.now

    def passes(self, time: timedelta) -> None:
        self.now += time


@dataclass
class Shipments:
    """The service without its doors, for one tenant that nobody else uses."""

    database: Database
    inventory: inventory_pb2_grpc.InventoryStub
    tenant_id: str
    clock: Clock
    carrier: ScriptedCarrier
    late_purchases: Stragglers = field(default_factory=lambda: Stragglers("purchases", at_most=0))
    """Nobody: whoever asks for a label waits for it, unless a test says otherwise."""
    late_voids: Stragglers = field(default_factory=lambda: Stragglers("voids", at_most=0))

    @property
    def steps(self) -> Steps:
        return self.steps_with(self.carrier)

    def steps_with(self, carrier: Carrier) -> Steps:
        return Steps(
            database=self.database,
            inventory=self.inventory,
            carrier=carrier,
            announcer=ANNOUNCER,
            clock=self.clock,
            new_id=new_id,
            nudge=lambda: None,
            late_purchases=self.late_purchases,
            late_voids=self.late_voids,
        )

    async def run(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        return await self.database.run(operation)

    async def pipelined(self, operation: Callable[[Pipeline], Awaitable[T]]) -> T:
        return await self.database.run_pipelined(operation)

    async def create(
        self,
        *lines: Line,
        name: str = "Ada Lovelace",
        order_id: str = "ord_1",
        policy: Policy = Policy.ALL_OR_NONE,
        hold_expires_at: datetime | None = None,
    ) -> Shipment:
        request = ShipmentRequest(
            self.tenant_id,
            order_id,
            replace(ADA, name=name),
            lines or (Line("SKU-1", 2),),
            "ups_ground",
            policy=policy,
            hold_expires_at=hold_expires_at,
        )
        wish = Wish(request, Claim(self.tenant_id, new_id("key"), b"f"), trace.current())
        [reply] = await self.database.run_pipelined(
            lambda pipeline: creating.create_shipments(
                pipeline, [wish], announcer=ANNOUNCER, clock=self.clock, new_id=new_id
            )
        )
        if isinstance(reply, Fault):
            raise reply
        return await self.find(reply.shipment.id)

    async def hear_of_stock(self, shipment: Shipment, status: StockStatus, version: int, *warehouses: str) -> Shipment:
        """Inventory's news, without inventory."""
        stock = Stock(status, version, [HeldLine("SKU-1", warehouse, 1) for warehouse in warehouses])
        await self.pipelined(
            lambda p: operations.follow_stock(
                p, [((self.tenant_id, shipment.id), stock)], announcer=ANNOUNCER, clock=self.clock
            )
        )
        return await self.read(shipment)

    async def allocated(self, *warehouses: str) -> Shipment:
        return await self.hear_of_stock(await self.create(), StockStatus.HELD, 1, *warehouses or ("SEA-1",))

    async def ready(self) -> Shipment:
        """With its label, and its stock held by the real inventory."""
        await self.receive(2)
        shipment = await self.create(Line("SKU-1", 2))
        await self.steps.allocate(self.tenant_id, shipment.id)
        await self.buy(shipment)
        return await self.read(shipment)

    async def cancel(self, shipment: Shipment) -> Shipment:
        await self.steps.cancel(self.tenant_id, shipment.id)
        return await self.read(shipment)

    async def end(self, shipment: Shipment) -> Shipment:
        """Cancels, without inventory."""
        await self.pipelined(lambda p: operations.ask_cancel(p, (self.tenant_id, shipment.id), self.clock()))
        return await self.hear_of_stock(shipment, StockStatus.RELEASED, 9)

    async def void(self, shipment: Shipment) -> None:
        await self.steps.void_labels(self.tenant_id, shipment.id)

    async def begin_void(self, shipment: Shipment) -> LabelTask:
        """The first transaction of a void alone."""
        return await self._begin(labeling.begin_voids, shipment)

    async def settle_void(self, task: LabelTask, outcome: CarrierFailure | None) -> bool:
        """The last transaction of a void alone. False where there was nothing left to settle."""
        return (await self._settle(labeling.settle_voids, task, outcome)).counted

    async def begin(self, shipment: Shipment) -> LabelTask:
        """The first transaction of a purchase alone: what a process has done that dies before it calls the carrier."""
        return await self._begin(labeling.begin_purchases, shipment)

    async def settle(self, task: LabelTask, outcome: Label | CarrierFailure) -> Shipment:
        """The last transaction of a purchase alone."""
        settle = partial(labeling.settle_purchases, sells_within=self.carrier.answers_within)
        return (await self._settle(settle, task, outcome)).shipment

    async def _begin(self, begin: Callable[..., Awaitable[Begun]], shipment: Shipment) -> LabelTask:
        keys = [(self.tenant_id, shipment.id)]
        begun = await self.database.run_pipelined(
            lambda p: begin(p, keys, new_id=new_id, lease=LEASE, announcer=ANNOUNCER, clock=self.clock)
        )
        return begun.tasks[0]

    async def _settle(
        self,
        settle: Callable[..., Awaitable[Sequence[Settled]]],
        task: LabelTask,
        outcome: Label | CarrierFailure | None,
    ) -> Settled:
        ended = [Ended(task, outcome)]
        [settled] = await self.database.run_pipelined(lambda p: settle(p, ended, announcer=ANNOUNCER, clock=self.clock))
        return settled

    async def buy(self, shipment: Shipment) -> None:
        await self.steps.buy_labels(self.tenant_id, shipment.id)

    async def keep_buying(self, shipment: Shipment, carrier: Carrier, time: timedelta) -> None:
        """Tries for so long, as often as the listener does."""
        ends_at = self.clock() + time
        while self.clock() <= ends_at:
            with suppress(RetryLater):
                await self.steps_with(carrier).buy_labels(self.tenant_id, shipment.id)
            self.clock.passes(timedelta(seconds=30))

    async def read(self, shipment: Shipment) -> Shipment:
        return await self.find(shipment.id)

    async def find(self, shipment_id: str) -> Shipment:
        found = await self.run(lambda tx: store.find(tx, self.tenant_id, shipment_id))
        assert found is not None
        return found

    async def events(self, shipment: Shipment) -> list[events_pb2.Event]:
        """What was announced of a shipment, in order."""
        rows = await self.run(lambda tx: tx.execute(_OUTBOX, {"prefix": f"{self.tenant_id}/{shipment.id}"}))
        return [event for row in rows for event in outbox.events_in(row.payload)]

    async def event_types(self, shipment: Shipment) -> list[str]:
        return [event.type for event in await self.events(shipment)]

    async def deliver(self, event: events_pb2.Event) -> None:
        """Hands an event to every handler of its type, as the consumers do."""
        for of_type in listener.handlers(self.steps).values():
            if event.type in of_type:
                await of_type[event.type](event)

    async def receive(self, qty: int, sku: str = "SKU-1", warehouse: str = "SEA-1") -> None:
        """Stock arrives in the real inventory."""
        await self.record(qty, inventory_pb2.REASON_RECEIPT, sku, warehouse)

    async def pick(self, qty: int, shipment: Shipment) -> None:
        """The warehouse takes what is held for a shipment off its shelves."""
        await self.record(qty, inventory_pb2.REASON_PICK, reference=shipment.id)

    async def record(
        self,
        qty: int,
        reason: inventory_pb2.Reason,
        sku: str = "SKU-1",
        warehouse: str = "SEA-1",
        reference: str | None = None,
    ) -> None:
        movement = inventory_pb2.Movement(
            tenant_id=self.tenant_id,
            idempotency=common_pb2.IdempotencyKey(key=new_id("key"), fingerprint=b"f"),
            sku=sku,
            warehouse=warehouse,
            qty=qty,
            reason=reason,
            reference=reference,
        )
        reply = await rpc.call(
            self.inventory.RecordMovements, inventory_pb2.RecordMovementsRequest(movements=[movement])
        )
        assert reply.outcomes[0].HasField("entry")

    async def allocation_of(self, shipment: Shipment) -> inventory_pb2.Allocation:
        """How inventory says the shipment stands."""
        lines = [inventory_pb2.StockLine(**vars(line)) for line in shipment.line_items]
        wanted = inventory_pb2.StockRequest(tenant_id=self.tenant_id, request_id=shipment.id, lines=lines)
        reply = await rpc.call(self.inventory.Allocate, inventory_pb2.AllocateRequest(requests=[wanted]))
        return reply.outcomes[0].allocation


def nobody() -> inventory_pb2_grpc.InventoryStub:
    """An inventory that is away."""
    channel: grpc.aio.Channel = rpc.channel("127.0.0.1:1")
    return inventory_pb2_grpc.InventoryStub(channel)


async def warm_up(database: Database, connections: int) -> None:
    """Opens so many connections of the pool at once: those who race must not be put in a row by connecting."""
    barrier = asyncio.Barrier(connections)

    async def hold() -> None:
        async with database.transaction():
            await barrier.wait()

    await asyncio.gather(*(hold() for _ in range(connections)))


async def eventually(read: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """Reads until what is read holds."""
    async with asyncio.timeout(WITHIN_S):
        value = await read()
        while not holds(value):
            await asyncio.sleep(POLL_S)
            value = await read()
    return value


@pytest.fixture(scope="session")
async def shipments_database(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    database = Database(create_engine(databases["shipments"].application))
    yield database
    await database.engine.dispose()


@pytest.fixture(scope="session")
async def inventory_stub(
    databases: Mapping[str, DatabaseUrls], nats_url: str
) -> AsyncIterator[inventory_pb2_grpc.InventoryStub]:
    """A real inventory behind real gRPC."""
    database = Database(create_engine(databases["inventory"].application, pool_size=4))
    nats = Nats(nats_url, "test")
    relay = Relay(database.engine, nats)
    writer = Writer(database, utc_now, new_id)
    waker = Waker(database, relay, utc_now, new_id)
    working = [asyncio.create_task(writer.run()), asyncio.create_task(waker.run())]
    servicer = InventoryServer(database, writer, Registrar(database, utc_now), relay, waker, utc_now, new_id)
    server = rpc.Server("127.0.0.1:0", ready=database.is_up)
    await server.start(
        lambda s: inventory_pb2_grpc.add_InventoryServicer_to_server(servicer, s), ["skutrail.v1.Inventory"]
    )
    channel: grpc.aio.Channel = rpc.channel(f"127.0.0.1:{server.port}")
    yield inventory_pb2_grpc.InventoryStub(channel)
    await channel.close()
    await server.stop()
    writer.stop()
    waker.stop()
    await asyncio.gather(*working)
    await nats.close()
    await database.engine.dispose()


@pytest.fixture
def shipments(shipments_database: Database, inventory_stub: inventory_pb2_grpc.InventoryStub) -> Shipments:
    return Shipments(shipments_database, inventory_stub, new_id("tenant"), Clock(), ScriptedCarrier())


@pytest.fixture
async def stub(shipments: Shipments) -> AsyncIterator[shipments_pb2_grpc.ShipmentsStub]:
    """The service behind real gRPC."""
    writer = CreateWriter(shipments.database, ANNOUNCER, shipments.clock, new_id)
    writing = asyncio.create_task(writer.run())
    servicer = ShipmentsServer(shipments.steps, writer)
    server = rpc.Server("127.0.0.1:0", ready=shipments.database.is_up)
    await server.start(lambda s: shipments_pb2_grpc.add_ShipmentsServicer_to_server(servicer, s), [SERVICE_NAME])
    channel = rpc.channel(f"127.0.0.1:{server.port}")
    yield shipments_pb2_grpc.ShipmentsStub(channel)
    await channel.close()
    await server.stop()
    writer.stop()
    await writing
