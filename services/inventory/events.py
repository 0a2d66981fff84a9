"""What is announced: decisions of the domain in the words of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from chassis import outbox, wire
from chassis.ids import IdMaker
from chassis.trace import Trace
from services.inventory.domain import Entry, StockKey
from services.inventory.request_store import Described, RequestKey
from services.inventory.shelf import Decision
from services.inventory.sourcing import Candidate
from skutrail.v1 import events_pb2, inventory_pb2

# Told of a decision. What is taken from a warehouse beyond them is told by what is held.
CANDIDATES_MAX = 100
STOCKS_MAX = 2_000  # of all candidates together, each of which tells of every SKU; those that were chosen may be more
# An event must stay below what a message may be. It is one line more than a shipment takes: that is all it must know.
HELD_LINES_TOLD_MAX = 901


def entry_message(entry: Entry) -> inventory_pb2.LedgerEntry:
    return inventory_pb2.LedgerEntry(
        id=entry.id,
        sku=entry.key.sku,
        warehouse=entry.key.warehouse,
        qty=entry.qty,
        balance=entry.balance,
        seq=entry.seq,
        reason=int(entry.reason),  # type: ignore[arg-type]  # the contract's numbers
        reference=entry.reference,
        created_at=wire.timestamp(entry.created_at),
    )


def allocation_message(request_id: str, stands: Described) -> inventory_pb2.Allocation:
    """What a request has: held units and those already picked count alike."""
    return inventory_pb2.Allocation(
        request_id=request_id,
        status=inventory_pb2.AllocationStatus.Name(stands.status),
        version=stands.version,
        held=[
            inventory_pb2.HeldLine(sku=h.key.sku, warehouse=h.key.warehouse, qty=h.open + h.consumed)
            for h in stands.holds
            if h.open + h.consumed > 0
        ],
    )


def plan_message(decision: Decision, now: datetime) -> inventory_pb2.AllocationPlan:
    """A decision, and why: at most CANDIDATES_MAX warehouses, the chosen ones first; where SKUs are many, fewer of the
    others."""
    at_most = max(len(decision.plan.choice.chosen), STOCKS_MAX // max(len(decision.plan.choice.wanted), 1))
    taken = {(place.warehouse, place.sku): place.qty for place in decision.plan.placements}
    return inventory_pb2.AllocationPlan(
        status=inventory_pb2.AllocationStatus.Name(decision.status),
        held=[inventory_pb2.HeldLine(**vars(place)) for place in decision.plan.placements],
        missing=[inventory_pb2.StockLine(sku=sku, qty=qty) for sku, qty in sorted(decision.missing.items()) if qty],
        candidates=[_candidate(one, taken) for one in decision.plan.told(min(at_most, CANDIDATES_MAX))],
        decided_at=wire.timestamp(now),
    )


def _candidate(candidate: Candidate, taken: Mapping[tuple[str, str], int]) -> inventory_pb2.Candidate:
    return inventory_pb2.Candidate(
        warehouse=candidate.warehouse,
        chosen=candidate.is_chosen,
        rule=inventory_pb2.SourcingRule.Name(candidate.rule),
        priority=candidate.priority,
        distance_km=candidate.distance_km,
        stock=[
            inventory_pb2.CandidateStock(sku=sku, available=units, taken=taken.get((candidate.warehouse, sku), 0))
            for sku, units in candidate.available.items()
        ],
    )


def inventory_updated(
    entry: Entry, message: inventory_pb2.LedgerEntry, cause: Trace, new_id: IdMaker
) -> events_pb2.Event:
    return events_pb2.Event(
        id=new_id("evt"),
        type="inventory.updated",
        tenant_id=entry.key.tenant_id,
        key=f"{entry.key.warehouse}/{entry.key.sku}",
        occurred_at=message.created_at,
        traceparent=cause.traceparent,
        entry=message,
    )


def inventory_shortfall(
    key: StockKey, on_hand: int, short: int, request_ids: list[str], now: datetime, new_id: IdMaker
) -> events_pb2.Event:
    shortfall = events_pb2.Shortfall(
        sku=key.sku, warehouse=key.warehouse, on_hand=on_hand, short=short, shipment_ids=request_ids
    )
    place = f"{key.warehouse}/{key.sku}"
    return outbox.make_event(
        "inventory.shortfall", key.tenant_id, key=place, at=now, new_id=new_id, shortfall=shortfall
    )


def allocation_changed(key: RequestKey, stands: Described, now: datetime, new_id: IdMaker) -> events_pb2.Event:
    tenant_id, request_id = key
    allocation = allocation_message(request_id, stands)
    del allocation.held[HELD_LINES_TOLD_MAX:]
    return outbox.make_event(
        "allocation.changed", tenant_id, key=request_id, at=now, new_id=new_id, allocation=allocation
    )
