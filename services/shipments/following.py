"""How a shipment follows its stock, to its end if inventory says so. Pure, as domain.py is.

Inventory decides whether a shipment left, was canceled or ran out of time: each ends its allocation, which ends once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.shipments.domain import (
    DRAWS,
    HELD_LINES_MAX,
    TRANSITIONS,
    Decision,
    Fact,
    Failure,
    HeldLine,
    LabelStatus,
    Parcel,
    Shipment,
    Stock,
    StockStatus,
    changed,
    moved,
    newest_by_warehouse,
    warehouses,
)


def follow_stock(shipment: Shipment, stock: Stock, now: datetime) -> Decision:
    """Applies what inventory holds. News older than the newest heard, or repeated, changes nothing."""
    if stock.version <= shipment.allocation_version:
        return shipment, []
    heard = replace(shipment, allocation_version=stock.version)
    fact, error = _meaning(stock, shipment)
    if fact not in TRANSITIONS[shipment.status]:
        return changed(heard, now), []  # what has ended or left is not moved by its stock any more
    if fact in (Fact.STOCK_FAILED, Fact.CANCELED):
        return moved(shipment, replace(heard, allocations=(), error=error), fact, now)
    held = tuple(stock.held)
    if fact is Fact.STOCK_HELD and shipment.status in DRAWS and held == tuple(shipment.allocations):
        return changed(heard, now), []  # picked, or held again where it was: its labels stay as they are
    sourced = replace(heard, allocations=held)
    if fact is not Fact.STOCK_WAITING:
        sourced = replace(sourced, opened_parcels=_open_parcels(shipment, held, now))
    return moved(shipment, sourced, fact, now)


def ask_cancel(shipment: Shipment, now: datetime) -> Shipment:
    """Writes down that somebody wants it canceled: whatever crashes then, it will be. Nothing where it cannot be."""
    if shipment.cancel_asked_at is not None or Fact.CANCELED not in TRANSITIONS[shipment.status]:
        return shipment
    return changed(replace(shipment, cancel_asked_at=now), now)


_FACT_OF_STOCK: Mapping[StockStatus, Fact] = {
    StockStatus.WAITING: Fact.STOCK_WAITING,
    StockStatus.HELD: Fact.STOCK_HELD,
    # The warehouse was quicker than the news of the hold. What was picked still counts as held for the shipment.
    StockStatus.CONSUMED: Fact.STOCK_HELD,
    StockStatus.DISPATCHED: Fact.DISPATCHED,
}


def _meaning(stock: Stock, shipment: Shipment) -> tuple[Fact, Failure | None]:
    """What the news of its stock is to a shipment, and the failure that goes with it."""
    if stock.status is StockStatus.EXPIRED:
        return Fact.STOCK_FAILED, Failure("hold_expired", "It had not left when its hold expired.")
    if stock.status is StockStatus.RELEASED:
        if shipment.cancel_asked_at is not None:
            return Fact.CANCELED, None
        # We release for what is to be canceled, or has ended, alone: somebody else did it, for good.
        return Fact.STOCK_FAILED, Failure("stock_released", "The stock of this shipment was given back.")
    if len(stock.held) > HELD_LINES_MAX and stock.status is not StockStatus.DISPATCHED:
        return Fact.STOCK_FAILED, Failure("stock_scattered", "The stock of this shipment lies in too many places.")
    return _FACT_OF_STOCK[stock.status], None


def _open_parcels(shipment: Shipment, held: Sequence[HeldLine], now: datetime) -> Sequence[Parcel]:
    """All parcels, with one for every warehouse of `held`. Where stock comes back to, patience begins anew."""
    back = set(warehouses(held)) - {parcel.warehouse for parcel in shipment.current_parcels}
    opened = [_with_new_patience(p, now) if p.warehouse in back else p for p in shipment.opened_parcels]
    has_parcel = newest_by_warehouse(opened)
    for warehouse in warehouses(held):
        if warehouse not in has_parcel:
            number = len(opened) + 1
            opened.append(Parcel(number, warehouse, reference=f"{shipment.id}-{number}"))
    return tuple(opened)


def _with_new_patience(parcel: Parcel, now: datetime) -> Parcel:
    if parcel.attempt is None or parcel.label_status is LabelStatus.VOIDING:
        return parcel
    return replace(parcel, attempt=replace(parcel.attempt, began_at=now, tried_at=now))
