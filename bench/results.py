"""All that one run found. It fills as the run goes: a run that is cut short keeps what it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.lines import Cell, Line, ratio
from bench.memory import Memory
from bench.plan import Plan

CHAIN = "entries"
LEDGER, GROWTH, SHIPMENTS = GROUPS = ("ledger", "growth", "shipments")


@dataclass
class Results:
    plan: Plan
    groups: Sequence[str]
    """What was run, of GROUPS."""
    head: Mapping[str, str] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    growth: dict[str, list[Line]] = field(default_factory=dict)
    """By what grew: CHAIN, skus, tenants."""
    memory: Memory | None = None
    shipments: list[Line] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """What kept the run from being whole."""

    def add_growth(self, line: Line) -> None:
        (what,) = line.note
        self.growth.setdefault(what, []).append(line)

    def line(self, competitor: str, cell: Cell) -> Line | None:
        return next((one for one in self.lines if (one.competitor, one.cell) == (competitor, cell)), None)

    def shipping_line(self, cell: Cell) -> Line | None:
        return next((one for one in self.shipments if one.cell == cell), None)

    def ratio(self, ours: str, theirs: str, cell: Cell) -> float | None:
        """Of writes/s in one cell; None where either was not measured or is void."""
        one, other = self.line(ours, cell), self.line(theirs, cell)
        return ratio(one, other) if one and other else None

    @property
    def all_lines(self) -> Sequence[Line]:
        grown = [line for lines in self.growth.values() for line in lines]
        return [*self.lines, *grown, *([self.memory.line] if self.memory else []), *self.shipments]

    @property
    def is_sound(self) -> bool:
        """Whether everything was measured and every check passed. A bar that is not met does not make it unsound."""
        return not self.trouble and not any(line.is_void for line in self.all_lines)
