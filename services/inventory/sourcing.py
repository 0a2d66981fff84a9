"""Which warehouses serve a request: all of it or nothing, from as few warehouses as can be. Pure.

Up to EXACT_MAX candidate warehouses every combination is tried, smallest first, in the order of their names; beyond
that the search is greedy, so that its cost stays bounded. The same stock gives the same plan, whatever the order of
the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

EXACT_MAX = 6

Available = Mapping[str, Mapping[str, int]]  # warehouse -> sku -> units


@dataclass(frozen=True, order=True)
class Placement:
    """Units of one SKU taken from one warehouse."""

    sku: str
    warehouse: str
    qty: int


def plan(wanted: Mapping[str, int], available: Available) -> list[Placement] | None:
    """The placements whose sums are exactly `wanted`, or None where stock is short."""
    candidates = sorted(w for w, stock in available.items() if any(stock.get(sku, 0) > 0 for sku in wanted))
    if not _suffices(wanted, available, candidates):
        return None
    if len(candidates) <= EXACT_MAX:
        chosen = _fewest(wanted, available, candidates)
    else:
        chosen = _greedy(wanted, available, candidates)
    return sorted(_fill(wanted, available, chosen))


def _fewest(wanted: Mapping[str, int], available: Available, candidates: Sequence[str]) -> Sequence[str]:
    for size in range(1, len(candidates)):
        for group in combinations(candidates, size):
            if _suffices(wanted, available, group):
                return group
    return candidates


def _greedy(wanted: Mapping[str, int], available: Available, candidates: Sequence[str]) -> Sequence[str]:
    """Takes the warehouse that covers most of what is still missing, until nothing is."""
    chosen: list[str] = []
    missing = dict(wanted)
    while any(missing.values()):
        best, most = "", 0
        for warehouse in candidates:  # in the order of their names: of equals the first wins
            covered = _covered(missing, available[warehouse])
            if covered > most:
                best, most = warehouse, covered
        chosen.append(best)
        missing = {sku: qty - min(qty, available[best].get(sku, 0)) for sku, qty in missing.items()}
    return chosen


def _covered(missing: Mapping[str, int], stock: Mapping[str, int]) -> int:
    return sum(min(qty, stock.get(sku, 0)) for sku, qty in missing.items())


def _suffices(wanted: Mapping[str, int], available: Available, warehouses: Iterable[str]) -> bool:
    group = list(warehouses)
    return all(sum(available[w].get(sku, 0) for w in group) >= qty for sku, qty in wanted.items())


def _fill(wanted: Mapping[str, int], available: Available, warehouses: Sequence[str]) -> Iterable[Placement]:
    for sku, qty in wanted.items():
        missing = qty
        for warehouse in warehouses:
            taken = min(missing, available[warehouse].get(sku, 0))
            if taken > 0:
                yield Placement(sku, warehouse, taken)
                missing -= taken
