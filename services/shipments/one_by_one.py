"""Does a thing for many together, and where that fails for one after the other: none of them fails its neighbours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from chassis.database import Database
from chassis.errors import Fault
from chassis.logs import log

T = TypeVar("T")

# Whoever holds one of them was waited for once, by all: there is no time to wait as long for each.
LOCK_WAIT_AGAIN_MS = 100
# After so many that somebody holds, the rest comes again: it might be the same with each.
IN_VAIN_MAX = 2

Do = Callable[[Sequence[T], int | None], Awaitable[None]]
"""In a transaction of its own. The number is for how many milliseconds it may wait for a lock; None as any waits."""


@dataclass(frozen=True)
class Undone(Generic[T]):
    """Those for whom it was not done, or not known to be."""

    held_up: Sequence[T]
    """Somebody holds them, or there was no time to try: they go another time."""
    broken: Sequence[Exception]
    """Of each of the others."""


async def do_for_all(do: Do[T], items: Sequence[T], database: Database) -> Undone[T]:
    """Raises Fault `unavailable` when the database is away: it is, from each of them."""
    try:
        await do(items, None)
    except Exception as error:
        is_trouble = _is_trouble(error)
        if is_trouble and not await database.is_up():
            raise
        if len(items) == 1:
            return Undone(items, []) if is_trouble else Undone([], [error])
        log.warning("shipments.taken_apart", count=len(items), cause=repr(error)[:200])
        return await _one_by_one(do, items)
    return Undone([], [])


async def _one_by_one(do: Do[T], items: Sequence[T]) -> Undone[T]:
    held_up: list[T] = []
    broken: list[Exception] = []
    for place, item in enumerate(items):
        if len(held_up) == IN_VAIN_MAX:
            return Undone([*held_up, *items[place:]], broken)
        try:
            await do([item], LOCK_WAIT_AGAIN_MS)
        except Exception as error:  # noqa: BLE001 - its neighbours go on
            if _is_trouble(error):
                held_up.append(item)
            else:
                broken.append(error)
    return Undone(held_up, broken)


def _is_trouble(error: Exception) -> bool:
    return isinstance(error, Fault) and error.code == "unavailable"
