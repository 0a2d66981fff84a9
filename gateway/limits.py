"""How often a caller may call: a token bucket per API key, or per address where there is no valid key.

A bucket holds `quota` tokens and gains them back evenly over `window_s`: bursts up to the quota, and the same rate
sustained. It is kept as the one instant at which it will be full again (the generic cell rate algorithm), so a check
costs the same however many callers there are. Times are whole nanoseconds: sums of them are exact, here and in SQL.

These buckets are one process's own. shared_buckets.py shares them among all gateways.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

BUCKETS_MAX = 100_000  # whoever called longest ago is forgotten first, to their gain
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Limit:
    """`quota` requests per `window_s` seconds."""

    quota: int
    window_s: int

    @property
    def token_ns(self) -> int:
        """The time in which one token comes back."""
        return self.window_s * SECOND_NS // self.quota

    @property
    def full_ns(self) -> int:
        """The time in which all of them do: the window, but for what rounding one token took."""
        return self.quota * self.token_ns

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
    """The buckets of all callers. `now_ns` is of one clock; it is the caller's to hand in."""

    def __init__(self, buckets_max: int = BUCKETS_MAX) -> None:
        self._full_at_ns: OrderedDict[str, int] = OrderedDict()
        self._buckets_max = buckets_max

    def take(self, caller: str, limit: Limit, now_ns: int) -> Budget:
        """Takes one token where there is one; a refusal takes nothing."""
        missing_ns = self._missing_ns(caller, limit, now_ns)
        budget = budget_of(limit, missing_ns)
        if not budget.is_spent:
            self._remember(caller, now_ns + missing_ns)
        return budget

    def look(self, caller: str, limit: Limit, now_ns: int) -> Budget:
        """What `take` would say; takes nothing."""
        return budget_of(limit, self._missing_ns(caller, limit, now_ns))

    def learn(self, caller: str, full_at_ns: int) -> None:
        """The bucket is known, from elsewhere, not to be full before this instant."""
        self._remember(caller, max(full_at_ns, self._full_at_ns.get(caller, full_at_ns)))

    def _missing_ns(self, caller: str, limit: Limit, now_ns: int) -> int:
        """After one more token, until the bucket is full."""
        return max(self._full_at_ns.get(caller, now_ns), now_ns) - now_ns + limit.token_ns

    def _remember(self, caller: str, full_at_ns: int) -> None:
        self._full_at_ns[caller] = full_at_ns
        self._full_at_ns.move_to_end(caller)
        if len(self._full_at_ns) > self._buckets_max:
            self._full_at_ns.popitem(last=False)


def budget_of(limit: Limit, missing_ns: int) -> Budget:
    """Of a bucket that would be full in `missing_ns`, were it given one more token to refill."""
    token_ns, full_ns = limit.token_ns, limit.full_ns
    if missing_ns > full_ns:
        return Budget(limit, True, 0, _whole_s(missing_ns - full_ns), _whole_s(missing_ns - token_ns))
    remaining = (full_ns - missing_ns) // token_ns
    return Budget(limit, False, remaining, _whole_s(missing_ns % token_ns or token_ns), _whole_s(missing_ns))


def _whole_s(ns: int) -> int:
    """Up to whole seconds, at least 1: a client that waits so long is not sent away again."""
    return max(1, -(-ns // SECOND_NS))
