"""`python -m services.shipments` beside the real inventory and the real NATS: killed, restarted, told things twice."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import aiohttp
import nats
import psycopg
import pytest
from sqlalchemy import text

from chassis import rpc
from chassis.database import Database, create_engine
from chassis.ids import new_id
from cli.local.stack import Stack
from services.shipments import topology
from skutrail.v1 import common_pb2, inventory_pb2, inventory_pb2_grpc, shipments_pb2, shipments_pb2_grpc
from tests.running import RunningStack
from tests.sandbox.running import Sandbox
from tests.shipments.conftest import eventually

ALLOCATED = shipments_pb2.SHIPMENT_STATUS_ALLOCATED
LABEL_READY = shipments_pb2.SHIPMENT_STATUS_LABEL_READY
BACKORDERED = shipments_pb2.SHIPMENT_STATUS_BACKORDERED
FAILED = shipments_pb2.SHIPMENT_STATUS_FAILED


@dataclass
class Caller:
    """A caller of both services, for one tenant that nobody else uses."""

    inventory: inventory_pb2_grpc.InventoryStub
    shipments: shipments_pb2_grpc.ShipmentsStub
    database: Database
    """Shipments' own, to count what it did."""
    tenant_id: str

    async def move(self, qty: int, reason: inventory_pb2.Reason = inventory_pb2.REASON_RECEIPT) -> None:
        movement = inventory_pb2.Movement(
            tenant_id=self.tenant_id, idempotency=_key(), sku="SKU-1", warehouse="SEA-1", qty=qty, reason=reason
        )
        reply = await rpc.call(
            self.inventory.RecordMovements, inventory_pb2.RecordMovementsRequest(movements=[movement])
        )
        assert reply.outcomes[0].HasField("entry"), reply

    async def create(self, qty: int = 1, name: str = "Łukasz Żółć") -> str:
        request = shipments_pb2.CreateShipmentRequest(
            tenant_id=self.tenant_id,
            idempotency=_key(),
            order_id="ord_1",
            ship_to=shipments_pb2.Address(name=name, line1="ul. 1", city="Łódź", postal="90-001", country="PL"),
            line_items=[inventory_pb2.StockLine(sku="SKU-1", qty=qty)],
        )
        wanted = shipments_pb2.CreateShipmentsRequest(requests=[request])
        [outcome] = (await rpc.call(self.shipments.CreateShipments, wanted)).outcomes
        return outcome.created.shipment.id

    async def read(self, shipment_id: str) -> shipments_pb2.Shipment:
        request = shipments_pb2.GetShipmentRequest(tenant_id=self.tenant_id, id=shipment_id)
        return await rpc.call(self.shipments.GetShipment, request)

    async def wait_until(self, shipment_id: str, status: shipments_pb2.ShipmentStatus) -> shipments_pb2.Shipment:
        return await eventually(lambda: self.read(shipment_id), lambda shipment: shipment.status == status)

    async def announced(self) -> list[tuple[str, str]]:
        """(key, subject) of everything shipments ever said of this tenant, in order."""
        query = text("SELECT key, subject FROM outbox WHERE key LIKE :prefix ORDER BY id")
        rows = await self.database.run(lambda tx: tx.execute(query, {"prefix": f"{self.tenant_id}/%"}))
        return [(row.key, row.subject) for row in rows]

    async def label_statuses(self) -> list[str]:
        query = text("SELECT label_status FROM parcel WHERE tenant_id = :t ORDER BY shipment_id, number")
        return list((await self.database.run(lambda tx: tx.execute(query, {"t": self.tenant_id}))).scalars())

    async def cancel(self, shipment_id: str) -> shipments_pb2.Shipment:
        request = shipments_pb2.CancelShipmentRequest(tenant_id=self.tenant_id, idempotency=_key(), id=shipment_id)
        return (await rpc.call(self.shipments.CancelShipment, request)).shipment

    async def dispatch(self, shipment_id: str) -> shipments_pb2.Shipment:
        request = shipments_pb2.DispatchShipmentRequest(tenant_id=self.tenant_id, idempotency=_key(), id=shipment_id)
        return (await rpc.call(self.shipments.DispatchShipment, request)).shipment

    async def labels_per_parcel(self) -> list[int]:
        query = text("SELECT count(*) AS n FROM label WHERE tenant_id = :t GROUP BY shipment_id, number")
        rows = await self.database.run(lambda tx: tx.execute(query, {"t": self.tenant_id}))
        return [row.n for row in rows]


def _key() -> common_pb2.IdempotencyKey:
    return common_pb2.IdempotencyKey(key=new_id("key"), fingerprint=b"f")


@pytest.fixture
async def caller(stack: RunningStack) -> AsyncIterator[Caller]:
    of = stack.system.stack
    inventory, shipments = rpc.channel(of.address("inventory")), rpc.channel(of.address("shipments"))
    database = Database(create_engine(of.databases["shipments"].application, pool_size=2))
    yield Caller(
        inventory_pb2_grpc.InventoryStub(inventory),
        shipments_pb2_grpc.ShipmentsStub(shipments),
        database,
        new_id("tenant"),
    )
    await inventory.close()
    await shipments.close()
    await database.engine.dispose()


async def test_a_shipment_gets_its_stock_and_its_label_by_itself(caller: Caller, stack: RunningStack) -> None:
    await caller.move(5)

    shipment = await caller.wait_until(await caller.create(qty=2), LABEL_READY)

    assert [(line.warehouse, line.qty) for line in shipment.allocations] == [("SEA-1", 2)]
    assert shipment.label_url.startswith(f"{stack.base_url}/v1/shipments/{shipment.id}/label?token=")
    assert [parcel.label_status for parcel in shipment.parcels] == [shipments_pb2.LABEL_STATUS_READY]
    assert shipment.parcels[0].tracking_number.startswith("SKTT")


async def test_a_backordered_shipment_goes_on_when_stock_arrives_without_any_call(caller: Caller) -> None:
    shipment_id = await caller.create(qty=2)
    await caller.wait_until(shipment_id, BACKORDERED)

    await caller.move(2)

    await caller.wait_until(shipment_id, LABEL_READY)


async def test_stock_that_turns_out_missing_gives_its_label_back_and_gets_another_when_it_returns(
    caller: Caller,
) -> None:
    await caller.move(2)
    shipment = await caller.wait_until(await caller.create(qty=2), LABEL_READY)

    await caller.move(-1, inventory_pb2.REASON_ADJUSTMENT)
    short = await caller.wait_until(shipment.id, BACKORDERED)
    assert not short.HasField("label_url")
    await eventually(caller.label_statuses, lambda statuses: statuses == ["voided"])
    await caller.move(1)
    again = await caller.wait_until(shipment.id, LABEL_READY)

    assert again.parcels[0].tracking_number != shipment.parcels[0].tracking_number
    assert await caller.label_statuses() == ["voided", "ready"]


async def test_a_refused_address_fails_the_shipment_and_frees_its_stock_for_the_next(caller: Caller) -> None:
    await caller.move(2)

    failed = await caller.wait_until(await caller.create(qty=2, name="SANDBOX_REJECT_ADDRESS"), FAILED)

    assert failed.error.code == "address_rejected"
    await caller.wait_until(await caller.create(qty=2), LABEL_READY)


async def test_a_canceled_shipment_gives_back_its_stock_and_its_label_without_any_further_call(caller: Caller) -> None:
    await caller.move(2)
    shipment = await caller.wait_until(await caller.create(qty=2), LABEL_READY)

    canceled = await caller.cancel(shipment.id)

    assert canceled.status == shipments_pb2.SHIPMENT_STATUS_CANCELED
    await eventually(caller.label_statuses, lambda statuses: statuses == ["voided"])
    await caller.wait_until(await caller.create(qty=2), LABEL_READY)


async def test_a_dispatched_shipment_takes_its_goods_along(caller: Caller) -> None:
    await caller.move(2)
    shipment = await caller.wait_until(await caller.create(qty=2), LABEL_READY)

    shipped = await caller.dispatch(shipment.id)

    assert shipped.status == shipments_pb2.SHIPMENT_STATUS_SHIPPED
    wanted = inventory_pb2.GetBalanceRequest(tenant_id=caller.tenant_id, sku="SKU-1", warehouse="SEA-1")
    assert (await rpc.call(caller.inventory.GetBalance, wanted)).balance == 0


async def test_a_kill_in_the_middle_of_everything_loses_no_shipment_and_buys_no_label_twice(
    caller: Caller, stack: RunningStack
) -> None:
    await caller.move(40)
    ids = await asyncio.gather(*(caller.create() for _ in range(40)))

    await eventually(caller.labels_per_parcel, lambda labels: len(labels) > 0)
    await stack.kill("shipments")
    await stack.restart("shipments")
    ready = [await caller.wait_until(shipment_id, LABEL_READY) for shipment_id in ids]

    assert await caller.labels_per_parcel() == [1] * 40
    assert len({shipment.parcels[0].tracking_number for shipment in ready}) == 40
    assert [await sold_for(stack, shipment) for shipment in ready] == [1] * 40
    announced = await caller.announced()
    assert len(announced) == len(set(announced)) == 3 * 40


async def test_every_event_published_again_changes_nothing(caller: Caller, stack: RunningStack) -> None:
    await caller.move(4)
    ids = [await caller.create() for _ in range(3)]
    ids.append(await caller.create(qty=50))
    before = [await caller.wait_until(shipment_id, LABEL_READY) for shipment_id in ids[:3]]
    before.append(await caller.wait_until(ids[3], BACKORDERED))
    said = await caller.announced()

    again = await publish_again(stack.system.stack, caller.tenant_id)

    assert again >= len(said)
    after = [await caller.read(shipment_id) for shipment_id in ids]
    assert [shipment.version for shipment in after] == [shipment.version for shipment in before]
    assert await caller.announced() == said
    assert await caller.labels_per_parcel() == [1] * 3


async def publish_again(stack: Stack, tenant_id: str) -> int:
    """Publishes the tenant's events of both services once more, newest first, and waits until all are handled."""
    client = await nats.connect(stack.nats_url)
    js = client.jetstream()
    copies: list[tuple[str, bytes]] = []
    for name in ("inventory", "shipments"):
        async with await psycopg.AsyncConnection.connect(stack.databases[name].owner) as connection:
            query = "SELECT subject, payload FROM outbox WHERE key LIKE %s ORDER BY id"
            copies += await (await connection.execute(query, [f"{tenant_id}/%"])).fetchall()
    for subject, data in reversed(copies):
        await js.publish(subject, data)  # no Nats-Msg-Id: the stream must not take it for known
    for spec in topology.CONSUMERS:
        await eventually(
            partial(js.consumer_info, spec.stream, spec.name),
            lambda info: info.num_pending == 0 and info.num_ack_pending == 0,
        )
    await client.close()
    return len(copies)


@pytest.mark.parametrize("fault", ["LATE_SUCCESS", "TIMEOUT x1"])
async def test_a_label_whose_answer_was_lost_is_bought_once(caller: Caller, stack: RunningStack, fault: str) -> None:
    await caller.move(1)

    shipment = await caller.wait_until(await caller.create(name=f"SANDBOX_{fault}"), LABEL_READY)

    assert await sold_for(stack, shipment) == 1


async def test_a_label_is_bought_when_the_carrier_is_back(caller: Caller, stack: RunningStack) -> None:
    await caller.move(1)
    await stack.kill("sandbox")
    shipment_id = await caller.create()
    await caller.wait_until(shipment_id, ALLOCATED)
    await stack.restart("sandbox")

    shipment = await caller.wait_until(shipment_id, LABEL_READY)

    assert await sold_for(stack, shipment) == 1


async def sold_for(stack: RunningStack, shipment: shipments_pb2.Shipment) -> int:
    """How many labels the carrier sold for the shipment's one parcel."""
    async with aiohttp.ClientSession() as session:
        sold, _ = await Sandbox(stack.system.stack.carrier_url, session).sales(f"{shipment.id}-1")
        return sold


async def test_a_key_that_is_no_key_stops_the_start_and_is_not_printed() -> None:
    environment = dict.fromkeys(
        ("SKUTRAIL_DATABASE_URL", "SKUTRAIL_NATS_URL", "SKUTRAIL_INVENTORY_ADDR", "SKUTRAIL_CARRIER_URL"), "unused"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.shipments"),
        env={**os.environ, **environment, "SKUTRAIL_PUBLIC_URL": "unused", "SKUTRAIL_LINK_KEY": "dG9vLXNob3J0"},
        stderr=asyncio.subprocess.PIPE,
    )

    _, said = await process.communicate()

    assert process.returncode == 1
    assert b"link_key" in said
    assert b"dG9vLXNob3J0" not in said
