"""Which warehouses serve a request, and why these: held against the rules as one would write them down, naively."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from math import fsum, inf
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.inventory import sourcing
from services.inventory.sourcing import EXACT_MAX, Available, Candidate, Coordinates, Placement, Rule, Site
from services.inventory.sourcing import plan as make_plan

SEATTLE, NEWARK, BERLIN = Coordinates(47.6062, -122.3321), Coordinates(40.7357, -74.1724), Coordinates(52.52, 13.405)
PASSED_OVER_FOR = {Rule.INACTIVE, Rule.NO_STOCK, Rule.SHORT}
RULES = (Rule.FEWEST_WAREHOUSES, Rule.PRIORITY, Rule.NEARNESS, Rule.MOST_STOCK, Rule.NAME)
OF_THE_CHOSEN = {Rule.ONLY_CHOICE, *RULES}


def plan(wanted: Mapping[str, int], available: Available) -> Sequence[Placement] | None:
    made = make_plan(wanted, available)
    return made.placements if made is not None else None


def test_one_warehouse_serves_where_one_can() -> None:
    available = {"A": {"X": 1}, "B": {"X": 2, "Y": 1}, "C": {"X": 1, "Y": 1}}

    assert plan({"X": 1, "Y": 1}, available) == [Placement("X", "B", 1), Placement("Y", "B", 1)]


def test_the_rest_comes_from_the_next_and_not_more_than_asked() -> None:
    assert plan({"X": 5}, {"A": {"X": 3}, "B": {"X": 3}}) == [Placement("X", "A", 3), Placement("X", "B", 2)]


def test_what_lies_in_two_places_is_stock_that_can_be_held() -> None:
    assert plan({"X": 5}, {"A": {"X": 3}, "B": {"X": 2}}) == [Placement("X", "A", 3), Placement("X", "B", 2)]


def test_short_by_one_is_nothing_at_all() -> None:
    assert plan({"X": 2, "Y": 1}, {"A": {"X": 2}}) is None
    assert plan({"X": 2}, {}) is None


@pytest.mark.parametrize(
    ("here", "there", "km"),
    [
        (SEATTLE, NEWARK, 3_858),
        (NEWARK, BERLIN, 6_401),
        (SEATTLE, SEATTLE, 0),
        (Coordinates(0, 0), Coordinates(0, 180), 20_015),  # half way round
        (Coordinates(90, 0), Coordinates(-90, 77), 20_015),
        (Coordinates(90, 12), Coordinates(90, -150), 0),  # at the pole every longitude is one place
        (Coordinates(0, 179.5), Coordinates(0, -179.5), 111),  # across the date line
        (Coordinates(50.0359, -5.4253), Coordinates(58.3838, -3.0412), 941),
    ],
)
def test_a_distance_is_that_along_the_surface_of_the_earth(here: Coordinates, there: Coordinates, km: float) -> None:
    assert here.km_to(there) == pytest.approx(km, rel=0.003, abs=0.5)
    assert here.km_to(there) == there.km_to(here)


# What follows is true of every case.
@dataclass(frozen=True)
class Case:
    wanted: Mapping[str, int]
    available: Available
    sites: Mapping[str, Site]
    destination: Coordinates | None

    @cached_property
    def made(self) -> sourcing.Plan | None:
        return make_plan(self.wanted, self.available, self.sites, self.destination)

    def site(self, warehouse: str) -> Site:
        return self.sites.get(warehouse, Site())

    def gives(self, warehouse: str) -> bool:
        return self.site(warehouse).active and any(self.available[warehouse].get(sku, 0) > 0 for sku in self.wanted)

    @cached_property
    def giving(self) -> list[str]:
        return sorted(filter(self.gives, self.available))

    def suffices(self, group: Sequence[str]) -> bool:
        return all(sum(self.available[w].get(sku, 0) for w in group) >= qty for sku, qty in self.wanted.items())

    @cached_property
    def km(self) -> Mapping[str, float]:
        """To the destination; without end where one of the places is not known."""
        places = {w: self.site(w).coordinates for w in self.available}
        return {
            w: inf if p is None or self.destination is None else p.km_to(self.destination) for w, p in places.items()
        }

    def by_rules(self, group: Sequence[str]) -> list[Any]:
        """What each rule has to say of a group, in the order of the rules: less is better."""
        return [
            len(group),
            sorted(-self.site(w).priority for w in group),
            fsum(self.km[w] for w in group),
            -sum(self.available[w].get(sku, 0) for w in group for sku in self.wanted),
            sorted(group),
        ]

    def first_difference(self, ours: Sequence[str], theirs: Sequence[str]) -> tuple[Rule, bool]:
        """The rule, and whether ours is the better by it."""
        for rule, mine, other in zip(RULES, self.by_rules(ours), self.by_rules(theirs), strict=True):
            if mine != other:
                return rule, mine < other
        raise AssertionError("the same group")

    @cached_property
    def groups(self) -> list[tuple[str, ...]]:
        """All that suffice, the best first."""
        sizes = range(1, len(self.giving) + 1)
        all_groups = [group for size in sizes for group in combinations(self.giving, size)]
        return sorted(filter(self.suffices, all_groups), key=self.by_rules)


_SKUS = ("X", "Y", "Z")
_PLACES = (None, SEATTLE, NEWARK, BERLIN, Coordinates(0, 0), Coordinates(-33.9, 151.2))
_places = st.sampled_from(_PLACES)
_sites = st.builds(Site, st.integers(0, 2), _places, st.sampled_from([True, True, True, False]))
_stock = st.tuples(*[st.integers(0, 4)] * len(_SKUS))


def cases(most: int) -> st.SearchStrategy[Case]:
    """Few values, so that rules often say the same of two warehouses and the next one decides."""
    rows = st.lists(st.tuples(_stock, st.none() | _sites), min_size=1, max_size=most)
    return st.builds(_case, st.tuples(*[st.integers(0, 9)] * len(_SKUS)), rows, _places)


def _case(
    wanted: Sequence[int], rows: Sequence[tuple[Sequence[int], Site | None]], destination: Coordinates | None
) -> Case:
    names = [f"W{number * 7 % 12:02}" for number in range(len(rows))]
    return Case(
        {sku: qty for sku, qty in zip(_SKUS, wanted, strict=True) if qty} or {"X": 1},
        {name: dict(zip(_SKUS, stock, strict=True)) for name, (stock, _) in zip(names, rows, strict=True)},
        {name: site for name, (_, site) in zip(names, rows, strict=True) if site is not None},
        destination,
    )


def chosen(made: sourcing.Plan) -> set[str]:
    return {place.warehouse for place in made.placements}


@settings(deadline=None)
@given(cases(most=12))
def test_a_plan_gives_exactly_what_is_wanted_of_what_there_is(case: Case) -> None:
    made = case.made

    assert (made is not None) == case.suffices(case.giving)
    if made is None:
        return
    for sku, qty in case.wanted.items():
        assert sum(place.qty for place in made.placements if place.sku == sku) == qty
    assert all(0 < p.qty <= case.available[p.warehouse][p.sku] for p in made.placements)
    assert len({(p.sku, p.warehouse) for p in made.placements}) == len(made.placements)
    assert all(case.site(warehouse).active for warehouse in chosen(made))


@settings(max_examples=300, deadline=None)
@given(cases(most=EXACT_MAX))
def test_up_to_six_the_best_group_is_chosen_by_the_rules_in_their_order(case: Case) -> None:
    assert (chosen(case.made) if case.made else None) == (set(case.groups[0]) if case.groups else None)


@settings(deadline=None)
@given(cases(most=12))
def test_among_more_nobody_is_chosen_who_is_not_needed(case: Case) -> None:
    made = case.made
    if made is None:
        return

    group = sorted(chosen(made))
    assert not any(case.suffices([other for other in group if other != one]) for one in group)
    # One warehouse is enough, if any one is.
    assert len(group) == 1 or not any(case.suffices([one]) for one in case.giving)


@settings(deadline=None)
@given(cases(most=12), st.randoms(use_true_random=False))
def test_the_order_of_lines_and_of_rows_decides_nothing(case: Case, random: Random) -> None:
    def shuffled(mapping: Mapping[str, Any]) -> dict[str, Any]:
        return dict(random.sample(list(mapping.items()), len(mapping)))

    available = {w: shuffled(stock) for w, stock in shuffled(case.available).items()}
    other = Case(shuffled(case.wanted), available, shuffled(case.sites), case.destination)
    made, made_otherwise = case.made, other.made

    assert (made is None) == (made_otherwise is None)
    if made is not None and made_otherwise is not None:
        assert made.placements == made_otherwise.placements
        assert made.told(100) == made_otherwise.told(100)


@settings(deadline=None)
@given(cases(most=12))
def test_an_explanation_tells_of_every_warehouse_once_the_chosen_first(case: Case) -> None:
    made = case.made
    told = made.told(100) if made is not None else shortage(case)

    assert sorted(one.warehouse for one in told) == sorted(case.available)
    assert [one.is_chosen for one in told] == sorted((one.is_chosen for one in told), reverse=True)
    assert {one.warehouse for one in told if one.is_chosen} == (chosen(made) if made else set())
    for one in told:
        assert one.rule in (OF_THE_CHOSEN if one.is_chosen else (OF_THE_CHOSEN | PASSED_OVER_FOR) - {Rule.ONLY_CHOICE})
        assert (one.rule is Rule.INACTIVE) == (not case.site(one.warehouse).active)
        assert (one.rule is Rule.NO_STOCK) == (case.site(one.warehouse).active and not case.gives(one.warehouse))
        assert (one.rule is Rule.SHORT) == (made is None and case.gives(one.warehouse))
        assert one.priority == case.site(one.warehouse).priority
        assert one.distance_km == (None if case.km[one.warehouse] == inf else case.km[one.warehouse])
        assert one.available == {sku: case.available[one.warehouse].get(sku, 0) for sku in sorted(case.wanted)}


def shortage(case: Case) -> Sequence[Candidate]:
    return sourcing.shortage(case.wanted, case.available, case.sites, case.destination).told(100)


@settings(max_examples=200, deadline=None)
@given(cases(most=EXACT_MAX))
def test_the_rule_that_is_told_is_the_first_that_tells_the_choice_from_the_best_without_or_with_it(case: Case) -> None:
    made = case.made
    if made is None:
        return
    ours = tuple(sorted(chosen(made)))
    for one in made.told(100):
        if not case.gives(one.warehouse):
            continue
        rivals = (group for group in case.groups if (one.warehouse in group) != one.is_chosen)
        rival = next(rivals, None)
        assert one.rule == (Rule.ONLY_CHOICE if rival is None else case.first_difference(ours, rival)[0])


def test_the_order_in_which_distances_are_added_up_decides_nothing() -> None:
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 for a computer: groups that are as near must be found as near."""
    sites = {f"W{tenths}": Site(0, Coordinates(0, tenths / 10)) for tenths in (1, 2, 3, 7)}
    made = make_plan({"X": 4}, {name: {"X": 1} for name in sites}, sites, Coordinates(0, 0))

    assert made is not None
    for group in combinations(sites, 3):
        assert len({made.choice.rank(same) for same in permutations(group)}) == 1


_crowded = {f"N{n:02}": {"X": 1 + n % 4, "Y": n % 2, "Z": (n + 1) % 2} for n in range(30)}


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 60), st.dictionaries(st.sampled_from(sorted(_crowded)), _sites))
@example(units=21, sites={"N01": Site(1)})
def test_beyond_six_no_rule_is_told_by_which_the_choice_is_the_worse(units: int, sites: Mapping[str, Site]) -> None:
    case = Case({"X": units}, _crowded, sites, SEATTLE)
    made = case.made
    if made is None:
        return
    ours = sorted(chosen(made))
    for one in made.told(100):
        if one.rule not in (Rule.PRIORITY, Rule.NEARNESS, Rule.MOST_STOCK):
            continue
        swaps = [
            [*(other for other in ours if other != left), joined]
            for left in ours
            for joined in case.giving
            if joined not in ours and (left == one.warehouse if one.is_chosen else joined == one.warehouse)
        ]
        assert (one.rule, True) in [case.first_difference(ours, swap) for swap in swaps if case.suffices(swap)]


@pytest.mark.parametrize(("count", "needed"), [(13, 8), (44, 30), (300, 3), (1_000, 300), (2_000, 1_500)])
def test_however_many_warehouses_there_are_a_choice_takes_no_time_and_is_always_the_same(
    count: int, needed: int
) -> None:
    available = {f"W{n:05}": {"X": 1 + n % 3, "Y": n % 2} for n in range(count)}
    sites = {name: Site(n % 3) for n, name in enumerate(available)}

    started = time.process_time()
    made = make_plan({"X": 2 * needed, "Y": 1}, available, sites)
    assert made is not None
    told = made.told(100)
    taken_s = time.process_time() - started

    again = make_plan({"Y": 1, "X": 2 * needed}, dict(reversed(available.items())), sites)
    assert again is not None
    assert (again.placements, again.told(100)) == (made.placements, told)
    assert taken_s < 3


class Counted(dict[str, int]):
    """A stock that counts how often it is looked at."""

    look_ups = 0

    def get(self, *asked: Any) -> Any:
        Counted.look_ups += 1
        return super().get(*asked)


@pytest.mark.parametrize(("count", "needed"), [(7, 6), (12, 10), (12, 2), (40, 30)])
def test_a_hundred_lines_are_looked_up_a_bounded_number_of_times(count: int, needed: int) -> None:
    wanted = {f"S{n:03}": needed for n in range(100)}
    only_the_last_is_short = dict.fromkeys(wanted, needed) | {"S099": 1}
    available = {f"W{n:02}": Counted(only_the_last_is_short) for n in range(count)}

    Counted.look_ups = 0
    made = make_plan(wanted, available)
    assert made is not None
    assert len(made.choice.chosen) == needed
    assert len(made.told(20)) == min(count, 20)

    assert Counted.look_ups < 20 * sourcing.LOOK_UPS_MAX
