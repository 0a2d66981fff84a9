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

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from chassis import failpoints, rpc, wire
from chassis.clock import Clock
from chassis.consumer import RetryLater
from chassis.database import Database
from chassis.errors import from_message
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from services.shipments import operations, store
from services.shipments.carriers.port import Carrier, Tracking
from services.shipments.domain import TRANSITIONS, Fact, HeldLine, Shipment, Status, Stock, StockStatus
from services.shipments.events import Announcer
from services.shipments.label_steps import LabelSteps, Left
from services.shipments.store import ShipmentKey
from services.shipments.stragglers import Stragglers
from skutrail.v1 import common_pb2, inventory_pb2, inventory_pb2_grpc

T = TypeVar("T")

DISPATCH_TRIES_MAX = 3  # picks by the ledger change the stock of a shipment, and move no shipment
REQUESTS_MAX = 100  # for stock, asked of inventory at once; what it takes


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
    late_purchases: Stragglers = field(default_factory=lambda: Stragglers("late_purchases"))
    late_voids: Stragglers = field(default_factory=lambda: Stragglers("late_voids"))

    @property
    def labels(self) -> LabelSteps:
        """The steps that take a carrier."""
        return LabelSteps(
            self.database,
            self.carrier,
            self.announcer,
            self.clock,
            self.new_id,
            self.nudge,
            self.late_purchases,
            self.late_voids,
        )

    async def allocate(self, tenant_id: str, shipment_id: str) -> None:
        await self.allocate_all([(tenant_id, shipment_id)])

    async def allocate_all(self, keys: Sequence[ShipmentKey]) -> None:
        """Asks for the stock of shipments, or how it stands, and applies the answers. Raises the first refusal."""
        found = await self.database.run_pipelined(lambda p: store.find_all(p, keys))
        # Those that their stock still moves.
        waiting = [found[key] for key in sorted(found) if Fact.STOCK_HELD in TRANSITIONS[found[key].status]]
        for start in range(0, len(waiting), REQUESTS_MAX):
            await self._allocate_some(waiting[start : start + REQUESTS_MAX])

    async def _allocate_some(self, shipments: Sequence[Shipment]) -> None:
        request = inventory_pb2.AllocateRequest(requests=[stock_request(shipment) for shipment in shipments])
        failpoints.reach("shipments.allocate_begun")
        outcomes = (await rpc.call(self.inventory.Allocate, request)).outcomes
        failpoints.reach("shipments.allocate_answered")
        told = zip(shipments, outcomes, strict=True)
        await self.follow_stock([(one.tenant_id, out.allocation) for one, out in told if out.HasField("allocation")])
        for outcome in outcomes:
            if outcome.HasField("refusal"):
                raise from_message(outcome.refusal)

    async def follow_stock(self, news: Sequence[tuple[str, inventory_pb2.Allocation]]) -> None:
        """Applies what inventory says it holds for shipments of tenants."""
        heard = [((tenant_id, allocation.request_id), _stock(allocation)) for tenant_id, allocation in news]
        await self._commit(lambda p: operations.follow_stock(p, heard, announcer=self.announcer, clock=self.clock))
        failpoints.reach("shipments.stock_followed")

    async def buy_labels(self, tenant_id: str, shipment_id: str) -> None:
        """Buys what labels are missing, one after the other. Raises RetryLater when the carrier is in trouble."""
        _come_again(await self.labels.buy_all([(tenant_id, shipment_id)]))

    async def void_labels(self, tenant_id: str, shipment_id: str) -> None:
        """Gives back the labels that serve nobody. Raises RetryLater when the carrier is in trouble."""
        _come_again(await self.labels.void_all([(tenant_id, shipment_id)]))

    async def cancel(self, tenant_id: str, shipment_id: str) -> None:
        """Writes the wish down and lets inventory judge. Nothing where there is no more to cancel."""
        if await self._commit(lambda p: operations.ask_cancel(p, (tenant_id, shipment_id), self.clock())):
            await self._end_allocation(tenant_id, shipment_id)

    async def finish_cancel(self, tenant_id: str, shipment_id: str) -> None:
        """Does what was asked, if nobody has done it yet."""
        shipment = await self.database.run(lambda tx: store.find(tx, tenant_id, shipment_id))
        if shipment is not None and shipment.cancel_asked_at is not None:
            await self._end_allocation(tenant_id, shipment_id)

    async def dispatch(self, tenant_id: str, shipment_id: str) -> None:
        """Lets a shipment go that has its labels, and applies what inventory says to it. Where its stock has changed
        since it was heard of, it goes only if its labels still are for it."""
        for _ in range(DISPATCH_TRIES_MAX):
            shipment = await self.database.run(lambda tx: store.find(tx, tenant_id, shipment_id))
            if shipment is None or shipment.status is not Status.LABEL_READY:
                return
            request = inventory_pb2.DispatchRequest(
                tenant_id=tenant_id, request_id=shipment_id, version=shipment.allocation_version
            )
            failpoints.reach("shipments.dispatch_begun")
            allocation = await rpc.call(self.inventory.Dispatch, request)
            failpoints.reach("shipments.dispatch_answered")
            await self.follow_stock([(tenant_id, allocation)])
            failpoints.reach("shipments.dispatch_followed")

    async def track(self, tenant_id: str, shipment_id: str) -> None:
        """Asks the carrier whether a shipment that has left is there. Raises RetryLater when it cannot tell."""
        shipment = await self.database.run(lambda tx: store.find(tx, tenant_id, shipment_id))
        if shipment is None or shipment.status is not Status.SHIPPED or not shipment.has_labels:
            return
        for parcel in shipment.current_parcels:
            if await self.labels.track(parcel) is not Tracking.DELIVERED:
                return
        failpoints.reach("shipments.arrived")
        await self._commit(
            lambda p: operations.deliver(p, (tenant_id, shipment_id), announcer=self.announcer, now=self.clock())
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
        await self.follow_stock([(tenant_id, allocation)])
        failpoints.reach("shipments.cancel_followed")

    async def _commit(self, operation: Callable[[Pipeline], Awaitable[T]]) -> T:
        result = await self.database.run_pipelined(operation)
        self.nudge()
        return result


def _come_again(left: Left) -> None:
    for trouble in left.values():
        raise RetryLater(trouble.cause, trouble.delay_s)


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
