"""What is allowed in buying labels. Pure, as domain.py is: an attempt is opened, put off or closed by these alone.

At most one label is bought per parcel. An attempt that is open may have been sent; its key outlives every try of it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from services.shipments.domain import (
    Attempt,
    Decision,
    Fact,
    Failure,
    LabelStatus,
    Parcel,
    Shipment,
    Status,
    moved,
    with_parcel,
)

# How long a carrier in trouble is tried again before the shipment fails.
PATIENCE = timedelta(minutes=15)
# What of the time between two tries counts as trying: more than the listener and the sweeper let pass. The rest is time
# in which we were away, and no trouble of the carrier's.
BETWEEN_TRIES_MAX = timedelta(minutes=2)


def next_parcel(shipment: Shipment) -> Parcel | None:
    """The parcel to buy a label for now; None when there is none."""
    if shipment.status is not Status.ALLOCATED:
        return None
    return next((parcel for parcel in shipment.parcels if parcel.label_status is not LabelStatus.READY), None)


def begin_purchase(
    shipment: Shipment, warehouse: str, *, try_id: str, leased_until: datetime, now: datetime
) -> Shipment:
    """Writes down that a label is being bought, before it is. The first try's id is the key of all.

    What cannot have been bought yet will be sent at once; what may have been is looked up first (`send_again`).
    """
    parcel = shipment.parcel(warehouse)
    last = parcel.attempt or Attempt(try_id, try_id, began_at=now, tried_at=now, leased_until=now, sent_at=None)
    away = max(now - last.tried_at - BETWEEN_TRIES_MAX, timedelta(0))
    attempt = replace(
        last,
        try_id=try_id,
        began_at=last.began_at + away,
        tried_at=now,
        leased_until=leased_until,
        sent_at=last.sent_at or now,
    )
    return with_parcel(shipment, replace(parcel, label_status=LabelStatus.PURCHASING, attempt=attempt), now)


def send_again(shipment: Shipment, warehouse: str, now: datetime) -> Shipment:
    """Writes down that the carrier is told to sell once more, before it is."""
    parcel = shipment.parcel(warehouse)
    assert parcel.attempt is not None
    return with_parcel(shipment, replace(parcel, attempt=replace(parcel.attempt, sent_at=now)), now)


def is_latest_try(shipment: Shipment, warehouse: str, try_id: str) -> bool:
    """False for whoever lost the lease to somebody else, or whose attempt somebody else has settled."""
    attempt = shipment.parcel(warehouse).attempt
    return attempt is not None and attempt.try_id == try_id


def keep_label(
    shipment: Shipment, warehouse: str, *, tracking_number: str, carrier: str, service: str, now: datetime
) -> Decision:
    """The parcel has its label, whatever has become of the shipment meanwhile: it is paid for."""
    parcel = replace(
        shipment.parcel(warehouse), label_status=LabelStatus.READY, tracking_number=tracking_number, attempt=None
    )
    kept = with_parcel(replace(shipment, carrier=carrier, service=service), parcel, now)
    finished, events = finish_labels(kept, now)
    return replace(finished, version=shipment.version + 1), events


def finish_labels(shipment: Shipment, now: datetime) -> Decision:
    """Label ready, once every parcel has its label; nothing otherwise."""
    if shipment.status is not Status.ALLOCATED or next_parcel(shipment) is not None:
        return shipment, []
    return moved(shipment, shipment, Fact.LABELS_READY, now)


def put_off_purchase(
    shipment: Shipment, warehouse: str, error: Failure, label_status: LabelStatus, now: datetime
) -> Decision:
    """The try settled nothing: the attempt stays open, free to be taken up again, until patience is over.

    `label_status` says whether a label may exist: unknown, or none.
    """
    parcel = shipment.parcel(warehouse)
    assert parcel.attempt is not None
    # A shipment that lost its stock meanwhile may want this label yet: its attempt stays, to be looked up by.
    if shipment.status is Status.ALLOCATED and now >= parcel.attempt.began_at + PATIENCE:
        return fail(shipment, warehouse, error, label_status, now)
    sent_at = parcel.attempt.sent_at if label_status is LabelStatus.UNKNOWN else None
    free = replace(parcel.attempt, leased_until=now, sent_at=sent_at)
    return with_parcel(shipment, replace(parcel, label_status=label_status, attempt=free), now), []


def fail(shipment: Shipment, warehouse: str, error: Failure, label_status: LabelStatus, now: datetime) -> Decision:
    """The carrier will not, or could not for too long. Ends the attempt, and the shipment that waits for this label."""
    parcel = replace(shipment.parcel(warehouse), label_status=label_status, attempt=None)
    closed = with_parcel(shipment, parcel, now)
    if shipment.status is not Status.ALLOCATED:
        return closed, []
    return moved(shipment, replace(closed, error=error, allocations=()), Fact.CARRIER_FAILED, now)
