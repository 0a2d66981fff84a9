"""What is allowed in giving labels back. Pure, as domain.py is.

A label is given back when no goods will leave under it: its shipment ended without any or waits again, or its stock
lies elsewhere. What may have been bought is looked for first, and never bought anew. Once giving back has begun the
label serves nobody: should the stock return, another parcel is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from services.shipments.domain import (
    LabelFact,
    LabelStatus,
    Parcel,
    Shipment,
    Status,
    label_step,
    with_parcel,
)
from services.shipments.purchasing import next_try

_MAY_BE_BOUGHT = (LabelStatus.PURCHASING, LabelStatus.UNKNOWN)
_NEVER = datetime.min.replace(tzinfo=UTC)


def next_parcel(shipment: Shipment) -> Parcel | None:
    """The parcel whose label is to be given back, or looked for, now: the one that was tried longest ago."""
    return min(_to_settle(shipment), key=_tried_at, default=None)


def begin_void(shipment: Shipment, number: int, *, try_id: str, leased_until: datetime, now: datetime) -> Shipment:
    """Writes down that a label is being given back, before the carrier hears of it."""
    return _begin(shipment, number, LabelFact.TO_BE_VOIDED, try_id, leased_until, now)


def begin_search(shipment: Shipment, number: int, *, try_id: str, leased_until: datetime, now: datetime) -> Shipment:
    """Writes down that a label which may be bought is being looked for. Whoever was buying it has no say any more."""
    return _begin(shipment, number, LabelFact.UNCLEAR, try_id, leased_until, now)


def close_void(shipment: Shipment, number: int, now: datetime) -> Shipment:
    """The carrier has taken the label back."""
    return _ended(shipment, shipment.parcel(number), LabelFact.VOIDED, now)


def refuse_void(shipment: Shipment, number: int, now: datetime) -> Shipment:
    """The carrier will not take it back. It is ready, as it was; it is not asked again."""
    parcel = replace(shipment.parcel(number), void_refused_at=now)
    return _ended(shipment, parcel, LabelFact.NOT_TAKEN_BACK, now)


def put_off(shipment: Shipment, number: int, now: datetime) -> Shipment:
    """The try settled nothing: free to be taken up again."""
    parcel = shipment.parcel(number)
    assert parcel.attempt is not None
    return with_parcel(shipment, replace(parcel, attempt=replace(parcel.attempt, leased_until=now)), now)


def close_search(shipment: Shipment, number: int, now: datetime) -> Shipment:
    """Nothing was bought. Should it be yet, its attempt goes on under the key that the carrier knows."""
    parcel = shipment.parcel(number)
    free = replace(parcel.attempt, leased_until=now, sent_at=None) if parcel.attempt is not None else None
    label_status = label_step(parcel.label_status, LabelFact.NOT_BOUGHT)
    return with_parcel(shipment, replace(parcel, label_status=label_status, attempt=free), now)


def _to_settle(shipment: Shipment) -> Iterator[Parcel]:
    wanted = {parcel.number for parcel in shipment.current_parcels}
    for parcel in shipment.opened_parcels:
        is_wanted = parcel.number in wanted
        is_bought_on = is_wanted and shipment.status is Status.ALLOCATED
        is_to_give_back = parcel.label_status is LabelStatus.READY and parcel.void_refused_at is None and not is_wanted
        is_to_look_for = parcel.label_status in _MAY_BE_BOUGHT and not is_bought_on
        if is_to_give_back or is_to_look_for or parcel.label_status is LabelStatus.VOIDING:
            yield parcel


def _tried_at(parcel: Parcel) -> datetime:
    return parcel.attempt.tried_at if parcel.attempt is not None else _NEVER


def _begin(
    shipment: Shipment, number: int, fact: LabelFact, try_id: str, leased_until: datetime, now: datetime
) -> Shipment:
    parcel = shipment.parcel(number)
    attempt = next_try(parcel.attempt, try_id=try_id, leased_until=leased_until, now=now)
    label_status = label_step(parcel.label_status, fact)
    return with_parcel(shipment, replace(parcel, label_status=label_status, attempt=attempt), now)


def _ended(shipment: Shipment, parcel: Parcel, fact: LabelFact, now: datetime) -> Shipment:
    label_status = label_step(parcel.label_status, fact)
    return with_parcel(shipment, replace(parcel, label_status=label_status, attempt=None), now)
