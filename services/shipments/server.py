"""In, by call: request, operation, reply."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import failpoints, idempotency, wire
from chassis.errors import Fault, FieldFault, to_message
from chassis.rpc import Context
from chassis.trace import cause_of
from services.shipments import labels, operations
from services.shipments.creating import Wish
from services.shipments.domain import Address, Coordinates, Line, Policy, ShipmentRequest, Status
from services.shipments.steps import Steps
from services.shipments.writer import Writer
from skutrail.v1 import common_pb2, inventory_pb2, shipments_pb2, shipments_pb2_grpc

SERVICE_NAME = shipments_pb2.DESCRIPTOR.services_by_name["Shipments"].full_name
CREATED_MAX = 64  # in a call
PAGE_MAX = 100
PAGE_BYTES_MAX = 3 * 1024 * 1024  # below what a message may be, with room for the last one


class ShipmentsServer(shipments_pb2_grpc.ShipmentsServicer):
    def __init__(self, steps: Steps, writer: Writer) -> None:
        self._writer = writer
        self._steps = steps
        self._database = steps.database
        self._announcer = steps.announcer
        self._clock = steps.clock

    async def CreateShipments(
        self, request: shipments_pb2.CreateShipmentsRequest, context: Context
    ) -> shipments_pb2.CreateShipmentsReply:
        if not 1 <= len(request.requests) <= CREATED_MAX:
            raise Fault("validation_failed", f"A call creates 1 to {CREATED_MAX} shipments.")
        wanted = [_wish_or_refusal(one) for one in request.requests]
        created = iter(await self._writer.create([wish for wish in wanted if isinstance(wish, Wish)]))
        failpoints.reach("shipments.created")
        self._steps.nudge()
        outcomes = [_outcome(next(created) if isinstance(one, Wish) else one) for one in wanted]
        return shipments_pb2.CreateShipmentsReply(outcomes=outcomes)

    async def CancelShipment(
        self, request: shipments_pb2.CancelShipmentRequest, context: Context
    ) -> shipments_pb2.ShipmentReply:
        return await self._bring_to_end(request, self._steps.cancel, Status.CANCELED)

    async def DispatchShipment(
        self, request: shipments_pb2.DispatchShipmentRequest, context: Context
    ) -> shipments_pb2.ShipmentReply:
        return await self._bring_to_end(request, self._steps.dispatch, Status.SHIPPED, Status.DELIVERED)

    async def GetShipment(self, request: shipments_pb2.GetShipmentRequest, context: Context) -> shipments_pb2.Shipment:
        shipment = await self._database.run(lambda tx: operations.get_shipment(tx, request.tenant_id, request.id))
        return self._announcer.snapshot(shipment, self._clock())

    async def GetTerms(
        self, request: shipments_pb2.GetShipmentRequest, context: Context
    ) -> shipments_pb2.ShipmentTerms:
        shipment = await self._database.run(lambda tx: operations.get_shipment(tx, request.tenant_id, request.id))
        expires_at = shipment.hold_expires_at
        return shipments_pb2.ShipmentTerms(
            allocation=f"ALLOCATION_POLICY_{shipment.policy.upper()}",
            priority=shipment.priority,
            hold_expires_at=wire.timestamp(expires_at) if expires_at is not None else None,
        )

    async def ListShipments(
        self, request: shipments_pb2.ListShipmentsRequest, context: Context
    ) -> shipments_pb2.ListShipmentsReply:
        limit = min(max(request.limit, 1), PAGE_MAX)
        found = await self._database.run(
            lambda tx: operations.list_shipments(
                tx,
                request.tenant_id,
                order_id=request.order_id if request.HasField("order_id") else None,
                status=_status(request.status) if request.HasField("status") else None,
                after_id=request.after_id if request.HasField("after_id") else None,
                limit=limit,
            )
        )
        now = self._clock()
        page = _fitting([self._announcer.snapshot(shipment, now) for shipment in found[:limit]])
        return shipments_pb2.ListShipmentsReply(shipments=page, has_more=len(found) > len(page))

    async def GetLabel(self, request: shipments_pb2.GetLabelRequest, context: Context) -> shipments_pb2.Label:
        tenant_id = request.tenant_id or self._announcer.links.verify(
            request.token, shipment_id=request.shipment_id, now=self._clock()
        )
        pages = await self._database.run(lambda tx: operations.get_labels(tx, tenant_id, request.shipment_id))
        document = await asyncio.to_thread(labels.merge, pages)
        return shipments_pb2.Label(
            content_type="application/pdf", content=document, sha256=hashlib.sha256(document).hexdigest()
        )

    async def _bring_to_end(
        self,
        request: shipments_pb2.CancelShipmentRequest | shipments_pb2.DispatchShipmentRequest,
        take_step: Callable[[str, str], Awaitable[None]],
        *ends: Status,
    ) -> shipments_pb2.ShipmentReply:
        """Takes a step that inventory judges, and answers with the shipment if it is then at one of the ends.

        The step is idempotent and stands for itself. What is kept under the key is what has become of the shipment: an
        end stays, so the same request in between, or after a crash, is answered the same.
        """
        claim = idempotency.claim_of(request.tenant_id, request.idempotency)
        now = self._clock()
        if await self._database.run(lambda tx: idempotency.look_up(tx, claim, now)) is None:
            await take_step(request.tenant_id, request.id)

        async def tell(tx: AsyncConnection) -> shipments_pb2.ShipmentReply:
            shipment = await operations.expect_status(tx, request.tenant_id, request.id, *ends)
            return shipments_pb2.ShipmentReply(shipment=self._announcer.snapshot(shipment, now))

        reply, replayed = await idempotency.run_once(
            self._database, claim, tell, reply_type=shipments_pb2.ShipmentReply, now=now
        )
        failpoints.reach("shipments.end_kept")
        reply.replayed = replayed
        return reply

    async def LookUpAnswer(
        self, request: common_pb2.LookUpAnswerRequest, context: Context
    ) -> common_pb2.LookUpAnswerReply:
        claim = idempotency.claim_of(request.tenant_id, request.idempotency)
        answer = await self._database.run(lambda tx: idempotency.look_up(tx, claim, self._clock()))
        return idempotency.as_reply(answer)


def _status(number: int) -> Status:
    return Status(wire.enum_name(shipments_pb2.ShipmentStatus.DESCRIPTOR, number))


def _fitting(snapshots: Sequence[shipments_pb2.Shipment]) -> list[shipments_pb2.Shipment]:
    """As many of the snapshots as one message takes, and one at least."""
    page: list[shipments_pb2.Shipment] = []
    size = 0
    for snapshot in snapshots:
        size += snapshot.ByteSize()
        if page and size > PAGE_BYTES_MAX:
            break
        page.append(snapshot)
    return page


def _wish_or_refusal(request: shipments_pb2.CreateShipmentRequest) -> Wish | Fault:
    cause = cause_of(request)
    try:
        claim = idempotency.claim_of(request.tenant_id, request.idempotency, cause)
        return Wish(_requested(request), claim, cause)
    except Fault as refusal:
        return refusal


def _outcome(created: shipments_pb2.CreateShipmentReply | Fault) -> shipments_pb2.CreateShipmentOutcome:
    if isinstance(created, Fault):
        return shipments_pb2.CreateShipmentOutcome(refusal=to_message(created))
    return shipments_pb2.CreateShipmentOutcome(created=created)


def _requested(request: shipments_pb2.CreateShipmentRequest) -> ShipmentRequest:
    return ShipmentRequest(
        tenant_id=request.tenant_id,
        order_id=request.order_id,
        ship_to=_address(request.ship_to),
        line_items=[Line(line.sku, line.qty) for line in request.line_items],
        carrier_hint=request.carrier_hint if request.HasField("carrier_hint") else None,
        policy=_policy(request.allocation),
        priority=request.priority,
        hold_expires_at=_hold_limit(request),
    )


def _hold_limit(request: shipments_pb2.CreateShipmentRequest) -> datetime | None:
    if not request.HasField("hold_expires_at"):
        return None
    try:
        return wire.moment(request.hold_expires_at)
    except (ValueError, OverflowError) as error:
        wrong = FieldFault("/hold_expires_at", "bad_time", "Must be a time in the years 1 to 9999.")
        raise Fault("validation_failed", "The shipment is not valid.", fields=[wrong]) from error


def _address(address: shipments_pb2.Address) -> Address:
    place = address.coordinates if address.HasField("coordinates") else None
    return Address(
        name=address.name,
        line1=address.line1,
        line2=address.line2 if address.HasField("line2") else None,
        city=address.city,
        state=address.state if address.HasField("state") else None,
        postal=address.postal,
        country=address.country,
        coordinates=Coordinates(place.latitude, place.longitude) if place is not None else None,
    )


def _policy(number: int) -> Policy:
    if number == inventory_pb2.ALLOCATION_POLICY_UNSPECIFIED:
        return Policy.ALL_OR_NONE
    if number not in inventory_pb2.AllocationPolicy.values():
        unknown = FieldFault("/allocation", "unknown_value", "Must be 'all_or_none' or 'partial'.")
        raise Fault("validation_failed", "The shipment is not valid.", fields=[unknown])
    return Policy(wire.enum_name(inventory_pb2.AllocationPolicy.DESCRIPTOR, number))
