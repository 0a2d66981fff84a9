"""Out: what the domain announces, in the words of the contract (events.proto, shipments.proto)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from chassis import outbox
from chassis.ids import IdMaker
from chassis.trace import Trace
from chassis.wire import timestamp
from services.shipments.domain import Address, Parcel, Shipment, ShipmentEvent, Status
from services.shipments.links import LabelLinks
from skutrail.v1 import common_pb2, events_pb2, inventory_pb2, shipments_pb2

_HAVE_LABELS = (Status.LABEL_READY, Status.SHIPPED, Status.DELIVERED)


@dataclass(frozen=True)
class Announcer:
    """Puts shipments into the words of the contract: event ids and signed links are made here."""

    links: LabelLinks
    new_id: IdMaker

    def events(self, announced: Iterable[ShipmentEvent], cause: Trace | None = None) -> list[events_pb2.Event]:
        """One event each, with the whole shipment as it then was; keyed by the shipment, so they keep their order."""
        return [self._event(event.type, event.shipment, cause) for event in announced]

    def snapshot(self, shipment: Shipment, now: datetime) -> shipments_pb2.Shipment:
        """The shipment for its readers; its label_url is good for a while from now."""
        message = _snapshot(shipment)
        if shipment.status in _HAVE_LABELS and shipment.has_labels:
            message.label_url = self.links.sign(tenant_id=shipment.tenant_id, shipment_id=shipment.id, now=now)
        return message

    def _event(self, event_type: str, shipment: Shipment, cause: Trace | None) -> events_pb2.Event:
        return outbox.make_event(
            event_type,
            shipment.tenant_id,
            key=shipment.id,
            at=shipment.updated_at,
            new_id=self.new_id,
            cause=cause,
            shipment=self.snapshot(shipment, shipment.updated_at),
        )


def _snapshot(shipment: Shipment) -> shipments_pb2.Shipment:
    message = shipments_pb2.Shipment(
        id=shipment.id,
        status=f"SHIPMENT_STATUS_{shipment.status.upper()}",
        order_id=shipment.order_id,
        ship_to=_address(shipment.ship_to),
        line_items=[inventory_pb2.StockLine(**vars(line)) for line in shipment.line_items],
        carrier_hint=shipment.carrier_hint,
        carrier=shipment.carrier,
        service=shipment.service,
        allocations=[inventory_pb2.HeldLine(**vars(line)) for line in shipment.allocations],
        parcels=[_parcel(parcel) for parcel in shipment.parcels],
        created_at=timestamp(shipment.created_at),
        updated_at=timestamp(shipment.updated_at),
        version=shipment.version,
    )
    if shipment.error is not None:
        message.error.CopyFrom(shipments_pb2.ShipmentError(**vars(shipment.error)))
    return message


def _address(address: Address) -> shipments_pb2.Address:
    place = address.coordinates
    coordinates = common_pb2.Coordinates(**vars(place)) if place is not None else None
    return shipments_pb2.Address(**{**vars(address), "coordinates": coordinates})


def _parcel(parcel: Parcel) -> shipments_pb2.Parcel:
    return shipments_pb2.Parcel(
        warehouse=parcel.warehouse,
        tracking_number=parcel.tracking_number,
        label_status=f"LABEL_STATUS_{parcel.label_status.upper()}",
    )
