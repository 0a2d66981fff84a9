"""/v1/shipments: the request, the shipment, its label, and its two ends: it leaves, or is called off."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from chassis import rpc, trace
from chassis.errors import from_message
from chassis.wire import timestamp
from gateway import requests, sourcing
from gateway.call import Call, respond
from gateway.cursors import Position
from gateway.pages import Listing, after_id
from gateway.shown import QUEUED, SHIPMENT
from gateway.writes import RehearsedWrite, Write
from skutrail.v1 import inventory_pb2, shipments_pb2


async def _create(call: Call, wanted: requests.Shipment) -> tuple[shipments_pb2.CreateShipmentReply, bool]:
    message = shipments_pb2.CreateShipmentRequest(
        tenant_id=call.tenant_id,
        idempotency=call.idempotency,
        order_id=wanted.order_id,
        ship_to=shipments_pb2.Address(**wanted.ship_to.model_dump()),
        line_items=sourcing.stock_lines(wanted),
        carrier_hint=wanted.carrier_hint,
        allocation=sourcing.policy_name(wanted),
        priority=wanted.priority,
        hold_expires_at=wanted.hold_expires_at and timestamp(wanted.hold_expires_at),
        cause=inventory_pb2.Cause(**vars(trace.current())),
    )
    outcome = await call.upstream.new_shipments.ask(call.tenant_id, message)
    if outcome.HasField("refusal"):
        raise from_message(outcome.refusal)
    return outcome.created, outcome.created.replayed


def _show_created(_: Call, reply: shipments_pb2.CreateShipmentReply) -> web.Response:
    return respond(QUEUED(reply.shipment), status=202, location=f"/v1/shipments/{reply.shipment.id}")


create_shipment = RehearsedWrite(
    model=requests.Shipment,
    send=_create,
    stored=shipments_pb2.CreateShipmentReply,
    show=_show_created,
    owner=lambda upstream: upstream.shipments,
    rehearse=sourcing.plan_shipment,
)


async def _cancel(call: Call, _: requests.Nothing) -> tuple[shipments_pb2.ShipmentReply, bool]:
    message = shipments_pb2.CancelShipmentRequest(tenant_id=call.tenant_id, idempotency=call.idempotency, id=call.id)
    reply = await rpc.call(call.upstream.shipments.CancelShipment, message)
    return reply, reply.replayed


async def _dispatch(call: Call, _: requests.Nothing) -> tuple[shipments_pb2.ShipmentReply, bool]:
    message = shipments_pb2.DispatchShipmentRequest(tenant_id=call.tenant_id, idempotency=call.idempotency, id=call.id)
    reply = await rpc.call(call.upstream.shipments.DispatchShipment, message)
    return reply, reply.replayed


def _show_ended(_: Call, reply: shipments_pb2.ShipmentReply) -> web.Response:
    return respond(SHIPMENT(reply.shipment))


cancel_shipment = Write(
    model=requests.Nothing,
    send=_cancel,
    stored=shipments_pb2.ShipmentReply,
    show=_show_ended,
    owner=lambda upstream: upstream.shipments,
)

dispatch_shipment = Write(
    model=requests.Nothing,
    send=_dispatch,
    stored=shipments_pb2.ShipmentReply,
    show=_show_ended,
    owner=lambda upstream: upstream.shipments,
)


async def get_shipment(call: Call) -> web.Response:
    wanted = shipments_pb2.GetShipmentRequest(tenant_id=call.tenant_id, id=call.id)
    return respond(SHIPMENT(await rpc.call(call.upstream.shipments.GetShipment, wanted)))


async def _fetch(call: Call, limit: int, after: Position) -> tuple[Sequence[shipments_pb2.Shipment], bool]:
    asked: requests.ShipmentsQuery = call.query
    wanted = shipments_pb2.ListShipmentsRequest(
        tenant_id=call.tenant_id,
        order_id=asked.order_id,
        status=asked.status and f"SHIPMENT_STATUS_{asked.status.upper()}",
        limit=limit,
        **after,
    )
    reply = await rpc.call(call.upstream.shipments.ListShipments, wanted)
    return reply.shipments, reply.has_more


list_shipments = Listing(fetch=_fetch, show=SHIPMENT, position_of=after_id)


async def get_label(call: Call) -> web.Response:
    asked: requests.LabelQuery = call.query
    wanted = shipments_pb2.GetLabelRequest(
        tenant_id=call.tenant_id,
        shipment_id=call.id,
        # An API key needs no token, and a token that is not needed is not looked at.
        token="" if call.tenant_id else asked.token,
        format=shipments_pb2.LABEL_FORMAT_PDF,
    )
    return _show_label(call, await rpc.call(call.upstream.shipments.GetLabel, wanted))


def _show_label(call: Call, label: shipments_pb2.Label) -> web.Response:
    held = call.http.if_none_match or ()
    is_held = any(tag.value in (label.sha256, "*") for tag in held)
    response = web.Response(status=304) if is_held else web.Response(body=label.content)
    response.etag = label.sha256
    # Held by whoever printed it, and asked for again each time; never by a shared cache.
    response.headers["Cache-Control"] = "private, no-cache"
    if not is_held:
        response.content_type = label.content_type
        response.headers["Content-Disposition"] = f'inline; filename="{call.id}.pdf"'
    return response
