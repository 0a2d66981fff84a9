"""What Skutrail's own processes keep in memory while they are under load, and whether that grows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression

from bench.competitors import Competitor
from bench.lines import Cell, Line
from bench.plan import SPREAD, Plan
from bench.processes import memory_mb
from bench.product import Product
from bench.rounds import Report, measure

FLAT_RISE_MAX = 0.05  # of the mean, over the whole time
SETTLING_SHARE = 0.25  # of the time: caches and pools fill; it counts for the peak, not for the slope


@dataclass(frozen=True)
class Memory:
    """Megabytes over time, of all of Skutrail's processes together, and the load meanwhile."""

    line: Line
    at_s: Sequence[float]
    total_mb: Sequence[float]
    by_process_mb: dict[str, float]
    """At the last look."""

    @property
    def peak_mb(self) -> float:
        return max(self.total_mb)

    @property
    def rise(self) -> float:
        """By what share of its mean it would grow over the time measured, by the line that fits best."""
        start = int(len(self.at_s) * SETTLING_SHARE)
        at_s, total_mb = self.at_s[start:], self.total_mb[start:]
        if len(at_s) < 2:
            return 0.0
        slope = linear_regression(at_s, total_mb).slope
        return slope * (self.at_s[-1] - self.at_s[0]) / (sum(total_mb) / len(total_mb))

    @property
    def is_flat(self) -> bool:
        return self.rise <= FLAT_RISE_MAX


async def watch(product: Product, competitor: Competitor, plan: Plan, report: Report) -> Memory:
    """Looks every few seconds while one long load runs, and checks that load like any other."""
    cell = Cell(SPREAD, plan.growth_clients)
    report(f"memory: one load of {plan.memory_s} s")
    started = time.monotonic()
    at_s: list[float] = []
    total_mb: list[float] = []
    by_process: dict[str, float] = {}
    loading = asyncio.create_task(measure(competitor, cell, plan.memory_s, report))
    try:
        while not loading.done() and time.monotonic() - started < plan.memory_s:
            by_process = memory_mb(product.own_pids())
            at_s.append(time.monotonic() - started)
            total_mb.append(sum(by_process.values()))
            await asyncio.wait([loading], timeout=plan.memory_every_s)
        sample = await loading
    finally:
        loading.cancel()
    return Memory(Line(competitor.name, cell, [sample]), at_s, total_mb, by_process)
