"""The steps of a shipment that need somebody else: stock from inventory, labels from a carrier.

Each is taken by the listener when its event comes, and by the sweeper when it did not. Any step may be taken again, at
any time, by several at once:
- allocate and release are idempotent at inventory by the shipment's id, and an answer counts only when it is newer than
  the newest heard (`allocation_version`);
- cancel and dispatch are judged by inventory: each ends the allocation, and that ends once. The wish to cancel is
  committed before inventory hears of it, so that whoever hears the answer, or asks again, knows what it means;
- a label is bought under an attempt that was committed before the carrier heard of it and is leased to one taker.
  Whoever finds an attempt that may have been sent asks the carrier for the label before buying again;
- a label is given back in the same way, and its carrier may be told so any number of times.
That is why these handlers claim no inbox row: the state they change already tells a repetition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import failpoints, rpc, wire
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
    CarrierRefused,
    Label,
    OutcomeUnknown,
    Purchase,
    Sold,
    Tracking,
)
from services.shipments.domain import TRANSITIONS, Fact, HeldLine, Line, Parcel, Shipment, Status, Stock, StockStatus
from services.shipments.events import Announcer
from services.shipments.operations import LabelTask
from skutrail.v1 import common_pb2, inventory_pb2, inventory_pb2_grpc

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
        request = inventory_pb2.AllocateRequest(requests=[stock_request(shipment)])
        failpoints.reach("shipments.allocate_begun")
        [outcome] = (await rpc.call(self.inventory.Allocate, request)).outcomes
        failpoints.reach("shipments.allocate_answered")
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
        failpoints.reach("shipments.stock_followed")

    async def buy_labels(self, tenant_id: str, shipment_id: str) -> None:
        """Buys what labels are missing, one after the other. Raises RetryLater when the carrier is in trouble."""
        while (task := await self._begin_purchase(tenant_id, shipment_id)) is not None:
            failpoints.reach("shipments.purchase_begun")
            outcome = await self._find_or_buy(task)
            await self._settle_purchase(task, outcome)

    async def void_labels(self, tenant_id: str, shipment_id: str) -> None:
        """Gives back the labels that serve nobody. Raises RetryLater when the carrier is in trouble."""
        while (task := await self._begin_void(tenant_id, shipment_id)) is not None:
            await (self._void(task) if task.is_void else self._search(task))

    async def cancel(self, tenant_id: str, shipment_id: str) -> None:
        """Writes the wish down and lets inventory judge. Nothing where there is no more to cancel."""
        if await self.database.run(lambda tx: operations.ask_cancel(tx, tenant_id, shipment_id, self.clock())):
            await self._end_allocation(tenant_id, shipment_id)

    async def finish_cancel(self, tenant_id: str, shipment_id: str) -> None:
        """Does what was asked, if nobody has done it yet."""
        shipment = await self.database.run(lambda tx: store.find(tx, tenant_id, shipment_id))
        if shipment is not None and shipment.cancel_asked_at is not None:
            await self._end_allocation(tenant_id, shipment_id)

    async def dispatch(self, tenant_id: str, shipment_id: str) -> None:
        """Lets a shipment go that has its labels, and applies what inventory says to it."""
        shipment = await self.database.run(lambda tx: store.find(tx, tenant_id, shipment_id))
        if shipment is None or shipment.status is not Status.LABEL_READY:
            return
        request = inventory_pb2.DispatchRequest(tenant_id=tenant_id, request_id=shipment_id)
        failpoints.reach("shipments.dispatch_begun")
        allocation = await rpc.call(self.inventory.Dispatch, request)
        failpoints.reach("shipments.dispatch_answered")
        await self.follow_stock(tenant_id, allocation)
        failpoints.reach("shipments.dispatch_followed")

    async def track(self, tenant_id: str, shipment_id: str) -> None:
        """Asks the carrier whether a shipment that has left is there. Raises RetryLater when it cannot tell."""
        shipment = await self.database.run(lambda tx: store.find(tx, tenant_id, shipment_id))
        if shipment is None or shipment.status is not Status.SHIPPED or not shipment.has_labels:
            return
        for parcel in shipment.current_parcels:
            if await self._ask_whereabouts(parcel) is not Tracking.DELIVERED:
                return
        failpoints.reach("shipments.arrived")
        await self._commit(
            lambda tx: operations.deliver(tx, tenant_id, shipment_id, announcer=self.announcer, now=self.clock())
        )
        failpoints.reach("shipments.delivered")

    async def release_stock(self, tenant_id: str, shipment_id: str) -> None:
        """Gives back what is held for a shipment that has ended, and notes that inventory has answered."""
        request = inventory_pb2.ReleaseRequest(tenant_id=tenant_id, request_id=shipment_id)
        failpoints.reach("shipments.release_begun")
        await rpc.call(self.inventory.Release, request)
        failpoints.reach("shipments.release_answered")
        await self.database.run(lambda tx: store.mark_stock_given_back(tx, tenant_id, shipment_id))
        failpoints.reach("shipments.release_marked")

    async def _end_allocation(self, tenant_id: str, shipment_id: str) -> None:
        request = inventory_pb2.ReleaseRequest(tenant_id=tenant_id, request_id=shipment_id)
        failpoints.reach("shipments.cancel_asked")
        allocation = await rpc.call(self.inventory.Release, request)
        failpoints.reach("shipments.cancel_answered")
        await self.follow_stock(tenant_id, allocation)
        failpoints.reach("shipments.cancel_followed")

    async def _begin_purchase(self, tenant_id: str, shipment_id: str) -> LabelTask | None:
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

    async def _begin_void(self, tenant_id: str, shipment_id: str) -> LabelTask | None:
        return await self.database.run(
            lambda tx: operations.begin_void(
                tx,
                tenant_id,
                shipment_id,
                try_id=self.new_id("att"),
                lease=self.carrier.answers_within + LEASE_MARGIN,
                now=self.clock(),
            )
        )

    async def _void(self, task: LabelTask) -> None:
        failpoints.reach("shipments.void_begun")
        outcome = await _answer(self.carrier.void(_sold(task.parcel)), self._ends_at_s())
        failpoints.reach("shipments.void_answered")
        was_ours = await self.database.run(lambda tx: operations.settle_void(tx, task, outcome, self.clock()))
        failpoints.reach("shipments.void_settled")
        code = outcome.code if outcome is not None else "ok"
        log.info("label.void_ended", reference=task.parcel.reference, code=code)
        if isinstance(outcome, CarrierRefused):
            if was_ours:
                log.error("label.not_taken_back", reference=task.parcel.reference, cause=str(outcome))
        elif outcome is not None:
            raise RetryLater(outcome.code)

    async def _search(self, task: LabelTask) -> None:
        assert task.sent_at is not None
        failpoints.reach("shipments.search_begun")
        outcome = await _answer(self._find(task, task.sent_at), self._ends_at_s())
        failpoints.reach("shipments.search_answered")
        await self._commit(
            lambda tx: operations.settle_search(tx, task, outcome, announcer=self.announcer, now=self.clock())
        )
        failpoints.reach("shipments.search_settled")
        if isinstance(outcome, CarrierFailure):
            raise RetryLater(outcome.code)

    async def _ask_whereabouts(self, parcel: Parcel) -> Tracking:
        outcome = await _answer(self.carrier.track(_sold(parcel)), self._ends_at_s())
        if isinstance(outcome, CarrierFailure):
            raise RetryLater(outcome.code)
        return outcome

    def _ends_at_s(self) -> float:
        return asyncio.get_running_loop().time() + self.carrier.answers_within.total_seconds()

    async def _find_or_buy(self, task: LabelTask) -> Label | CarrierFailure:
        """Asks for the label where it may have been bought, and buys it where it was not."""
        ends_at_s = self._ends_at_s()
        if task.sent_at is not None:
            found = await _answer(self._find(task, task.sent_at), ends_at_s)
            if found is not None:
                return found
            await self._commit(lambda tx: operations.send_again(tx, task, self.clock()))
            failpoints.reach("shipments.sent_again")
        return await _answer(self._buy(task), ends_at_s)

    async def _find(self, task: LabelTask, sent_at: datetime) -> Label | None:
        try:
            found = await self.carrier.find_by_reference(task.parcel.reference)
        except CarrierFailure as trouble:  # not asked is not the same as not bought
            raise OutcomeUnknown(trouble.message) from trouble
        if found is None and self.clock() < sent_at + self.carrier.answers_within + self.carrier.settles_after:
            raise OutcomeUnknown("The carrier does not know the label yet.")
        return found

    async def _buy(self, task: LabelTask) -> Label:
        label = await self.carrier.buy(self.purchase_of(task))
        failpoints.reach("shipments.label_sold")
        return label

    def purchase_of(self, task: LabelTask) -> Purchase:
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

    async def _settle_purchase(self, task: LabelTask, outcome: Label | CarrierFailure) -> None:
        shipment = await self._commit(
            lambda tx: operations.settle_purchase(tx, task, outcome, announcer=self.announcer, now=self.clock())
        )
        failpoints.reach("shipments.purchase_settled")
        stands = shipment.parcel(task.parcel.number).tracking_number
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


def _sold(parcel: Parcel) -> Sold:
    assert parcel.tracking_number is not None
    return Sold(parcel.reference, parcel.tracking_number)


def stock_request(shipment: Shipment) -> inventory_pb2.StockRequest:
    """What inventory is asked for."""
    wanted = inventory_pb2.StockRequest(
        tenant_id=shipment.tenant_id,
        request_id=shipment.id,
        lines=[inventory_pb2.StockLine(**vars(line)) for line in shipment.line_items],
        policy=f"ALLOCATION_POLICY_{shipment.policy.upper()}",
        priority=shipment.priority,
        expires_at=wire.timestamp(shipment.hold_expires_at) if shipment.hold_expires_at else None,
    )
    if shipment.ship_to.coordinates is not None:
        wanted.destination.CopyFrom(common_pb2.Coordinates(**vars(shipment.ship_to.coordinates)))
    return wanted


def _stock(allocation: inventory_pb2.Allocation) -> Stock:
    return Stock(
        status=StockStatus(wire.enum_name(inventory_pb2.AllocationStatus.DESCRIPTOR, allocation.status)),
        version=allocation.version,
        held=[HeldLine(line.sku, line.warehouse, line.qty) for line in allocation.held],
    )
