"""Where the stock of a shipment comes from, and why: what a dry run would decide, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from chassis import rpc
from chassis.errors import Fault
from chassis.ids import new_id
from chassis.wire import enum_name, moment, rfc3339, timestamp, to_json
from gateway import requests
from gateway.call import Call, respond
from gateway.shown import TERMS
from skutrail.v1 import common_pb2, inventory_pb2, shipments_pb2

# In the words of a shipment; every other status has one word everywhere.
_WORDS: Mapping[str, str] = {"waiting": "backordered", "held": "allocated"}
_DISTANCE_DIGITS = 3  # of kilometers: to the meter

_UNDECIDED: Mapping[str, Any] = {"status": "queued", "allocations": [], "missing": [], "candidates": []}


def status_word(status: int) -> str:
    name = enum_name(inventory_pb2.AllocationStatus.DESCRIPTOR, status)
    return _WORDS.get(name, name)


async def plan_shipment(call: Call, wanted: requests.Shipment) -> web.Response:
    """What inventory would decide now. Asked under an id of its own: no shipment is there yet."""
    question = inventory_pb2.StockRequest(
        tenant_id=call.tenant_id,
        request_id=new_id("shp"),
        lines=stock_lines(wanted),
        policy=policy_name(wanted),
        priority=wanted.priority,
        expires_at=wanted.hold_expires_at and timestamp(wanted.hold_expires_at),
        destination=_destination(wanted),
    )
    return respond(_show(await rpc.call(call.upstream.inventory.PlanAllocation, question)))


async def get_allocation(call: Call) -> web.Response:
    """Raises Fault `not_found` where there is no such shipment. One that inventory has not heard of is queued."""
    shipment = shipments_pb2.GetShipmentRequest(tenant_id=call.tenant_id, id=call.id)
    terms = TERMS(await rpc.call(call.upstream.shipments.GetTerms, shipment))
    question = inventory_pb2.ExplainAllocationRequest(tenant_id=call.tenant_id, request_id=call.id)
    try:
        plan = await rpc.call(call.upstream.inventory.ExplainAllocation, question)
    except Fault as fault:
        if fault.code != "not_found":
            raise
        return respond({"shipment_id": call.id, **terms, **_UNDECIDED, "decided_at": None})
    decided_at = rfc3339(moment(plan.decided_at)) if plan.HasField("decided_at") else None
    return respond({"shipment_id": call.id, **terms, **_show(plan), "decided_at": decided_at})


def stock_lines(wanted: requests.Shipment) -> list[inventory_pb2.StockLine]:
    return [inventory_pb2.StockLine(sku=line.sku, qty=line.qty) for line in wanted.line_items]


def policy_name(wanted: requests.Shipment) -> str:
    return f"ALLOCATION_POLICY_{wanted.allocation.upper()}"


def _destination(wanted: requests.Shipment) -> common_pb2.Coordinates | None:
    place = wanted.ship_to.coordinates
    return common_pb2.Coordinates(**place.model_dump()) if place else None


def _show(plan: inventory_pb2.AllocationPlan) -> dict[str, Any]:
    return {
        "status": status_word(plan.status),
        "allocations": [to_json(line) for line in plan.held],
        "missing": [to_json(line) for line in plan.missing],
        "candidates": [_show_candidate(candidate) for candidate in plan.candidates],
    }


def _show_candidate(candidate: inventory_pb2.Candidate) -> dict[str, Any]:
    shown = to_json(candidate)
    if candidate.HasField("distance_km"):
        shown["distance_km"] = round(candidate.distance_km, _DISTANCE_DIGITS)
    return shown
