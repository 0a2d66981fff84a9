"""The steps of a shipment that need somebody else: stock from inventory, labels from a carrier.

Each is taken by the listener when its event comes, and by the sweeper when it did not. Any step may be taken again, at
any time, by several at once:
- allocate and release are idempotent at inventory by the shipment's id, and an answer counts only when it is newer than
  the newest heard (`allocation_version`);
- a label is bought under an attempt that was committed before the carrier heard of it and is leased to one taker.
  Whoever finds an attempt that may have been sent asks the carrier for the label before buying again.
That is why these handlers claim no inbox row: the state they change already tells a repetition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import rpc, wire
from chassis.clock import Clock
from chassis.consumer import RetryLater
from chassis.database import Database
from chassis.errors import from_message
from chassis.ids import IdMaker
from chassis.logs import log
from services.shipments import operations, store
from services.shipments.carriers.port import (
    Carrier,
    CarrierFailure,
    Label,
    OutcomeUnknown,
    Purchase,
)
from services.shipments.domain import TRANSITIONS, Fact, HeldLine, Line, Status, Stock, StockStatus
from services.shipments.events import Announcer
from services.shipments.operations import PurchaseTask
from skutrail.v1 import inventory_pb2, inventory_pb2_grpc

T = TypeVar("T")

# What a lease lasts longer than the carrier may take: time to write the outcome down, and for clocks to differ.
LEASE_MARGIN = timedelta(seconds=5)


@dataclass(frozen=True)
class Steps:
    database: Database
    inventory: inventory_pb2_grpc.InventoryAsyncStub
    carrier: Carrier
    announcer: Announcer
    clock: Clock
    new_id: IdMaker
    nudge: Callable[[], None]
    """Tells the relay that there may be something to publish."""

    async def allocate(self, tenant_id: str, shipment_id: str) -> None:
        """Asks for the stock of a shipment, or how it stands, and applies the answer."""
        shipment = await self.database.run(lambda tx: store.find(tx, tenant_id, shipment_id))
        if shipment is None or Fact.STOCK_HELD not in TRANSITIONS[shipment.status]:
            return  # its stock moves it no more
        lines = [inventory_pb2.StockLine(**vars(line)) for line in shipment.line_items]
        wanted = inventory_pb2.StockRequest(tenant_id=tenant_id, request_id=shipment_id, lines=lines)
        request = inventory_pb2.AllocateRequest(requests=[wanted])
        [outcome] = (await rpc.call(self.inventory.Allocate, request)).outcomes
        if outcome.HasField("refusal"):
            raise from_message(outcome.refusal)
        await self.follow_stock(tenant_id, outcome.allocation)

    async def follow_stock(self, tenant_id: str, allocation: inventory_pb2.Allocation) -> None:
        """Applies what inventory says it holds for a shipment."""
        await self._commit(
            lambda tx: operations.follow_stock(
                tx, tenant_id, allocation.request_id, _stock(allocation), announcer=self.announcer, now=self.clock()
            )
        )

    async def buy_labels(self, tenant_id: str, shipment_id: str) -> None:
        """Buys what labels are missing, one after the other. Raises RetryLater when the carrier is in trouble."""
        while (task := await self._begin_purchase(tenant_id, shipment_id)) is not None:
            outcome = await self._find_or_buy(task)
            await self._settle_purchase(task, outcome)

    async def release_stock(self, tenant_id: str, shipment_id: str) -> None:
        """Gives back what is held for a shipment that has ended, and notes that inventory has answered."""
        request = inventory_pb2.ReleaseRequest(tenant_id=tenant_id, request_id=shipment_id)
        await rpc.call(self.inventory.Release, request)
        await self.database.run(lambda tx: store.mark_stock_given_back(tx, tenant_id, shipment_id))

    async def _begin_purchase(self, tenant_id: str, shipment_id: str) -> PurchaseTask | None:
        return await self._commit(
            lambda tx: operations.begin_purchase(
                tx,
                tenant_id,
                shipment_id,
                try_id=self.new_id("att"),
                lease=self.carrier.answers_within + LEASE_MARGIN,
                announcer=self.announcer,
                now=self.clock(),
            )
        )

    async def _find_or_buy(self, task: PurchaseTask) -> Label | CarrierFailure:
        """Asks for the label where it may have been bought, and buys it where it was not."""
        ends_at_s = asyncio.get_running_loop().time() + self.carrier.answers_within.total_seconds()
        if task.sent_at is not None:
            found = await _answer(self._find(task, task.sent_at), ends_at_s)
            if found is not None:
                return found
            await self._commit(lambda tx: operations.send_again(tx, task, self.clock()))
        return await _answer(self._buy(task), ends_at_s)

    async def _find(self, task: PurchaseTask, sent_at: datetime) -> Label | None:
        try:
            found = await self.carrier.find_by_reference(task.parcel.reference)
        except CarrierFailure as trouble:  # not asked is not the same as not bought
            raise OutcomeUnknown(trouble.message) from trouble
        if found is None and self.clock() < sent_at + self.carrier.answers_within + self.carrier.settles_after:
            raise OutcomeUnknown("The carrier does not know the label yet.")
        return found

    async def _buy(self, task: PurchaseTask) -> Label:
        return await self.carrier.buy(self.purchase_of(task))

    def purchase_of(self, task: PurchaseTask) -> Purchase:
        """What the carrier is asked for."""
        shipment, parcel = task.shipment, task.parcel
        assert parcel.attempt is not None
        return Purchase(
            attempt_key=parcel.attempt.key,
            reference=parcel.reference,
            order_id=shipment.order_id,
            ship_from=parcel.warehouse,
            ship_to=shipment.ship_to,
            service=self.carrier.choose_service(shipment.carrier_hint),
            lines=[Line(held.sku, held.qty) for held in shipment.allocations if held.warehouse == parcel.warehouse],
        )

    async def _settle_purchase(self, task: PurchaseTask, outcome: Label | CarrierFailure) -> None:
        shipment = await self._commit(
            lambda tx: operations.settle_purchase(tx, task, outcome, announcer=self.announcer, now=self.clock())
        )
        stands = shipment.parcel(task.parcel.warehouse).tracking_number
        if isinstance(outcome, Label) and outcome.tracking_number != stands:
            log.error("label.surplus", reference=task.parcel.reference, tracking_number=outcome.tracking_number)
        code = outcome.code if isinstance(outcome, CarrierFailure) else "ok"
        log.info("label.purchase_ended", reference=task.parcel.reference, code=code, status=shipment.status)
        if isinstance(outcome, CarrierFailure) and shipment.status is Status.ALLOCATED:
            raise RetryLater(outcome.code)

    async def _commit(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        result = await self.database.run(operation)
        self.nudge()
        return result


async def _answer(asked: Awaitable[T], ends_at_s: float) -> T | CarrierFailure:
    """What the carrier says until then, in seconds of the event loop's clock."""
    try:
        async with asyncio.timeout_at(ends_at_s):
            return await asked
    except TimeoutError:
        return OutcomeUnknown("The carrier did not answer in time.")
    except CarrierFailure as failure:
        return failure
    except Exception:  # noqa: BLE001 - a defect of the adapter must end as any trouble does: tried again, then failed
        log.exception("carrier.broke_off")
        return OutcomeUnknown("The carrier's answer could not be read.")


def _stock(allocation: inventory_pb2.Allocation) -> Stock:
    return Stock(
        status=StockStatus(wire.enum_name(inventory_pb2.AllocationStatus.DESCRIPTOR, allocation.status)),
        version=allocation.version,
        held=[HeldLine(line.sku, line.warehouse, line.qty) for line in allocation.held],
    )
