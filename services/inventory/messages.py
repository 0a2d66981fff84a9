"""Requests for stock and warehouses, between the words of the contract and ours; server.py calls it."""

from __future__ import annotations

from dataclasses import asdict

from chassis import wire
from chassis.errors import Fault, to_message
from services.inventory.requests import Policy, StockRequest
from services.inventory.sourcing import Coordinates
from services.inventory.warehouses import Described, PostalAddress, Warehouse
from skutrail.v1 import common_pb2, inventory_pb2


def request_of(message: inventory_pb2.StockRequest) -> StockRequest:
    is_partial = message.policy == inventory_pb2.ALLOCATION_POLICY_PARTIAL
    return StockRequest(
        tenant_id=message.tenant_id,
        id=message.request_id,
        lines=tuple((line.sku, line.qty) for line in message.lines),
        policy=Policy.PARTIAL if is_partial else Policy.ALL_OR_NONE,
        priority=message.priority,
        expires_at=wire.moment(message.expires_at) if message.HasField("expires_at") else None,
        destination=_place(message.destination) if message.HasField("destination") else None,
    )


def outcome_message(outcome: inventory_pb2.Allocation | Fault) -> inventory_pb2.AllocationOutcome:
    if isinstance(outcome, Fault):
        return inventory_pb2.AllocationOutcome(refusal=to_message(outcome))
    return inventory_pb2.AllocationOutcome(allocation=outcome)


def warehouse_of(tenant_id: str, message: inventory_pb2.Warehouse) -> Warehouse:
    return Warehouse(
        tenant_id=tenant_id,
        code=message.code,
        name=message.name if message.HasField("name") else None,
        address=_address(message.address) if message.HasField("address") else None,
        coordinates=_place(message.coordinates) if message.HasField("coordinates") else None,
        priority=message.priority,
        active=message.active,
    )


def warehouse_message(described: Described) -> inventory_pb2.Warehouse:
    warehouse = described.warehouse
    message = inventory_pb2.Warehouse(
        code=warehouse.code,
        name=warehouse.name,
        priority=warehouse.priority,
        active=warehouse.active,
        created_at=wire.timestamp(described.created_at),
        updated_at=wire.timestamp(described.updated_at),
    )
    if warehouse.address is not None:
        message.address.CopyFrom(inventory_pb2.PostalAddress(**asdict(warehouse.address)))
    if warehouse.coordinates is not None:
        message.coordinates.CopyFrom(common_pb2.Coordinates(**asdict(warehouse.coordinates)))
    return message


def _address(message: inventory_pb2.PostalAddress) -> PostalAddress:
    return PostalAddress(
        line1=message.line1,
        line2=message.line2 if message.HasField("line2") else None,
        city=message.city,
        state=message.state if message.HasField("state") else None,
        postal=message.postal,
        country=message.country,
    )


def _place(message: common_pb2.Coordinates) -> Coordinates:
    return Coordinates(message.latitude, message.longitude)
