"""What is measured: a load, the check behind it, and the line that several of them make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles


@dataclass(frozen=True)
class Cell:
    """What is asked of a competitor: how many SKUs the movements spread over, and by how many clients."""

    skus: int
    clients: int
    flush_ms: int = 0
    """Added to each flush of the log (commit_delay), the shape of a cloud disk."""
    tenants: int = 1
    per_second: int = 0
    """Offered at this pace, whatever comes of it; 0: as fast as the clients are answered."""

    @property
    def offered(self) -> str:
        return f"{self.per_second}/s" if self.per_second else f"{self.clients} clients"


@dataclass(frozen=True)
class Load:
    """What a load generator saw. Counts are movements or, where a balance is read, answers."""

    sent: int
    accepted: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        return self.accepted / self.seconds

    @property
    def errors(self) -> int:
        """Refused, failed, or never answered."""
        return self.sent - self.accepted


@dataclass(frozen=True)
class Journey:
    """From the creation of shipments to one event of each."""

    per_second: float
    """From the first creation to the last such event."""
    p50_ms: float
    p99_ms: float
    heard_p99_ms: float
    """Until a subscriber heard of it: its commit and its publication included."""


@dataclass(frozen=True)
class Findings:
    """What the checker found behind a load. Without faults every accepted answer is in the ledger, once, in order."""

    written: int
    faults: Sequence[str]


@dataclass(frozen=True)
class Sample:
    """One load of one competitor, and what came of it."""

    load: Load
    findings: Findings
    settled_s: float
    """From the end of the load until the outbox was empty and every consumer idle."""
    cpu_us: Mapping[str, float]
    """CPU time per accepted movement, by process, from the start of the load until it had settled."""
    journeys: Mapping[str, Journey] = field(default_factory=dict)
    """By type of event, where shipments were made."""


@dataclass(frozen=True)
class Line:
    """The samples of one competitor in one cell, one per repetition, in the order of the repetitions."""

    competitor: str
    cell: Cell
    samples: list[Sample | None]
    """None: the load itself failed."""
    note: Mapping[str, int] = field(default_factory=dict)
    """What grew, in a line that measures growth."""

    @property
    def is_void(self) -> bool:
        return not self.samples or any(sample is None or sample.findings.faults for sample in self.samples)

    @property
    def taken(self) -> Sequence[Sample]:
        return [sample for sample in self.samples if sample is not None]

    @property
    def per_second(self) -> float:
        return _median(sample.load.per_second for sample in self.taken)

    @property
    def p50_ms(self) -> float:
        return _median(sample.load.p50_ms for sample in self.taken)

    @property
    def p99_ms(self) -> float:
        return _median(sample.load.p99_ms for sample in self.taken)

    @property
    def settled_s(self) -> float:
        return _median(sample.settled_s for sample in self.taken)

    @property
    def errors(self) -> int:
        return sum(sample.load.errors for sample in self.taken)

    @property
    def cpu_us(self) -> Mapping[str, float]:
        names = self.taken[0].cpu_us if self.taken else ()
        return {name: _median(sample.cpu_us[name] for sample in self.taken) for name in names}

    def journey(self, event_type: str) -> Journey:
        """Every figure the median of its own."""
        taken = [sample.journeys[event_type] for sample in self.taken]
        return Journey(
            per_second=_median(one.per_second for one in taken),
            p50_ms=_median(one.p50_ms for one in taken),
            p99_ms=_median(one.p99_ms for one in taken),
            heard_p99_ms=_median(one.heard_p99_ms for one in taken),
        )

    @property
    def faults(self) -> Sequence[str]:
        lost = ["a load failed"] if None in self.samples else [] if self.samples else ["not measured"]
        return lost + [fault for sample in self.taken for fault in sample.findings.faults]


def ratio(ours: Line, theirs: Line) -> float | None:
    """Median over the repetitions of ours / theirs, each within one, so that a drifting machine cancels out.

    None where either line is void.
    """
    if ours.is_void or theirs.is_void:
        return None
    pairs = zip(ours.taken, theirs.taken, strict=False)
    return _median(one.load.per_second / other.load.per_second for one, other in pairs if other.load.accepted)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """p50 and p99."""
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [*values, 0.0][:1] * 99
    return cuts[49], cuts[98]


def _median(values: Iterable[float]) -> float:
    numbers = list(values)
    return float(median(numbers)) if numbers else 0.0
