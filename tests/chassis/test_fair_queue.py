"""Turns over lanes, and room that nobody can fill for others."""

from hypothesis import given
from hypothesis import strategies as st

from chassis.fair_queue import SMALL_LANE, FairQueue


def queue_of(*items: tuple[str, int], items_max: int = 100, lane_max: int = 100) -> FairQueue[tuple[str, int]]:
    queue: FairQueue[tuple[str, int]] = FairQueue(items_max=items_max, lane_max=lane_max)
    for item in items:
        queue.put(item[0], item)
    return queue


def test_lanes_take_turns() -> None:
    queue = queue_of(("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1), ("c", 2))

    assert queue.take(4) == [("a", 1), ("b", 1), ("c", 1), ("a", 2)]
    assert queue.take(9) == [("c", 2), ("a", 3)]
    assert len(queue) == 0


def test_who_waits_alone_has_all_turns() -> None:
    queue = queue_of(*(("a", number) for number in range(10)))

    assert queue.take(4) == [("a", number) for number in range(4)]
    assert len(queue) == 6


def test_a_flood_fills_its_own_lane_and_not_the_queue() -> None:
    queue = queue_of(("a", 1), ("a", 2), items_max=3, lane_max=2)

    assert not queue.has_room("a")
    assert queue.has_room("b")


def test_floods_that_fill_the_queue_leave_a_little_room_for_the_others() -> None:
    flood = [(lane, number) for lane in "ab" for number in range(20)]
    queue = queue_of(*flood, items_max=40, lane_max=20)

    assert not queue.has_room("a")
    assert not queue.has_room("b")
    assert queue.has_room("c")
    for number in range(SMALL_LANE):
        queue.put("c", ("c", number))
    assert not queue.has_room("c")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=60), st.lists(st.integers(1, 7)))
def test_nothing_is_lost_or_overtaken_in_its_lane(items: list[tuple[str, int]], sizes: list[int]) -> None:
    queue = queue_of(*items)

    taken = [item for size in [*sizes, 100] for item in queue.take(size)]

    assert len(taken) == len(items)
    for lane in "abc":
        assert [item for item in taken if item[0] == lane] == [item for item in items if item[0] == lane]
