"""Which warehouses serve a request, and why these. Pure: the same stock, the same plan, in whatever order of lines.

The rules, in their order: as few warehouses as can be, then the higher priority, then the nearer to the destination
where both places are known, then the more stock, then the name. Up to EXACT_MAX candidates every combination is tried;
beyond that single ones and small groups, at most GROUPS_MAX of a size and as many as cost LOOK_UPS_MAX, and then a
greedy search: its cost is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import combinations, islice
from math import asin, comb, cos, fsum, inf, radians, sin, sqrt

EXACT_MAX = 6
GROUPS_MAX = 1_000  # of one size
LOOK_UPS_MAX = 20_000  # for all groups of a decision, beyond EXACT_MAX candidates: a group costs lines x warehouses
RIVALS_MAX = 150  # warehouses in all groups that a candidate is explained by; up to EXACT_MAX candidates that is all
EARTH_RADIUS_KM = 6_371.0

Available = Mapping[str, Mapping[str, int]]  # warehouse -> sku -> units


class Rule(IntEnum):
    """The values of the contract."""

    ONLY_CHOICE = 1
    FEWEST_WAREHOUSES = 2
    PRIORITY = 3
    NEARNESS = 4
    MOST_STOCK = 5
    NAME = 6
    INACTIVE = 7
    NO_STOCK = 8
    SHORT = 9


# The parts of a group's rank, in their order.
_RULES = (Rule.FEWEST_WAREHOUSES, Rule.PRIORITY, Rule.NEARNESS, Rule.MOST_STOCK, Rule.NAME)


@dataclass(frozen=True)
class Coordinates:
    """A place on the earth, in degrees (WGS 84)."""

    latitude: float
    longitude: float

    @property
    def is_on_earth(self) -> bool:
        return -90 <= self.latitude <= 90 and -180 <= self.longitude <= 180

    def km_to(self, other: Coordinates) -> float:
        """Along the surface of a sphere (haversine)."""
        here, there = radians(self.latitude), radians(other.latitude)
        a = (
            sin((there - here) / 2) ** 2
            + cos(here) * cos(there) * sin(radians(other.longitude - self.longitude) / 2) ** 2
        )
        return 2 * EARTH_RADIUS_KM * asin(sqrt(min(a, 1.0)))


@dataclass(frozen=True)
class Site:
    """What sourcing needs to know of a warehouse. One that was never described is as the defaults say."""

    priority: int = 0
    """The higher is taken from first."""
    coordinates: Coordinates | None = None
    active: bool = True


@dataclass(frozen=True, order=True)
class Placement:
    """Units of one SKU taken from one warehouse."""

    sku: str
    warehouse: str
    qty: int


@dataclass(frozen=True)
class Candidate:
    """A warehouse that was looked at, and the rule that placed it or passed it over."""

    warehouse: str
    is_chosen: bool
    rule: Rule
    priority: int
    distance_km: float | None
    available: Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    placements: Sequence[Placement]
    """In the order of SKU and warehouse. Empty where stock is short, or where nothing is wanted."""
    choice: _Choice

    def told(self, at_most: int) -> Sequence[Candidate]:
        """The chosen ones first, in the order in which stock is taken from them; then the others."""
        return list(islice(_explained(self.choice), at_most))


@dataclass(frozen=True)
class _Choice:
    """What was chosen, and from what."""

    wanted: Mapping[str, int]
    available: Available
    sites: Mapping[str, Site]
    destination: Coordinates | None
    candidates: Sequence[str]
    """Active, with something to give, best first."""
    chosen: Sequence[str]

    @cached_property
    def is_chosen(self) -> frozenset[str]:
        return frozenset(self.chosen)

    def suffices(self, group: Iterable[str]) -> bool:
        stocks = [self.available[warehouse] for warehouse in group]
        return all(sum(stock.get(sku, 0) for stock in stocks) >= qty for sku, qty in self.wanted.items())

    def distance_km(self, warehouse: str) -> float | None:
        place = self.sites.get(warehouse, _UNDESCRIBED).coordinates
        return place.km_to(self.destination) if place is not None and self.destination is not None else None

    def units(self, warehouse: str) -> int:
        stock = self.available[warehouse]
        return sum(max(stock.get(sku, 0), 0) for sku in self.wanted)

    def rank(self, group: Iterable[str]) -> tuple[int, tuple[int, ...], float, int, tuple[str, ...]]:
        """The lower is the better. Whose distance is not known comes after those whose is."""
        group = list(group)
        priorities = tuple(sorted(-self.sites.get(warehouse, _UNDESCRIBED).priority for warehouse in group))
        distances = [self.distance_km(warehouse) for warehouse in group]
        far = fsum(inf if km is None else km for km in distances)  # the same in whatever order
        return len(group), priorities, far, -sum(map(self.units, group)), tuple(sorted(group))


_UNDESCRIBED = Site()


def plan(
    wanted: Mapping[str, int],
    available: Available,
    sites: Mapping[str, Site] | None = None,
    destination: Coordinates | None = None,
) -> Plan | None:
    """The placements whose sums are exactly `wanted`, or None where stock is short."""
    choice = _choose(wanted, available, sites or {}, destination)
    return Plan(sorted(_fill(choice)), choice) if choice.chosen or not wanted else None


def shortage(
    wanted: Mapping[str, int],
    available: Available,
    sites: Mapping[str, Site] | None = None,
    destination: Coordinates | None = None,
) -> Plan:
    """The plan that takes nothing, for a request that has to wait."""
    choice = _choose(wanted, available, sites or {}, destination)
    return Plan((), _Choice(wanted, available, choice.sites, destination, choice.candidates, ()))


def in_stock(available: Available, sites: Mapping[str, Site]) -> dict[str, int]:
    """Units per SKU, of all warehouses that give."""
    total: dict[str, int] = {}
    for warehouse, stock in available.items():
        if sites.get(warehouse, _UNDESCRIBED).active:
            for sku, units in stock.items():
                total[sku] = total.get(sku, 0) + max(units, 0)
    return total


def _choose(
    wanted: Mapping[str, int], available: Available, sites: Mapping[str, Site], destination: Coordinates | None
) -> _Choice:
    giving = [
        warehouse
        for warehouse, stock in available.items()
        if sites.get(warehouse, _UNDESCRIBED).active and any(stock.get(sku, 0) > 0 for sku in wanted)
    ]
    choice = _Choice(wanted, available, sites, destination, giving, ())
    candidates = sorted(giving, key=lambda warehouse: choice.rank([warehouse])) if len(giving) > 1 else giving
    choice = _Choice(wanted, available, sites, destination, candidates, ())
    if not wanted or not choice.suffices(candidates):
        return choice
    return _Choice(wanted, available, sites, destination, candidates, _fewest(choice))


def _fewest(choice: _Choice) -> Sequence[str]:
    candidates = choice.candidates
    look_ups = 0
    for size in range(1, len(candidates)):
        look_ups += comb(len(candidates), size) * size * len(choice.wanted)
        is_too_much = comb(len(candidates), size) > GROUPS_MAX or (size > 1 and look_ups > LOOK_UPS_MAX)
        if len(candidates) > EXACT_MAX and is_too_much:
            return _in_order(choice, _greedy(choice))
        groups = [group for group in combinations(candidates, size) if choice.suffices(group)]
        if groups:
            return _in_order(choice, min(groups, key=choice.rank) if len(groups) > 1 else groups[0])
    return candidates


def _in_order(choice: _Choice, group: Iterable[str]) -> Sequence[str]:
    chosen = set(group)
    return [warehouse for warehouse in choice.candidates if warehouse in chosen]


def _greedy(choice: _Choice) -> Sequence[str]:
    """Takes the warehouse that covers most of what is still missing, of equals the best, until nothing is; then drops
    whom nobody needs."""
    missing = dict(choice.wanted)

    def covered(place: int) -> int:
        stock = choice.available[choice.candidates[place]]
        return sum(min(qty, max(stock.get(sku, 0), 0)) for sku, qty in missing.items())

    # What a warehouse covers only shrinks: whose old number is not above another's new one need not be looked at.
    most = [(-covered(place), place) for place in range(len(choice.candidates))]
    heapify(most)
    chosen: list[str] = []
    while any(missing.values()):
        _, place = heappop(most)
        now = -covered(place), place
        if most and now > most[0]:
            heappush(most, now)
            continue
        chosen.append(choice.candidates[place])
        stock = choice.available[chosen[-1]]
        missing = {sku: qty - min(qty, max(stock.get(sku, 0), 0)) for sku, qty in missing.items()}
    return _without_the_needless(choice, chosen)


def _without_the_needless(choice: _Choice, group: Sequence[str]) -> Sequence[str]:
    kept = set(group)
    units = {sku: sum(choice.available[warehouse].get(sku, 0) for warehouse in group) for sku in choice.wanted}
    for warehouse in reversed(_in_order(choice, group)):
        rest = {sku: total - choice.available[warehouse].get(sku, 0) for sku, total in units.items()}
        if all(rest[sku] >= qty for sku, qty in choice.wanted.items()):
            kept.remove(warehouse)
            units = rest
    return sorted(kept)


def _fill(choice: _Choice) -> Iterator[Placement]:
    for sku, qty in choice.wanted.items():
        missing = qty
        for warehouse in choice.chosen:
            taken = min(missing, choice.available[warehouse].get(sku, 0))
            if taken > 0:
                yield Placement(sku, warehouse, taken)
                missing -= taken


def _explained(choice: _Choice) -> Iterator[Candidate]:
    others = [warehouse for warehouse in choice.candidates if warehouse not in choice.is_chosen]
    idle = sorted(choice.available.keys() - set(choice.candidates))
    for warehouse in choice.chosen:
        yield _candidate(choice, warehouse, _why_chosen(choice, warehouse), is_chosen=True)
    for warehouse in others:
        yield _candidate(choice, warehouse, _why_passed_over(choice, warehouse))
    for warehouse in idle:
        is_active = choice.sites.get(warehouse, _UNDESCRIBED).active
        yield _candidate(choice, warehouse, Rule.NO_STOCK if is_active else Rule.INACTIVE)


def _candidate(choice: _Choice, warehouse: str, rule: Rule, *, is_chosen: bool = False) -> Candidate:
    stock = choice.available[warehouse]
    return Candidate(
        warehouse,
        is_chosen,
        rule,
        choice.sites.get(warehouse, _UNDESCRIBED).priority,
        choice.distance_km(warehouse),
        {sku: stock.get(sku, 0) for sku in sorted(choice.wanted)},
    )


def _why_chosen(choice: _Choice, warehouse: str) -> Rule:
    """The first rule in which the choice is better than the best without this warehouse."""
    without = [other for other in choice.candidates if other != warehouse]
    rival = _best(choice, _groups(choice, without, len(choice.chosen)))
    if rival is not None:
        return _difference(choice, rival)
    return Rule.FEWEST_WAREHOUSES if choice.suffices(without) else Rule.ONLY_CHOICE


def _why_passed_over(choice: _Choice, warehouse: str) -> Rule:
    """The first rule in which the choice is better than the best with this warehouse."""
    if not choice.chosen:
        return Rule.SHORT
    others = [other for other in choice.candidates if other != warehouse]
    rival = _best(choice, ((*group, warehouse) for group in _groups(choice, others, len(choice.chosen) - 1)))
    return Rule.FEWEST_WAREHOUSES if rival is None else _difference(choice, rival)


def _groups(choice: _Choice, warehouses: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """All groups of a size; where they are too many, some of those within the chosen ones and one more."""
    most = max(RIVALS_MAX // max(size, 1), 1)
    if len(choice.candidates) > EXACT_MAX:
        told = len(choice.candidates) * max(size, 1) * len(choice.wanted)  # a group for each of them
        most = max(min(most, LOOK_UPS_MAX // told), 1)
    if comb(len(warehouses), size) <= most:
        yield from combinations(warehouses, size)
        return
    kept = [warehouse for warehouse in warehouses if warehouse in choice.is_chosen]
    if len(kept) >= size:
        yield from islice(combinations(kept, size), most)
    if len(kept) == size - 1:
        others = (warehouse for warehouse in warehouses if warehouse not in choice.is_chosen)
        yield from ((*kept, other) for other in islice(others, most))


def _best(choice: _Choice, groups: Iterable[tuple[str, ...]]) -> tuple[str, ...] | None:
    return min((group for group in groups if choice.suffices(group)), key=choice.rank, default=None)


def _difference(choice: _Choice, rival: Sequence[str]) -> Rule:
    """Where the search was not exact it may have passed over a better one: then it is the number that it looked at."""
    ours, theirs = choice.rank(choice.chosen), choice.rank(rival)
    if ours > theirs:
        return Rule.FEWEST_WAREHOUSES
    differ = (rule for rule, one, other in zip(_RULES, ours, theirs, strict=True) if one != other)
    return next(differ, Rule.FEWEST_WAREHOUSES)
