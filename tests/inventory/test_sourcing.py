"""Which warehouses serve a request."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from services.inventory.sourcing import EXACT_MAX, Available, Placement
from services.inventory.sourcing import plan as make_plan


def plan(wanted: Mapping[str, int], available: Available) -> Sequence[Placement] | None:
    made = make_plan(wanted, available)
    return made.placements if made is not None else None


def test_one_warehouse_serves_where_one_can() -> None:
    available = {"A": {"X": 1}, "B": {"X": 2, "Y": 1}, "C": {"X": 1, "Y": 1}}

    assert plan({"X": 1, "Y": 1}, available) == [Placement("X", "B", 1), Placement("Y", "B", 1)]


def test_the_rest_comes_from_the_next_and_not_more_than_asked() -> None:
    assert plan({"X": 5}, {"A": {"X": 3}, "B": {"X": 3}}) == [Placement("X", "A", 3), Placement("X", "B", 2)]


def test_short_by_one_is_nothing_at_all() -> None:
    assert plan({"X": 2, "Y": 1}, {"A": {"X": 2}}) is None
    assert plan({"X": 2}, {}) is None


_skus = st.sampled_from(["X", "Y", "Z"])
_stocks = st.dictionaries(_skus, st.integers(0, 6), max_size=3)


@given(
    wanted=st.dictionaries(_skus, st.integers(1, 8), min_size=1, max_size=3),
    available=st.dictionaries(st.sampled_from("ABCDEFGH"), _stocks, max_size=8),
)
def test_a_plan_is_exact_possible_and_minimal(wanted: dict[str, int], available: dict[str, dict[str, int]]) -> None:
    placements = plan(wanted, available)
    reverse = plan(dict(reversed(wanted.items())), dict(reversed(available.items())))

    def suffices(group: tuple[str, ...]) -> bool:
        return all(sum(available[w].get(sku, 0) for w in group) >= qty for sku, qty in wanted.items())

    assert placements == reverse
    if placements is None:
        assert not suffices(tuple(available))
        return
    for sku, qty in wanted.items():
        assert sum(p.qty for p in placements if p.sku == sku) == qty
    assert all(0 < p.qty <= available[p.warehouse][p.sku] for p in placements)
    used = {p.warehouse for p in placements}
    if len(available) <= EXACT_MAX:
        assert not any(suffices(group) for size in range(len(used)) for group in combinations(available, size))
