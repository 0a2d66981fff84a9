"""A bounded queue with a lane per tenant: who floods it waits behind himself, and leaves room for others."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")

SMALL_LANE = 16


class FairQueue(Generic[Item]):
    """Takes turns over the lanes that have something waiting; within a lane, first in, first out."""

    def __init__(self, *, items_max: int, lane_max: int) -> None:
        self._lanes: OrderedDict[str, deque[Item]] = OrderedDict()
        self._count = 0
        self._items_max = items_max
        self._lane_max = lane_max

    def __len__(self) -> int:
        return self._count

    def has_room(self, lane: str) -> bool:
        """A queue that floods have filled still has a little room for those who are not among them."""
        waiting = len(self._lanes[lane]) if lane in self._lanes else 0
        if self._count < self._items_max:
            return waiting < self._lane_max
        return waiting < SMALL_LANE and self._count < 2 * self._items_max

    def put(self, lane: str, item: Item) -> None:
        """Whether there is room is asked before."""
        if lane not in self._lanes:
            self._lanes[lane] = deque()
        self._lanes[lane].append(item)
        self._count += 1

    def take(self, items_max: int) -> Sequence[Item]:
        """Up to so many, one of each lane in turn."""
        taken: list[Item] = []
        while self._lanes and len(taken) < items_max:
            lane, items = next(iter(self._lanes.items()))
            # Nobody else waits: all turns are his.
            turns = items_max - len(taken) if len(self._lanes) == 1 else 1
            taken += [items.popleft() for _ in range(min(turns, len(items)))]
            if items:
                self._lanes.move_to_end(lane)
            else:
                del self._lanes[lane]
        self._count -= len(taken)
        return taken
