"""Lives of shipments, drawn at random: every snapshot that shipments ever has, and which of them it announces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from chassis import wire
from services.orders.domain import ShipmentStatus
from skutrail.v1 import events_pb2, inventory_pb2, shipments_pb2

S = ShipmentStatus
BEGAN = datetime(2026, 4, 22, 17, 4, 11, 123_456, tzinfo=UTC)
STEPS_MAX = 8

# What may come next. Backordered may follow itself: some more of it is held then, or less.
NEXT: Mapping[ShipmentStatus, Sequence[ShipmentStatus]] = {
    S.QUEUED: (S.BACKORDERED, S.ALLOCATED, S.CANCELED, S.FAILED),
    S.BACKORDERED: (S.BACKORDERED, S.ALLOCATED, S.CANCELED, S.FAILED),
    S.ALLOCATED: (S.LABEL_READY, S.LABEL_READY, S.BACKORDERED, S.CANCELED, S.FAILED),
    S.LABEL_READY: (S.SHIPPED, S.SHIPPED, S.ALLOCATED, S.BACKORDERED, S.CANCELED),
    S.SHIPPED: (S.DELIVERED,),
    S.DELIVERED: (),
    S.CANCELED: (),
    S.FAILED: (),
}


@dataclass(frozen=True)
class Moment:
    """A snapshot, as whoever asks gets it. Not every change is announced: orders see none where there is no event."""

    tenant_id: str
    shipment: shipments_pb2.Shipment
    is_announced: bool

    @property
    def told_at(self) -> datetime:
        return wire.moment(self.shipment.updated_at)

    def event(self) -> events_pb2.Event:
        """The same one, however often it is asked for."""
        status = shipments_pb2.ShipmentStatus.Name(self.shipment.status).removeprefix("SHIPMENT_STATUS_").lower()
        return events_pb2.Event(
            id=f"evt_{self.tenant_id}_{self.shipment.id}_{self.shipment.version}",
            type=f"shipment.{'created' if self.shipment.version == 1 else status}",
            tenant_id=self.tenant_id,
            key=self.shipment.id,
            occurred_at=self.shipment.updated_at,
            shipment=self.shipment,
        )


def a_life(
    chance: Random, *, tenant_id: str = "t/test", order_id: str = "ord_1", shipment_id: str = "shp_1"
) -> list[Moment]:
    """From `queued` on, as far as it happens to come; the last moment is how shipments has it now."""
    began = BEGAN + timedelta(microseconds=chance.randrange(10**9))
    lines = [
        inventory_pb2.StockLine(sku=f"SKU-{chance.randrange(4)}", qty=chance.randint(1, 5))
        for _ in range(chance.randint(1, 4))  # two lines may be of one SKU
    ]
    shipment = shipments_pb2.Shipment(
        id=shipment_id,
        order_id=order_id,
        status=_name(S.QUEUED),
        line_items=lines,
        version=1,
        created_at=wire.timestamp(began),
        updated_at=wire.timestamp(began),
    )
    life = [Moment(tenant_id, shipment, is_announced=True)]
    for _ in range(chance.randint(0, STEPS_MAX)):
        before = life[-1].shipment
        to = NEXT[ShipmentStatus(before.status)]
        is_silent = chance.random() < 0.3 or not to
        after = _later(before, chance) if is_silent else _moved(_later(before, chance), chance.choice(to), chance)
        is_visible = (after.status, after.allocations) != (before.status, before.allocations)
        life.append(Moment(tenant_id, after, is_announced=is_visible))
    return life


def _later(shipment: shipments_pb2.Shipment, chance: Random) -> shipments_pb2.Shipment:
    after = shipments_pb2.Shipment()
    after.CopyFrom(shipment)
    after.version += 1
    at = wire.moment(shipment.updated_at) + timedelta(microseconds=chance.randrange(10**7))
    after.updated_at.CopyFrom(wire.timestamp(at))
    return after


def _moved(shipment: shipments_pb2.Shipment, to: ShipmentStatus, chance: Random) -> shipments_pb2.Shipment:
    shipment.status = _name(to)
    if to in (S.BACKORDERED, S.ALLOCATED, S.FAILED):
        del shipment.allocations[:]
    for line in shipment.line_items:
        if to is S.ALLOCATED:
            _hold(shipment, line.sku, line.qty, chance)
        elif to is S.BACKORDERED:
            _hold(shipment, line.sku, chance.randrange(line.qty), chance)
    return shipment


def _hold(shipment: shipments_pb2.Shipment, sku: str, qty: int, chance: Random) -> None:
    """In one warehouse, or in two."""
    east = chance.randint(0, qty)
    for warehouse, units in (("EAST", east), ("WEST", qty - east)):
        if units:
            shipment.allocations.append(inventory_pb2.HeldLine(sku=sku, warehouse=warehouse, qty=units))


def _name(status: ShipmentStatus) -> shipments_pb2.ShipmentStatus.ValueType:
    return shipments_pb2.ShipmentStatus.ValueType(status)
