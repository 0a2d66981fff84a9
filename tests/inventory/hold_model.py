"""What requests for stock and movements must come to, as one would say it in a few words: no database, no SQL, no plan.

The model is eager and naive: what has expired ends at its instant, and those that wait are served one after the other.
It shares nothing with the services but the numbers of the contract's statuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

WAITING, HELD, RELEASED, CONSUMED, DISPATCHED, EXPIRED = range(1, 7)
UNDER_WAY = (WAITING, HELD)
HOUR = 3_600

Place = tuple[str, str]  # SKU, warehouse


@dataclass
class Request:
    position: int
    wanted: Mapping[str, int]
    is_partial: bool
    priority: int
    created_at: int
    expires_at: int | None
    status: int = WAITING
    missing: dict[str, int] = field(default_factory=dict)
    open: dict[Place, int] = field(default_factory=dict)
    picked: dict[Place, int] = field(default_factory=dict)

    def is_over(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    @property
    def rank(self) -> tuple[int, int]:
        return -self.priority, self.position

    @property
    def has(self) -> dict[Place, int]:
        places = self.open.keys() | self.picked.keys()
        return {place: self.open.get(place, 0) + self.picked.get(place, 0) for place in places}

    def picked_of(self, sku: str) -> int:
        return sum(units for place, units in self.picked.items() if place[0] == sku)


@dataclass
class Model:
    now: int = 0
    on_hand: dict[Place, int] = field(default_factory=dict)
    inactive: set[str] = field(default_factory=set)
    requests: dict[str, Request] = field(default_factory=dict)

    def passes(self, seconds: int) -> None:
        self.now += seconds
        for request in self.requests.values():
            if request.status in UNDER_WAY and request.is_over(self.now):
                _end(request, EXPIRED)

    def held(self, place: Place) -> int:
        return sum(request.open.get(place, 0) for request in self.requests.values())

    def free(self, place: Place) -> int:
        return self.on_hand.get(place, 0) - self.held(place)

    def add(self, place: Place, units: int) -> None:
        self.on_hand[place] = self.on_hand.get(place, 0) + units

    def pick(self, place: Place, units: int, request_id: str | None) -> bool:
        own = self.requests.get(request_id or "")
        held = own.open.get(place, 0) if own is not None else 0
        if units > self.free(place) + held:
            return False
        self.add(place, -units)
        if own is not None and held:
            _pick(own, place, min(units, held))
            if own.status == HELD and not own.open:
                own.status = CONSUMED
        return True

    def adjust(self, place: Place, change: int) -> bool:
        """What was counted is true, whatever is held: the youngest go back to waiting, whole."""
        after = self.on_hand.get(place, 0) + change
        if after < 0:
            return False
        for request in sorted(self.requests.values(), key=lambda request: -request.position):
            if self.held(place) > after and request.open.get(place):
                _end(request, WAITING)
                rest = {sku: qty - request.picked_of(sku) for sku, qty in request.wanted.items()}
                request.missing = {sku: units for sku, units in rest.items() if units}
        self.add(place, change)
        return True

    def transfer(self, sku: str, giver: str, taker: str, units: int) -> bool:
        if units > self.free((sku, giver)):
            return False
        self.add((sku, giver), -units)
        self.add((sku, taker), units)
        return True

    def allocate(
        self, request_id: str, wanted: Mapping[str, int], is_partial: bool, priority: int, expires_at: int | None
    ) -> None:
        if request_id in self.requests:
            return
        new = Request(len(self.requests), wanted, is_partial, priority, self.now, expires_at)
        others = [one for one in self.waiting() if one.missing.keys() & wanted.keys()]
        self.requests[request_id] = new
        if new.is_over(self.now):
            new.status = EXPIRED
            return
        new.missing = dict(wanted)
        # Who comes to a queue does not pass those before it that could be served.
        if not any(one.rank < new.rank and self.could_serve(one, others) for one in others):
            self.serve(new)

    def release(self, request_id: str) -> None:
        request = self.requests.setdefault(
            request_id, Request(len(self.requests), {}, False, 0, self.now, None, status=RELEASED)
        )
        if request.status in (WAITING, HELD, CONSUMED):
            _end(request, RELEASED)

    def dispatch(self, request_id: str) -> bool:
        """False where there is no such request."""
        request = self.requests.get(request_id)
        if request is not None and request.status in (HELD, CONSUMED):
            for place, units in list(request.open.items()):
                self.add(place, -units)
                _pick(request, place, units)
            request.status = DISPATCHED
        return request is not None

    def wake(self) -> None:
        """Serves those that wait, always the first that something is there for, until there is nobody."""
        while request := next((one for one in self.waiting() if self.could_serve(one, self.waiting())), None):
            self.serve(request)

    def waiting(self) -> list[Request]:
        return sorted((one for one in self.requests.values() if one.status == WAITING), key=lambda one: one.rank)

    def could_serve(self, request: Request, among: Iterable[Request]) -> bool:
        return bool(self._aim(request, among))

    def serve(self, request: Request) -> None:
        for place, units in list(self._placed(self._aim(request, self.waiting()))):
            request.open[place] = request.open.get(place, 0) + units
            request.missing[place[0]] -= units
        request.missing = {sku: units for sku, units in request.missing.items() if units}
        request.status = WAITING if request.missing else HELD

    def _aim(self, request: Request, among: Iterable[Request]) -> dict[str, int]:
        """Units per SKU that it would get, but for what is kept for those before it that have waited an hour."""
        kept_for = [one for one in among if one.rank < request.rank and one.created_at <= self.now - HOUR]
        units = {}
        for sku, missing in request.missing.items():
            free = sum(self.free(place) for place in self.giving(sku))
            units[sku] = min(missing, free - sum(one.missing.get(sku, 0) for one in kept_for))
        if not request.is_partial and units != request.missing:
            return {}
        return {sku: qty for sku, qty in units.items() if qty > 0}

    def giving(self, sku: str) -> list[Place]:
        return [place for place in self.on_hand if place[0] == sku and place[1] not in self.inactive]

    def _placed(self, units: Mapping[str, int]) -> Iterator[tuple[Place, int]]:
        """From as few warehouses as can be, then those with the most, then by name; in that order too."""
        names = {warehouse for sku in units for _, warehouse in self.giving(sku)}

        def stock(group: Iterable[str], sku: str) -> int:
            return sum(self.free((sku, warehouse)) for warehouse in group)

        def most_then_name(group: tuple[str, ...]) -> tuple[int, int, list[str]]:
            return len(group), -sum(stock(group, sku) for sku in units), sorted(group)

        groups = [group for size in range(len(names) + 1) for group in combinations(names, size)]
        enough = [group for group in groups if all(stock(group, sku) >= qty for sku, qty in units.items())]
        best = min(enough, key=most_then_name)
        for sku, rest in units.items():
            for warehouse in sorted(best, key=lambda warehouse: most_then_name((warehouse,))):
                taken = min(rest, self.free((sku, warehouse)))
                rest -= taken  # noqa: PLW2901
                if taken:
                    yield (sku, warehouse), taken


def _pick(request: Request, place: Place, units: int) -> None:
    request.picked[place] = request.picked.get(place, 0) + units
    request.open[place] -= units
    if not request.open[place]:
        del request.open[place]


def _end(request: Request, status: int) -> None:
    request.status, request.open, request.missing = status, {}, {}
