"""What the gateway counts, for Prometheus: requests, how long they took, limits that were not shared."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """One registry per gateway."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "skutrail_http_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "skutrail_http_request_seconds",
            "Seconds from the first byte read to the answer.",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._unshared = Counter(
            "skutrail_rate_limit_unshared",
            "Requests that this gateway counted alone: the shared store was away or had no connection free.",
            registry=self._registry,
        )

        # Routes, methods and statuses are few; looking their series up by label costs more than counting.
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        kind = method, route, status
        if kind not in self._series:
            self._series[kind] = self._requests.labels(*kind), self._seconds.labels(method, route)
        requests, durations = self._series[kind]
        requests.inc()
        durations.observe(seconds)

    def count_unshared(self) -> None:
        self._unshared.inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)
