"""The turns: in every repetition every competitor is loaded once, so that a machine that drifts drifts for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from bench.competitors import Competitor
from bench.lines import Cell, Line, Sample
from bench.load import LoadFailed
from bench.plan import Plan
from bench.processes import cpu_s
from bench.product import NotSettled

Report = Callable[[str], None]
SETTLE_LIMIT_S = 60
WARM_UP = Cell(skus=1, clients=8)

_tags = (f"run{n}" for n in count())


@dataclass(frozen=True)
class Turn:
    """Who is loaded, one after the other, and with what."""

    cell: Cell
    competitors: Sequence[Competitor]


async def take_turns(
    turns: Sequence[Turn],
    lines: list[Line],
    *,
    plan: Plan,
    report: Report,
    note: Mapping[str, int] | None = None,
) -> None:
    """Adds a line per competitor of each turn, and then fills them: a run that is cut short keeps what it has.

    Every repetition takes all turns, and begins each with another of its competitors.
    """
    begun = {
        (turn.cell, one.name): Line(one.name, turn.cell, [], note or {}) for turn in turns for one in turn.competitors
    }
    lines += begun.values()
    for repetition in range(plan.repetitions):
        for turn in turns:
            for competitor in _from(turn.competitors, repetition):
                sample = await measure(competitor, turn.cell, plan.seconds, report)
                begun[turn.cell, competitor.name].samples.append(sample)


async def warm_up(competitors: Sequence[Competitor], report: Report) -> None:
    """One short load each that counts for nothing but is checked like any other."""
    for competitor in competitors:
        await measure(competitor, WARM_UP, 1, report, what="warm-up, ")


async def measure(competitor: Competitor, cell: Cell, seconds: int, report: Report, what: str = "") -> Sample | None:
    """One load, what followed from it, and the check. None where the load failed, which is reported."""
    ledger, tag = competitor.ledger, next(_tags)
    where = f"{what}{competitor.name}, {cell.skus:,} SKUs, {cell.clients} clients"
    before = cpu_s(competitor.pids)
    try:
        load = await competitor.load(cell, seconds, tag)
        settled_s = await ledger.settle(SETTLE_LIMIT_S + seconds)
    except (LoadFailed, NotSettled) as failure:
        report(f"{where}: VOID: {failure}")
        await ledger.checker.remember()
        return None
    after = cpu_s(competitor.pids)
    written = (load.accepted, load.sent) if competitor.writes else (0, 0)
    findings = await ledger.checker.check(accepted=written[0], sent=written[1], tag=tag)
    cpu_us = {name: (after[name] - before[name]) * 1e6 / max(load.accepted, 1) for name in after}
    verdict = "checked" if not findings.faults else f"VOID: {'; '.join(findings.faults)}"
    report(f"{where}: {load.per_second:,.0f}/s, p50 {load.p50_ms:.2f} ms, p99 {load.p99_ms:.2f} ms, {verdict}")
    return Sample(load, findings, settled_s, cpu_us)


def _from(competitors: Sequence[Competitor], first: int) -> Iterator[Competitor]:
    for n in range(len(competitors)):
        yield competitors[(first + n) % len(competitors)]
