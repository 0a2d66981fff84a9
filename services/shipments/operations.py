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
from services.shipments import domain, purchasing, store
from services.shipments.carriers.port import CarrierFailure, CarrierRefused, CarrierUnavailable, Label
from services.shipments.domain import Attempt, Failure, LabelStatus, Parcel, Shipment, ShipmentRequest, Stock
from services.shipments.events import Announcer

SHIPMENTS_OF_ORDER_MAX = 500


@dataclass(frozen=True)
class PurchaseTask:
    """A label to buy, written down and leased to whoever holds this."""

    shipment: Shipment
    parcel: Parcel
    sent_at: datetime | None
    """When an earlier try may have bought it already; None where none can have."""


async def create_shipment(
    tx: AsyncConnection, request: ShipmentRequest, *, shipment_id: str, announcer: Announcer, now: datetime
) -> Shipment:
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
    attempt_key: str,
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
    attempt = Attempt(attempt_key, began_at=now, tried_at=now, leased_until=now + lease)
    begun = purchasing.begin_purchase(shipment, parcel.warehouse, attempt, now)
    await store.update(tx, shipment, begun)
    may_exist = parcel.label_status in (LabelStatus.PURCHASING, LabelStatus.UNKNOWN)
    sent_at = parcel.attempt.tried_at if parcel.attempt is not None and may_exist else None
    return PurchaseTask(begun, begun.parcel(parcel.warehouse), sent_at)


async def settle_purchase(
    tx: AsyncConnection, task: PurchaseTask, outcome: Label | CarrierFailure, *, announcer: Announcer, now: datetime
) -> Shipment:
    """Writes down how a purchase ended. Returns the shipment as it then is."""
    shipment = await store.lock(tx, task.shipment.tenant_id, task.shipment.id)
    assert shipment is not None
    if not _is_open(shipment, task):
        return shipment
    warehouse = task.parcel.warehouse
    if isinstance(outcome, Label):
        decision = purchasing.keep_label(
            shipment,
            warehouse,
            tracking_number=outcome.tracking_number,
            carrier=outcome.carrier,
            service=outcome.service,
            now=now,
        )
    else:
        decision = _give_up_or_put_off(shipment, warehouse, outcome, now)
    await _save(tx, shipment, decision, announcer)
    if isinstance(outcome, Label):
        await store.add_label(
            tx,
            shipment,
            warehouse,
            content=outcome.content,
            carrier=outcome.carrier,
            service=outcome.service,
            now=now,
        )
    return decision[0]


async def get_shipment(tx: AsyncConnection, tenant_id: str, shipment_id: str) -> Shipment:
    """Raises Fault `not_found`, for another tenant's shipment as for none."""
    shipment = await store.find(tx, tenant_id, shipment_id)
    if shipment is None:
        raise Fault("not_found", "There is no such shipment.")
    return shipment


async def list_shipments_of_order(tx: AsyncConnection, tenant_id: str, order_id: str) -> list[Shipment]:
    return await store.find_by_order(tx, tenant_id, order_id, limit=SHIPMENTS_OF_ORDER_MAX)


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


def _is_open(shipment: Shipment, task: PurchaseTask) -> bool:
    """False where whoever took the lease after us has settled the attempt: then its outcome stands."""
    attempt = shipment.parcel(task.parcel.warehouse).attempt
    return attempt is not None and task.parcel.attempt is not None and attempt.key == task.parcel.attempt.key


def _give_up_or_put_off(shipment: Shipment, warehouse: str, failure: CarrierFailure, now: datetime) -> domain.Decision:
    error = Failure(failure.code, failure.message)
    if isinstance(failure, CarrierRefused):
        return purchasing.fail(shipment, warehouse, error, LabelStatus.NONE, now)
    nothing_bought = isinstance(failure, CarrierUnavailable)
    label_status = LabelStatus.NONE if nothing_bought else LabelStatus.UNKNOWN
    return purchasing.put_off_purchase(shipment, warehouse, error, label_status, now)
