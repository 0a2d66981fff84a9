"""What is announced: decisions of the domain in the words of the contract."""

from __future__ import annotations

from datetime import datetime

from chassis import outbox, wire
from chassis.ids import IdMaker
from chassis.trace import Trace
from services.inventory.domain import AllocationStatus, Entry, Hold, StockKey
from skutrail.v1 import events_pb2, inventory_pb2


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


def allocation_message(
    request_id: str, status: AllocationStatus, version: int, holds: list[Hold]
) -> inventory_pb2.Allocation:
    """What a request has: held units and those already picked count alike."""
    return inventory_pb2.Allocation(
        request_id=request_id,
        status=inventory_pb2.AllocationStatus.Name(status),
        version=version,
        held=[
            inventory_pb2.HeldLine(sku=h.key.sku, warehouse=h.key.warehouse, qty=h.open + h.consumed)
            for h in holds
            if h.open + h.consumed > 0
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


def allocation_changed(
    tenant_id: str, allocation: inventory_pb2.Allocation, now: datetime, new_id: IdMaker
) -> events_pb2.Event:
    key = allocation.request_id
    return outbox.make_event("allocation.changed", tenant_id, key=key, at=now, new_id=new_id, allocation=allocation)
