"""The API keys lately presented: an answer within microseconds, and an old one for 4 seconds at most.

A revoked key therefore ends within 5 seconds everywhere, and a database that is away is noticed no sooner by a caller
whose key is known.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from chassis.database import Database
from chassis.errors import Fault
from gateway.keys import EXAMPLE_KEY, ApiKey, digest_of, find_key, is_well_formed

KNOWN_S = 4.0  # a revocation must bite within 5 s
UNKNOWN_S = 1.0
LOOK_UP_S = 0.9
KEYS_MAX = 10_000  # of each kind
# At once, of the pool's ten connections: who makes up keys holds up neither the callers that are known nor readiness.
STRANGERS_MAX, RECHECKS_MAX = 4, 4
STRANGERS_WAITING_MAX = 1_000

_EXAMPLE = ApiKey("key_example", "local", "test", EXAMPLE_KEY[-4:], datetime(2026, 1, 1, tzinfo=UTC))


class KeyRing:
    """`admits_example` is for a gateway on loopback only: there the published examples run by copy and paste."""

    def __init__(
        self, database: Database, *, admits_example: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._admits_example = admits_example
        self._clock = clock
        self._known = _Lapsing(KNOWN_S)
        self._unknown = _Lapsing(UNKNOWN_S)
        self._looked_up: dict[bytes, asyncio.Task[ApiKey | None]] = {}
        self._strangers = asyncio.Semaphore(STRANGERS_MAX)
        self._rechecks = asyncio.Semaphore(RECHECKS_MAX)

    def known(self, secret: str) -> ApiKey | None:
        """The key behind a secret that was presented lately, without a look-up."""
        return self._known.get(digest_of(secret), self._clock())

    def is_stranger(self, secret: str) -> bool:
        """True for a key that has its form and of which nothing is remembered: only the database knows it, if any."""
        if not is_well_formed(secret):
            return False
        digest = digest_of(secret)
        return not self._known.remembers(digest) and not self._unknown.holds(digest, self._clock())

    async def find(self, secret: str) -> ApiKey | None:
        """The key behind a presented secret; None for one that is malformed, unknown or revoked.

        Raises Fault `unavailable` when the database is away and the key was not presented lately.
        """
        if secret == EXAMPLE_KEY and self._admits_example:
            return _EXAMPLE
        if not is_well_formed(secret):
            return None
        if (key := self.known(secret)) is not None:
            return key
        digest = digest_of(secret)
        return None if self._unknown.holds(digest, self._clock()) else await self._look_up_once(digest)

    async def _look_up_once(self, digest: bytes) -> ApiKey | None:
        # Requests that present one key at the same moment share one look-up.
        task = self._looked_up.get(digest)
        if task is None:
            if len(self._looked_up) >= STRANGERS_WAITING_MAX and not self._known.remembers(digest):
                raise _unchecked()
            task = self._looked_up[digest] = asyncio.create_task(self._look_up(digest))
            task.add_done_callback(lambda done: self._forget(digest, done))
        # Waited for, not cancelled: giving up a query on a frozen database takes longer than leaving it behind.
        await asyncio.wait([task], timeout=LOOK_UP_S)
        if not task.done():
            raise _unchecked()
        return task.result()

    async def _look_up(self, digest: bytes) -> ApiKey | None:
        async with self._rechecks if self._known.remembers(digest) else self._strangers:
            asked_at = self._clock()  # a life counts from before the look-up: what is revoked meanwhile is not missed
            key = await self._database.run(lambda tx: find_key(tx, digest))
        if key is None:
            self._known.forget(digest)
            self._unknown.put(digest, None, asked_at)
        else:
            self._known.put(digest, key, asked_at)
        return key

    def _forget(self, digest: bytes, task: asyncio.Task[ApiKey | None]) -> None:
        del self._looked_up[digest]
        if not task.cancelled():
            task.exception()  # seen, even where nobody waited any longer


def _unchecked() -> Fault:
    return Fault("unavailable", "The API key cannot be checked now. Try again.", retry_after_s=1)


class _Lapsing:
    """A bounded memory whose entries lapse. `remembers` is true of a lapsed one too, until it makes room for others."""

    def __init__(self, life_s: float) -> None:
        self._life_s = life_s
        self._entries: OrderedDict[bytes, tuple[ApiKey | None, float]] = OrderedDict()

    def get(self, digest: bytes, now: float) -> ApiKey | None:
        return self._entries[digest][0] if self.holds(digest, now) else None

    def holds(self, digest: bytes, now: float) -> bool:
        return digest in self._entries and now - self._entries[digest][1] < self._life_s

    def remembers(self, digest: bytes) -> bool:
        return digest in self._entries

    def forget(self, digest: bytes) -> None:
        self._entries.pop(digest, None)

    def put(self, digest: bytes, key: ApiKey | None, now: float) -> None:
        self._entries[digest] = (key, now)
        self._entries.move_to_end(digest)
        if len(self._entries) > KEYS_MAX:
            self._entries.popitem(last=False)
