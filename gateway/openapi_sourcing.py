"""How the document tells where stock comes from: the answers that gateway.sourcing puts together."""

from __future__ import annotations

from gateway.openapi_schemas import Schema, Schemas, nullable, record, shaped
from gateway.shown import TERMS, Shown
from skutrail.v1 import inventory_pb2

_PLANNED = ("allocated", "backordered")
_DECIDED = ("queued", *_PLANNED, "released", "consumed", "dispatched", "expired")

_held = shaped(Shown(inventory_pb2.HeldLine))
_missing = shaped(Shown(inventory_pb2.StockLine))
_candidate = shaped(Shown(inventory_pb2.Candidate))


def plan(schemas: Schemas) -> Schema:
    return schemas.add("AllocationPlan", record(_decision(schemas, _PLANNED)))


def allocation(schemas: Schemas) -> Schema:
    decided_at = nullable({"type": "string", "format": "date-time"})
    asked = schemas.fields(TERMS)
    fields = {"shipment_id": {"type": "string"}, **asked, **_decision(schemas, _DECIDED), "decided_at": decided_at}
    return schemas.add("Allocation", record(fields))


def _decision(schemas: Schemas, statuses: tuple[str, ...]) -> dict[str, Schema]:
    return {
        "status": {"type": "string", "enum": list(statuses)},
        "allocations": {"type": "array", "items": _held(schemas)},
        "missing": {"type": "array", "items": _missing(schemas)},
        "candidates": {"type": "array", "items": _candidate(schemas)},
    }
