"""What a request for stock is and how it lives. Pure, as domain.py is.

A request is a shipment's claim on stock: it waits, holds, and ends once. Who waits is served in the order of rank: the
higher priority first, of equals the older. A younger one whose stock is there may pass an older one whose stock is not,
but for OVERTAKEN_FOR only: what the older one misses is kept for it from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from chassis.errors import FieldFault
from services.inventory.domain import QTY_MAX, Stock, StockKey, name_faults
from services.inventory.sourcing import Coordinates

LINES_MAX = 100  # per request
REQUESTS_MAX = 100  # per call
PRIORITY_MAX = 100
OVERTAKEN_FOR = timedelta(hours=1)


class AllocationStatus(IntEnum):
    """The values of the contract."""

    WAITING = 1
    HELD = 2
    RELEASED = 3
    CONSUMED = 4
    DISPATCHED = 5
    EXPIRED = 6


TRANSITIONS: Mapping[AllocationStatus, frozenset[AllocationStatus]] = {
    AllocationStatus.WAITING: frozenset(
        {
            AllocationStatus.WAITING,  # a shortfall took what it held so far
            AllocationStatus.HELD,
            AllocationStatus.RELEASED,
            AllocationStatus.EXPIRED,
        }
    ),
    AllocationStatus.HELD: frozenset(
        {
            AllocationStatus.WAITING,  # a shortfall took it away
            AllocationStatus.CONSUMED,
            AllocationStatus.DISPATCHED,
            AllocationStatus.RELEASED,
            AllocationStatus.EXPIRED,
        }
    ),
    # All was picked: it holds nothing that could expire.
    AllocationStatus.CONSUMED: frozenset({AllocationStatus.DISPATCHED, AllocationStatus.RELEASED}),
    AllocationStatus.RELEASED: frozenset(),
    AllocationStatus.DISPATCHED: frozenset(),
    AllocationStatus.EXPIRED: frozenset(),
}


class Policy(IntEnum):
    """The values of the contract."""

    ALL_OR_NONE = 1
    PARTIAL = 2


class HoldFact(IntEnum):
    """What happened to held units. A hold is the sum of its facts: each unit that was held ends once."""

    HELD = 1
    CONSUMED = 2
    RELEASED = 3
    EXPIRED = 4
    DISPLACED = 5  # a shortfall took them; the request waits again


# What becomes of the units that a request still holds when its status becomes this.
FACT_OF_END: Mapping[AllocationStatus, HoldFact] = {
    AllocationStatus.WAITING: HoldFact.DISPLACED,
    AllocationStatus.RELEASED: HoldFact.RELEASED,
    AllocationStatus.EXPIRED: HoldFact.EXPIRED,
}


@dataclass(frozen=True)
class StockRequest:
    tenant_id: str
    id: str
    """The shipment's."""
    lines: Sequence[tuple[str, int]]
    """(sku, units) as they were asked for."""
    policy: Policy = Policy.ALL_OR_NONE
    priority: int = 0
    expires_at: datetime | None = None
    """From then on it holds nothing and waits for nothing."""
    destination: Coordinates | None = None
    wanted: Mapping[str, int] = field(init=False)
    """Units per SKU: two lines of one are their sum."""

    def __post_init__(self) -> None:
        wanted: dict[str, int] = {}
        for sku, qty in self.lines:
            wanted[sku] = wanted.get(sku, 0) + qty
        object.__setattr__(self, "wanted", wanted)

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class Hold(NamedTuple):
    """Units of one SKU in one warehouse that are kept for a request: `open` still held, `consumed` picked."""

    key: StockKey
    request_id: str
    open: int
    consumed: int = 0


class HoldChange(NamedTuple):
    """A fact about so many units of a hold, to be added."""

    key: StockKey
    request_id: str
    fact: HoldFact
    units: int


def faults_of(request: StockRequest) -> list[FieldFault]:
    """Everything that is wrong with a request."""
    if not 1 <= len(request.lines) <= LINES_MAX:
        return [FieldFault("/lines", "out_of_range", f"1 to {LINES_MAX} lines.")]
    faults = []
    for index, (sku, qty) in enumerate(request.lines):
        faults += name_faults(f"/lines/{index}/sku", sku)
        if not 1 <= qty <= QTY_MAX:
            faults.append(FieldFault(f"/lines/{index}/qty", "out_of_range", f"1 to {QTY_MAX}."))
    if not 0 <= request.priority <= PRIORITY_MAX:
        faults.append(FieldFault("/priority", "out_of_range", f"0 to {PRIORITY_MAX}."))
    if request.destination is not None and not request.destination.is_on_earth:
        faults.append(FieldFault("/destination", "out_of_range", "Latitude -90 to 90, longitude -180 to 180."))
    return faults


def requests_that_no_longer_fit(stock: Stock, youngest_first: Sequence[Hold]) -> list[str]:
    """Whose holds go back to waiting so that held <= on hand again."""
    excess, losers = stock.held - stock.on_hand, []
    for hold in youngest_first:
        if excess <= 0:
            break
        losers.append(hold.request_id)
        excess -= hold.open
    return losers
