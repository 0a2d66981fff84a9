"""In, by call: request, operation, reply."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import idempotency, wire
from chassis.clock import Clock
from chassis.database import Database
from chassis.ids import IdMaker
from chassis.rpc import Context
from services.shipments import labels, operations
from services.shipments.domain import Address, Line, ShipmentRequest, Status
from services.shipments.events import Announcer
from skutrail.v1 import common_pb2, shipments_pb2, shipments_pb2_grpc

SERVICE_NAME = shipments_pb2.DESCRIPTOR.services_by_name["Shipments"].full_name
PAGE_MAX = 100
PAGE_BYTES_MAX = 3 * 1024 * 1024  # below what a message may be, with room for the last one


class ShipmentsServer(shipments_pb2_grpc.ShipmentsServicer):
    def __init__(
        self, database: Database, announcer: Announcer, clock: Clock, new_id: IdMaker, nudge: Callable[[], None]
    ) -> None:
        self._database = database
        self._announcer = announcer
        self._clock = clock
        self._new_id = new_id
        self._nudge = nudge

    async def CreateShipment(
        self, request: shipments_pb2.CreateShipmentRequest, context: Context
    ) -> shipments_pb2.CreateShipmentReply:
        now = self._clock()

        async def create(tx: AsyncConnection) -> shipments_pb2.CreateShipmentReply:
            shipment = await operations.create_shipment(
                tx, _requested(request), shipment_id=self._new_id("shp"), announcer=self._announcer, now=now
            )
            return shipments_pb2.CreateShipmentReply(shipment=self._announcer.snapshot(shipment, now))

        claim = idempotency.claim_of(request.tenant_id, request.idempotency)
        reply, replayed = await idempotency.run_once(
            self._database, claim, create, reply_type=shipments_pb2.CreateShipmentReply, now=now
        )
        self._nudge()
        reply.replayed = replayed
        return reply

    async def GetShipment(self, request: shipments_pb2.GetShipmentRequest, context: Context) -> shipments_pb2.Shipment:
        shipment = await self._database.run(lambda tx: operations.get_shipment(tx, request.tenant_id, request.id))
        return self._announcer.snapshot(shipment, self._clock())

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


def _requested(request: shipments_pb2.CreateShipmentRequest) -> ShipmentRequest:
    ship_to = request.ship_to
    return ShipmentRequest(
        tenant_id=request.tenant_id,
        order_id=request.order_id,
        ship_to=Address(
            name=ship_to.name,
            line1=ship_to.line1,
            line2=ship_to.line2 if ship_to.HasField("line2") else None,
            city=ship_to.city,
            state=ship_to.state if ship_to.HasField("state") else None,
            postal=ship_to.postal,
            country=ship_to.country,
        ),
        line_items=[Line(line.sku, line.qty) for line in request.line_items],
        carrier_hint=request.carrier_hint if request.HasField("carrier_hint") else None,
    )
