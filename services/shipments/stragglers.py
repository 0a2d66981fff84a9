"""Labels whose carrier takes its time: nobody waits for them, and each is written down when its answer comes.

Until then its lease keeps everybody else away from it, and its message comes again in case that this process dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

LATE_AFTER_S = 0.5  # whoever waits for many labels waits no longer for one
STRAGGLERS_MAX = 64  # of a kind, in a process; those beyond are waited for


class Stragglers:
    """A worker of the process: after its stop it takes nothing new, and ends with the last one.

    One for each kind of work: a carrier that is slow to take labels back takes up no purchase's place.
    """

    def __init__(self, name: str, at_most: int = STRAGGLERS_MAX) -> None:
        self.name = name
        self._at_most = at_most
        self._under_way: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def has_room(self) -> bool:
        return len(self._under_way) < self._at_most and not self.is_stopping

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def take(self, straggler: Coroutine[Any, Any, None]) -> None:
        """Goes on with it; it tells its troubles itself."""
        task = asyncio.create_task(straggler)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        try:
            await self._stopping.wait()
            while self._under_way:
                await asyncio.wait(self._under_way)
        finally:
            for straggler in self._under_way:  # given up: their leases run out, and they are taken up again
                straggler.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
