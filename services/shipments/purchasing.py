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
    LabelFact,
    LabelStatus,
    Parcel,
    Shipment,
    Status,
    label_step,
    moved,
    with_parcel,
)

# How long a carrier in trouble is tried again before the shipment fails.
PATIENCE = timedelta(minutes=15)
# What of the time between two tries counts as trying: more than the listener and the sweeper let pass. The rest is time
# in which we were away, and no trouble of the carrier's.
BETWEEN_TRIES_MAX = timedelta(minutes=2)

# The longest that a label in trouble is left in peace, whoever comes for it: less than the listener waits by itself.
REST_MAX = timedelta(seconds=15)

# There is a label, or was: whoever brings another one comes too late.
HAS_OR_HAD_LABEL = (LabelStatus.READY, LabelStatus.VOIDING, LabelStatus.VOIDED)


def next_parcel(shipment: Shipment) -> Parcel | None:
    """The parcel to buy a label for now; None when there is none."""
    # What somebody wants canceled gets no label any more.
    if shipment.status is not Status.ALLOCATED or shipment.cancel_asked_at is not None:
        return None
    return next((parcel for parcel in shipment.parcels if parcel.label_status is not LabelStatus.READY), None)


def is_resting(parcel: Parcel, now: datetime) -> bool:
    """Whether its latest try ended in trouble, and the next would be early: half as long as the trouble lasts.

    It may come again at any time, for its message comes as soon as a neighbour wants.
    """
    if parcel.attempt is None or parcel.label_status not in (LabelStatus.NONE, LabelStatus.UNKNOWN):
        return False
    tried_at = parcel.attempt.tried_at
    return now < tried_at + min((tried_at - parcel.attempt.began_at) / 2, REST_MAX)


def begin_purchase(shipment: Shipment, number: int, *, try_id: str, leased_until: datetime, now: datetime) -> Shipment:
    """Writes down that a label is being bought, before it is. The first try's id is the key of all.

    What cannot have been bought yet will be sent at once; what may have been is looked up first (`send_again`).
    """
    parcel = shipment.parcel(number)
    attempt = next_try(parcel.attempt, try_id=try_id, leased_until=leased_until, now=now)
    return _with_label(shipment, replace(parcel, attempt=attempt), LabelFact.TO_BE_BOUGHT, now)


def next_try(last: Attempt | None, *, try_id: str, leased_until: datetime, now: datetime) -> Attempt:
    """A further try of an attempt, or the first one, with a lease of its own."""
    if last is None:
        return Attempt(try_id, try_id, began_at=now, tried_at=now, leased_until=leased_until, sent_at=now)
    away = max(now - last.tried_at - BETWEEN_TRIES_MAX, timedelta(0))
    return replace(
        last,
        try_id=try_id,
        began_at=last.began_at + away,
        tried_at=now,
        leased_until=leased_until,
        sent_at=last.sent_at or now,
    )


def send_again(shipment: Shipment, number: int, now: datetime) -> Shipment:
    """Writes down that the carrier is told to sell once more, before it is."""
    parcel = shipment.parcel(number)
    assert parcel.attempt is not None
    return with_parcel(shipment, replace(parcel, attempt=replace(parcel.attempt, sent_at=now)), now)


def is_latest_try(shipment: Shipment, number: int, try_id: str) -> bool:
    """False for whoever lost the lease to somebody else, or whose attempt somebody else has settled."""
    attempt = shipment.parcel(number).attempt
    return attempt is not None and attempt.try_id == try_id


def keep_label(
    shipment: Shipment, number: int, *, tracking_number: str, carrier: str, service: str, now: datetime
) -> Decision:
    """The parcel has its label, whatever has become of the shipment meanwhile: it is paid for."""
    parcel = replace(shipment.parcel(number), tracking_number=tracking_number, attempt=None)
    sold = replace(shipment, carrier=carrier, service=service)
    kept = _with_label(sold, parcel, LabelFact.BOUGHT, now)
    return moved(shipment, kept, Fact.LABELS_READY, now) if _lacks_no_label(kept) else (kept, [])


def finish_labels(shipment: Shipment, now: datetime) -> Decision:
    """Label ready, if every parcel has its label; nothing otherwise."""
    return moved(shipment, shipment, Fact.LABELS_READY, now) if _lacks_no_label(shipment) else (shipment, [])


def _lacks_no_label(shipment: Shipment) -> bool:
    return shipment.status is Status.ALLOCATED and shipment.has_labels


def put_off_purchase(shipment: Shipment, number: int, error: Failure, outcome: LabelFact, now: datetime) -> Decision:
    """The try settled nothing: the attempt stays open, free to be taken up again, until patience is over.

    `outcome` says whether a label may exist: unclear, or not bought.
    """
    parcel = shipment.parcel(number)
    assert parcel.attempt is not None
    # A shipment that lost its stock meanwhile may want this label yet: its attempt stays, to be looked up by.
    if _may_fail(shipment) and now >= parcel.attempt.began_at + PATIENCE:
        return fail(shipment, number, error, outcome, now)
    return _with_label(shipment, _freed(parcel, outcome, now), outcome, now), []


def fail(shipment: Shipment, number: int, error: Failure, outcome: LabelFact, now: datetime) -> Decision:
    """The carrier will not, or could not for too long. Ends the shipment that waits for this label.

    What may exist all the same keeps its attempt: it is looked for, and given back.
    """
    parcel = shipment.parcel(number)
    parcel = _freed(parcel, outcome, now) if outcome is LabelFact.UNCLEAR else replace(parcel, attempt=None)
    closed = _with_label(shipment, parcel, outcome, now)
    if not _may_fail(shipment):
        return closed, []
    return moved(shipment, replace(closed, error=error, allocations=()), Fact.CARRIER_FAILED, now)


def _may_fail(shipment: Shipment) -> bool:
    # What is to be canceled will be, whatever the carrier says.
    return shipment.status is Status.ALLOCATED and shipment.cancel_asked_at is None


def _freed(parcel: Parcel, outcome: LabelFact, now: datetime) -> Parcel:
    """The attempt without a taker; nothing counts as sent where nothing was bought."""
    assert parcel.attempt is not None
    sent_at = parcel.attempt.sent_at if outcome is LabelFact.UNCLEAR else None
    return replace(parcel, attempt=replace(parcel.attempt, leased_until=now, sent_at=sent_at))


def _with_label(shipment: Shipment, parcel: Parcel, fact: LabelFact, now: datetime) -> Shipment:
    return with_parcel(shipment, replace(parcel, label_status=label_step(parcel.label_status, fact)), now)
