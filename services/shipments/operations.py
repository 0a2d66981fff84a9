"""What the service does to a shipment that there is, one transaction each: load, decide, save, announce.

Every operation takes `tx` and never commits. What needs a call to somebody else stands between two of these, in
steps.py: no transaction waits for the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox
from chassis.clock import Clock
from chassis.consumer import RetryLater
from chassis.errors import Fault
from services.shipments import domain, following, purchasing, store, voiding
from services.shipments.carriers.port import CarrierFailure, CarrierRefused, CarrierUnavailable, Label
from services.shipments.domain import (
    Decision,
    Failure,
    LabelFact,
    LabelStatus,
    Parcel,
    Shipment,
    Status,
    Stock,
)
from services.shipments.events import Announcer
from services.shipments.store import ShipmentKey


@dataclass(frozen=True)
class LabelTask:
    """A label to buy, to look for or to give back: written down and leased to whoever holds this."""

    shipment: Shipment
    parcel: Parcel
    try_id: str
    sent_at: datetime | None
    """When an earlier try may have bought it already; None where none can have."""

    @property
    def is_void(self) -> bool:
        return self.parcel.label_status is LabelStatus.VOIDING


async def follow_stock(
    tx: AsyncConnection, news: Sequence[tuple[ShipmentKey, Stock]], *, announcer: Announcer, clock: Clock
) -> None:
    """Applies what inventory holds for shipments; what is not newer than the newest heard changes nothing."""
    before = await store.lock_all(tx, [key for key, _ in news])
    after = dict(before)
    announced: list[domain.ShipmentEvent] = []
    now = clock()  # read under the locks
    for key, stock in news:
        if key in after:
            after[key], events = following.follow_stock(after[key], stock, now)
            announced += events
    await store.update_all(tx, [(before[key], after[key]) for key in before if after[key] != before[key]])
    await outbox.add(tx, announcer.events(announced))


async def ask_cancel(tx: AsyncConnection, tenant_id: str, shipment_id: str, now: datetime) -> bool:
    """Writes the wish down. False where there is nothing to ask inventory for: it has left or ended, or is unknown."""
    shipment = await store.lock(tx, tenant_id, shipment_id)
    if shipment is None:
        return False
    asked = following.ask_cancel(shipment, now)
    if asked != shipment:
        await store.update(tx, shipment, asked)
    return asked.cancel_asked_at is not None


async def expect_status(tx: AsyncConnection, tenant_id: str, shipment_id: str, *statuses: Status) -> Shipment:
    """The shipment, if it has one of the statuses. Raises Fault `not_found` or `invalid_state`."""
    shipment = await get_shipment(tx, tenant_id, shipment_id)
    if shipment.status not in statuses:
        raise Fault("invalid_state", f"The shipment is {shipment.status}.", current_status=shipment.status)
    return shipment


async def deliver(
    tx: AsyncConnection, tenant_id: str, shipment_id: str, *, announcer: Announcer, now: datetime
) -> None:
    """The carrier says that every parcel has arrived."""
    shipment = await store.lock(tx, tenant_id, shipment_id)
    assert shipment is not None
    await _save(tx, shipment, domain.deliver(shipment, now), announcer)


async def begin_purchase(
    tx: AsyncConnection,
    tenant_id: str,
    shipment_id: str,
    *,
    try_id: str,
    lease: timedelta,
    announcer: Announcer,
    now: datetime,
) -> LabelTask | None:
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
    _demand_lease(parcel, now)
    begun = purchasing.begin_purchase(shipment, parcel.number, try_id=try_id, leased_until=now + lease, now=now)
    await store.update(tx, shipment, begun)
    return LabelTask(begun, begun.parcel(parcel.number), try_id, parcel.attempt.sent_at if parcel.attempt else None)


async def begin_void(
    tx: AsyncConnection, tenant_id: str, shipment_id: str, *, try_id: str, lease: timedelta, now: datetime
) -> LabelTask | None:
    """Takes the next label that is to be given back, or looked for before it can be. None: all is done.

    Raises RetryLater while somebody else holds the lease.
    """
    shipment = await store.lock(tx, tenant_id, shipment_id)
    parcel = voiding.next_parcel(shipment) if shipment is not None else None
    if shipment is None or parcel is None:
        return None
    _demand_lease(parcel, now)
    begin = voiding.begin_void if parcel.tracking_number is not None else voiding.begin_search
    begun = begin(shipment, parcel.number, try_id=try_id, leased_until=now + lease, now=now)
    await store.update(tx, shipment, begun)
    task = begun.parcel(parcel.number)
    return LabelTask(begun, task, try_id, task.attempt.sent_at if task.attempt else None)


async def send_again(tx: AsyncConnection, task: LabelTask, now: datetime) -> None:
    """Notes that the carrier is told to sell again: it knows of no label. Raises RetryLater if the lease was lost."""
    shipment = await store.lock(tx, task.shipment.tenant_id, task.shipment.id)
    assert shipment is not None
    if not purchasing.is_latest_try(shipment, task.parcel.number, task.try_id):
        raise RetryLater("somebody else is at the label")
    await store.update(tx, shipment, purchasing.send_again(shipment, task.parcel.number, now))


async def settle_purchase(
    tx: AsyncConnection, task: LabelTask, outcome: Label | CarrierFailure, *, announcer: Announcer, now: datetime
) -> Shipment:
    """Writes down how a try ended. Returns the shipment as it then is.

    A label is kept whoever brings it, unless there is one: it is paid for. A failure counts from the latest try alone.
    """
    shipment = await store.lock(tx, task.shipment.tenant_id, task.shipment.id)
    assert shipment is not None
    number = task.parcel.number
    if isinstance(outcome, Label):
        return await _keep_label(tx, shipment, number, outcome, announcer, now)
    if not purchasing.is_latest_try(shipment, number, task.try_id):
        return shipment
    decision = _give_up_or_put_off(shipment, number, outcome, now)
    await _save(tx, shipment, decision, announcer)
    return decision[0]


async def settle_search(
    tx: AsyncConnection, task: LabelTask, outcome: Label | CarrierFailure | None, *, announcer: Announcer, now: datetime
) -> None:
    """Writes down what became of a purchase that nobody goes on with: its label, None, or that it is not known yet."""
    shipment = await store.lock(tx, task.shipment.tenant_id, task.shipment.id)
    assert shipment is not None
    if isinstance(outcome, Label):
        await _keep_label(tx, shipment, task.parcel.number, outcome, announcer, now)
    elif purchasing.is_latest_try(shipment, task.parcel.number, task.try_id):
        settle = voiding.close_search if outcome is None else voiding.put_off
        await store.update(tx, shipment, settle(shipment, task.parcel.number, now))


async def settle_void(tx: AsyncConnection, task: LabelTask, outcome: CarrierFailure | None, now: datetime) -> bool:
    """Writes down how a try to give a label back ended; None: it was taken back. False: nothing was left to settle.

    What the carrier took back is back whoever tells it. A failure counts from the latest try alone.
    """
    shipment = await store.lock(tx, task.shipment.tenant_id, task.shipment.id)
    assert shipment is not None
    number = task.parcel.number
    if shipment.parcel(number).label_status is not LabelStatus.VOIDING:
        return False
    if outcome is None:
        settled = voiding.close_void(shipment, number, now)
    elif not purchasing.is_latest_try(shipment, number, task.try_id):
        return False
    elif isinstance(outcome, CarrierRefused):
        settled = voiding.refuse_void(shipment, number, now)
    else:
        settled = voiding.put_off(shipment, number, now)
    await store.update(tx, shipment, settled)
    return True


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


def _demand_lease(parcel: Parcel, now: datetime) -> None:
    if parcel.attempt is not None and parcel.attempt.leased_until > now:
        raise RetryLater("somebody is at the label")


async def _save(tx: AsyncConnection, before: Shipment, decision: Decision, announcer: Announcer) -> None:
    shipment, announced = decision
    if shipment == before:
        return
    await store.update(tx, before, shipment)
    await outbox.add(tx, announcer.events(announced))


async def _keep_label(
    tx: AsyncConnection, shipment: Shipment, number: int, label: Label, announcer: Announcer, now: datetime
) -> Shipment:
    if shipment.parcel(number).label_status in purchasing.HAS_OR_HAD_LABEL:
        return shipment
    sold_by = {"carrier": label.carrier, "service": label.service}
    decision = purchasing.keep_label(shipment, number, tracking_number=label.tracking_number, **sold_by, now=now)
    await _save(tx, shipment, decision, announcer)
    await store.add_label(tx, shipment, number, content=label.content, **sold_by, now=now)
    return decision[0]


def _give_up_or_put_off(shipment: Shipment, number: int, failure: CarrierFailure, now: datetime) -> Decision:
    error = Failure(failure.code, failure.message)
    if isinstance(failure, CarrierRefused):
        return purchasing.fail(shipment, number, error, LabelFact.NOT_BOUGHT, now)
    nothing_bought = isinstance(failure, CarrierUnavailable)
    outcome = LabelFact.NOT_BOUGHT if nothing_bought else LabelFact.UNCLEAR
    return purchasing.put_off_purchase(shipment, number, error, outcome, now)
