"""What the service does to a shipment, one transaction each: load, decide, save, announce.

Every operation takes `tx` and never commits. What needs a call to somebody else stands between two of these, in
steps.py: no transaction waits for the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.consumer import RetryLater
from chassis.errors import Fault
from services.shipments import domain, purchasing, requests, store
from services.shipments.carriers.port import CarrierFailure, CarrierRefused, CarrierUnavailable, Label
from services.shipments.domain import Failure, LabelStatus, Parcel, Shipment, ShipmentRequest, Status, Stock
from services.shipments.events import Announcer


@dataclass(frozen=True)
class PurchaseTask:
    """A label to buy, written down and leased to whoever holds this."""

    shipment: Shipment
    parcel: Parcel
    try_id: str
    sent_at: datetime | None
    """When an earlier try may have bought it already; None where none can have."""


async def create_shipment(
    tx: AsyncConnection, request: ShipmentRequest, *, shipment_id: str, announcer: Announcer, now: datetime
) -> Shipment:
    """Raises Fault `validation_failed` with every fault of the request."""
    requests.check(request)
    shipment, announced = domain.create(request, shipment_id=shipment_id, now=now)
    await store.insert(tx, shipment)
    await outbox.add(tx, announcer.events(announced))
    return shipment


async def follow_stock(
    tx: AsyncConnection, tenant_id: str, shipment_id: str, stock: Stock, *, announcer: Announcer, now: datetime
) -> None:
    """Applies what inventory holds for a shipment; what is not newer than the newest heard changes nothing."""
    shipment = await store.lock(tx, tenant_id, shipment_id)
    if shipment is not None:
        await _save(tx, shipment, domain.follow_stock(shipment, stock, now), announcer)


async def begin_purchase(
    tx: AsyncConnection,
    tenant_id: str,
    shipment_id: str,
    *,
    try_id: str,
    lease: timedelta,
    announcer: Announcer,
    now: datetime,
) -> PurchaseTask | None:
    """Takes the next label to buy, under an attempt that is stored before the carrier hears of it. None: all is done.

    Raises RetryLater while somebody else holds the lease.
    """
    shipment = await store.lock(tx, tenant_id, shipment_id)
    if shipment is None:
        return None
    parcel = purchasing.next_parcel(shipment)
    if parcel is None:
        # Stock may have come back to where every label already is.
        await _save(tx, shipment, purchasing.finish_labels(shipment, now), announcer)
        return None
    if parcel.attempt is not None and parcel.attempt.leased_until > now:
        raise RetryLater("the label is being bought")
    warehouse = parcel.warehouse
    begun = purchasing.begin_purchase(shipment, warehouse, try_id=try_id, leased_until=now + lease, now=now)
    await store.update(tx, shipment, begun)
    return PurchaseTask(begun, begun.parcel(warehouse), try_id, parcel.attempt.sent_at if parcel.attempt else None)


async def send_again(tx: AsyncConnection, task: PurchaseTask, now: datetime) -> None:
    """Notes that the carrier is told to sell again: it knows of no label. Raises RetryLater if the lease was lost."""
    shipment = await store.lock(tx, task.shipment.tenant_id, task.shipment.id)
    assert shipment is not None
    if not purchasing.is_latest_try(shipment, task.parcel.warehouse, task.try_id):
        raise RetryLater("somebody else is buying the label")
    await store.update(tx, shipment, purchasing.send_again(shipment, task.parcel.warehouse, now))


async def settle_purchase(
    tx: AsyncConnection, task: PurchaseTask, outcome: Label | CarrierFailure, *, announcer: Announcer, now: datetime
) -> Shipment:
    """Writes down how a try ended. Returns the shipment as it then is.

    A label is kept whoever brings it, unless there is one: it is paid for. A failure counts from the latest try alone.
    """
    shipment = await store.lock(tx, task.shipment.tenant_id, task.shipment.id)
    assert shipment is not None
    warehouse = task.parcel.warehouse
    if isinstance(outcome, Label):
        return await _keep_label(tx, shipment, warehouse, outcome, announcer, now)
    if not purchasing.is_latest_try(shipment, warehouse, task.try_id):
        return shipment
    decision = _give_up_or_put_off(shipment, warehouse, outcome, now)
    await _save(tx, shipment, decision, announcer)
    return decision[0]


async def get_shipment(tx: AsyncConnection, tenant_id: str, shipment_id: str) -> Shipment:
    """Raises Fault `not_found`, for another tenant's shipment as for none."""
    shipment = await store.find(tx, tenant_id, shipment_id)
    if shipment is None:
        raise Fault("not_found", "There is no such shipment.")
    return shipment


async def list_shipments(
    tx: AsyncConnection,
    tenant_id: str,
    *,
    order_id: str | None,
    status: Status | None,
    after_id: str | None,
    limit: int,
) -> list[Shipment]:
    """Newest first; one more than `limit` where there are more."""
    return await store.list_shipments(
        tx, tenant_id, order_id=order_id, status=status, after_id=after_id, limit=limit + 1
    )


async def get_labels(tx: AsyncConnection, tenant_id: str, shipment_id: str) -> Sequence[bytes]:
    """One PDF page per parcel, in their order. Raises Fault `not_found` until every label is there."""
    shipment = await store.find(tx, tenant_id, shipment_id)
    parcels = shipment.parcels if shipment is not None else []
    if shipment is None or not parcels or any(parcel.label_status is not LabelStatus.READY for parcel in parcels):
        raise Fault("not_found", "There is no such label.")
    labels = await store.find_labels(tx, shipment)
    return [labels[parcel.warehouse] for parcel in parcels]


async def _save(tx: AsyncConnection, before: Shipment, decision: domain.Decision, announcer: Announcer) -> None:
    shipment, announced = decision
    if shipment == before:
        return
    await store.update(tx, before, shipment)
    await outbox.add(tx, announcer.events(announced))


async def _keep_label(
    tx: AsyncConnection, shipment: Shipment, warehouse: str, label: Label, announcer: Announcer, now: datetime
) -> Shipment:
    if shipment.parcel(warehouse).label_status is LabelStatus.READY:
        return shipment
    sold_by = {"carrier": label.carrier, "service": label.service}
    decision = purchasing.keep_label(shipment, warehouse, tracking_number=label.tracking_number, **sold_by, now=now)
    await _save(tx, shipment, decision, announcer)
    await store.add_label(tx, shipment, warehouse, content=label.content, **sold_by, now=now)
    return decision[0]


def _give_up_or_put_off(shipment: Shipment, warehouse: str, failure: CarrierFailure, now: datetime) -> domain.Decision:
    error = Failure(failure.code, failure.message)
    if isinstance(failure, CarrierRefused):
        return purchasing.fail(shipment, warehouse, error, LabelStatus.NONE, now)
    nothing_bought = isinstance(failure, CarrierUnavailable)
    label_status = LabelStatus.NONE if nothing_bought else LabelStatus.UNKNOWN
    return purchasing.put_off_purchase(shipment, warehouse, error, label_status, now)
