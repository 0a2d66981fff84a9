"""How often a caller may call: a token bucket per API key, or per address where there is no valid key.

A bucket holds `quota` tokens and gains them back evenly over `window_s`: bursts up to the quota, and the same rate
sustained. It is kept as the one instant at which it will be full again (the generic cell rate algorithm), so a check
costs the same however many callers there are. Per process: each gateway replica counts for itself.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

BUCKETS_MAX = 100_000  # whoever called longest ago is forgotten first, to their gain


@dataclass(frozen=True)
class Limit:
    """`quota` requests per `window_s` seconds."""

    quota: int
    window_s: int

    def __str__(self) -> str:
        return f"{self.quota}/{self.window_s}s"


LIVE = Limit(1000, 10)
TEST = Limit(250, 10)
ANONYMOUS = Limit(100, 10)

_WRITTEN = re.compile(r"([1-9][0-9]{0,6})/([1-9][0-9]{0,4})s", re.ASCII)


def parse_limit(written: str) -> Limit:
    """`1000/10s` is a thousand requests per ten seconds. Raises ValueError for anything else."""
    match = _WRITTEN.fullmatch(written)
    if match is None:
        raise ValueError("A limit is written as requests/seconds, such as 1000/10s.")
    return Limit(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class Budget:
    """What one check found. `refill_s` is the time until the next token, `full_s` until all of them are back."""

    limit: Limit
    is_spent: bool
    remaining: int
    refill_s: int
    full_s: int

    def headers(self, now: float) -> Mapping[str, str]:
        """Of every answer: X-RateLimit-* (Reset in Unix seconds) and draft-ietf-httpapi-ratelimit-headers-10."""
        return {
            "X-RateLimit-Limit": str(self.limit.quota),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(now) + self.full_s),
            "RateLimit-Policy": f'"default";q={self.limit.quota};w={self.limit.window_s}',
            "RateLimit": f'"default";r={self.remaining};t={self.refill_s}',
        }


class Buckets:
    """The buckets of all callers. `now` is in seconds of one clock; it is the caller's to hand in."""

    def __init__(self, buckets_max: int = BUCKETS_MAX) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._buckets_max = buckets_max

    def take(self, caller: str, limit: Limit, now: float) -> Budget:
        """Takes one token where there is one; a refusal takes nothing."""
        missing_s = self._missing_s(caller, limit, now)
        budget = _budget(limit, missing_s)
        if not budget.is_spent:
            self._remember(caller, now + missing_s)
        return budget

    def look(self, caller: str, limit: Limit, now: float) -> Budget:
        """What `take` would say; takes nothing."""
        return _budget(limit, self._missing_s(caller, limit, now))

    def _missing_s(self, caller: str, limit: Limit, now: float) -> float:
        """After one more token, until the bucket is full."""
        return max(self._full_at.get(caller, now), now) - now + limit.window_s / limit.quota

    def _remember(self, caller: str, full_at: float) -> None:
        self._full_at[caller] = full_at
        self._full_at.move_to_end(caller)
        if len(self._full_at) > self._buckets_max:
            self._full_at.popitem(last=False)


def _budget(limit: Limit, missing_s: float) -> Budget:
    token_s = limit.window_s / limit.quota
    if missing_s > limit.window_s + 1e-9:
        return Budget(limit, True, 0, _whole(missing_s - limit.window_s), _whole(missing_s - token_s))
    remaining = math.floor((limit.window_s - missing_s) / token_s + 1e-9)
    return Budget(limit, False, remaining, _whole(missing_s % token_s or token_s), _whole(missing_s))


def _whole(seconds: float) -> int:
    """Up to whole seconds, at least 1: a client that waits so long is not sent away again."""
    return max(1, math.ceil(seconds - 1e-9))
