"""What the service does to a shipment that there is, one transaction each: load, decide, save, announce.

Every operation takes `tx`, or a pipeline where it writes, and never commits. What needs a call to somebody else stands
between two of these, in steps.py: no transaction waits for the network. What is written of labels: labeling.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.clock import Clock
from chassis.errors import Fault
from chassis.pipeline import Pipeline
from services.shipments import domain, following, store
from services.shipments.domain import Shipment, Status, Stock
from services.shipments.events import Announcer
from services.shipments.store import ShipmentKey


async def follow_stock(
    pipeline: Pipeline, news: Sequence[tuple[ShipmentKey, Stock]], *, announcer: Announcer, clock: Clock
) -> None:
    """Applies what inventory holds for shipments; what is not newer than the newest heard changes nothing."""
    before = await store.lock(pipeline, [key for key, _ in news])
    after = dict(before)
    announced: list[domain.ShipmentEvent] = []
    now = clock()  # read under the locks
    for key, stock in news:
        if key in after:
            after[key], events = following.follow_stock(after[key], stock, now)
            announced += events
    store.tell_changes(pipeline, [(before[key], after[key]) for key in before if after[key] != before[key]])
    outbox.tell(pipeline, announcer.events(announced))


async def ask_cancel(pipeline: Pipeline, key: ShipmentKey, now: datetime) -> bool:
    """Writes the wish down. False where there is nothing to ask inventory for: it has left or ended, or is unknown."""
    shipment = (await store.lock(pipeline, [key])).get(key)
    if shipment is None:
        return False
    asked = following.ask_cancel(shipment, now)
    if asked != shipment:
        store.tell_changes(pipeline, [(shipment, asked)])
    return asked.cancel_asked_at is not None


async def deliver(pipeline: Pipeline, key: ShipmentKey, *, announcer: Announcer, now: datetime) -> None:
    """The carrier says that every parcel has arrived."""
    before = (await store.lock(pipeline, [key]))[key]
    after, announced = domain.deliver(before, now)
    if after != before:
        store.tell_changes(pipeline, [(before, after)])
        outbox.tell(pipeline, announcer.events(announced))


async def expect_status(tx: AsyncConnection, tenant_id: str, shipment_id: str, *statuses: Status) -> Shipment:
    """The shipment, if it has one of the statuses. Raises Fault `not_found` or `invalid_state`."""
    shipment = await get_shipment(tx, tenant_id, shipment_id)
    if shipment.status not in statuses:
        raise Fault("invalid_state", f"The shipment is {shipment.status}.", current_status=shipment.status)
    return shipment


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
    if shipment is None or not shipment.has_labels:
        raise Fault("not_found", "There is no such label.")
    labels = await store.find_labels(tx, shipment)
    return [labels[parcel.number] for parcel in shipment.current_parcels]
