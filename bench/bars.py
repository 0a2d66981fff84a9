"""The bars: what was promised, what this run measured, and whether that holds. Most are ratios of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.competitors import BATCHED, GRPC, MONOLITH, PGBENCH, READ, REST
from bench.lines import Cell, Line, ratio
from bench.memory import FLAT_RISE_MAX
from bench.milestones import ALLOCATED
from bench.plan import HOT, SPREAD
from bench.results import CHAIN, GROWTH, LEDGER, SHIPMENTS, Results

MEMORY_MB_MAX = 600
ALLOCATED_P99_MS_MAX = 500
CLIENTS, MANY_CLIENTS = 64, 256
ENTRIES = 5_000_000


@dataclass(frozen=True)
class Bar:
    what: str
    bar: str
    measured: str
    is_met: bool | None
    """None: not measured, or void."""

    @property
    def verdict(self) -> str:
        return {True: "met", False: "NOT MET", None: "not measured"}[self.is_met]


def judge(results: Results) -> list[Bar]:
    """The bars of the groups that were run."""
    return [bar for group in results.groups for judge_group in _JUDGES[group] for bar in judge_group(results)]


def _against_others(results: Results) -> Iterator[Bar]:
    clients, flush = CLIENTS, results.plan.flush_ms
    hot, spread = Cell(HOT, clients), Cell(SPREAD, clients)
    for what, ours, theirs, cell, bar in (
        ("REST, hot, 64 clients / pgbench", REST, PGBENCH, hot, 4.0),
        ("REST, hot, 64 clients / monolith", REST, MONOLITH, hot, 2.0),
        ("REST, spread, 64 clients / pgbench", REST, PGBENCH, spread, 1.2),
        ("REST, spread, 64 clients / monolith", REST, MONOLITH, spread, 1.0),
        (f"REST, hot, {flush} ms flush / pgbench", REST, PGBENCH, Cell(HOT, clients, flush), 10.0),
        (f"REST, spread, {flush} ms flush / pgbench", REST, PGBENCH, Cell(SPREAD, clients, flush), 1.0),
        ("gRPC, hot / pgbench, batched", GRPC, BATCHED, Cell(HOT, results.plan.callers), 0.5),
        ("gRPC, spread / pgbench, batched", GRPC, BATCHED, Cell(SPREAD, results.plan.callers), 0.5),
        ("balance read, hot, 64 clients / REST", READ, REST, hot, 2.0),
        ("balance read, spread, 64 clients / REST", READ, REST, spread, 2.0),
    ):
        yield _at_least(what, bar, results.ratio(ours, theirs, cell))


def _of_our_own(results: Results) -> Iterator[Bar]:
    for skus, name in ((HOT, "hot"), (SPREAD, "spread")):
        some = results.line(REST, Cell(skus, CLIENTS))
        many = results.line(REST, Cell(skus, MANY_CLIENTS))
        yield _at_least(f"REST, {name}, 256 clients / 64 clients", 0.9, ratio(many, some) if many and some else None)
        yield _at_most(f"REST, {name}, 256 clients, p99 / p50", 4.0, _of(many, lambda line: line.p99_ms / line.p50_ms))
        one = results.line(REST, Cell(skus, 1))
        ours, theirs = _of(one, _p50_ms), _of(results.line(PGBENCH, Cell(skus, 1)), _p50_ms)
        yield _at_most(f"REST, {name}, 1 client, p50 / pgbench's", 3.0, ours / theirs if ours and theirs else None)


def _of_growth(results: Results) -> Iterator[Bar]:
    by_length = {line.note[CHAIN]: line for line in results.growth.get(CHAIN, ())}
    longest, empty = by_length.get(ENTRIES), by_length.get(0)
    share = ratio(longest, empty) if longest and empty else None
    yield _at_least("writes/s with 5,000,000 entries / empty", 0.9, share)


def _of_memory(results: Results) -> Iterator[Bar]:
    memory = results.memory if results.memory and not results.memory.line.is_void else None
    if memory is None:
        yield Bar("memory under load", f"<= {MEMORY_MB_MAX} MB, flat", "-", None)
        return
    peak_mb, rise, minutes = memory.peak_mb, memory.rise, memory.at_s[-1] / 60
    yield Bar("memory under load", f"<= {MEMORY_MB_MAX} MB", f"{peak_mb:.0f} MB", peak_mb <= MEMORY_MB_MAX)
    flat = f"rises <= {FLAT_RISE_MAX:.0%}"
    yield Bar(f"memory over {minutes:.1f} minutes", flat, f"{rise:+.1%}", memory.is_flat)


def _of_shipments(results: Results) -> Iterator[Bar]:
    for skus, name, per_second_min in ((SPREAD, "spread", 300), (HOT, "hot", 200)):
        line = results.shipping_line(Cell(skus, results.plan.shipping_clients))
        measured = _of(line, lambda line: line.journey(ALLOCATED).per_second)
        told = "-" if measured is None else f"{measured:,.0f}/s"
        is_met = None if measured is None else measured >= per_second_min
        yield Bar(f"shipments to allocated, {name}", f">= {per_second_min}/s", told, is_met)
    pace = results.plan.paced_per_second
    paced = results.shipping_line(Cell(SPREAD, 0, per_second=pace))
    what, bar = f"p99 to allocated, {pace}/s offered", f"<= {ALLOCATED_P99_MS_MAX} ms, none refused"
    if paced is None or paced.is_void:
        yield Bar(what, bar, "-", None)
        return
    p99_ms = paced.journey(ALLOCATED).p99_ms
    # Whoever refuses what is offered is fast with the rest.
    is_met = p99_ms <= ALLOCATED_P99_MS_MAX and not paced.errors
    yield Bar(what, bar, f"{p99_ms:,.0f} ms, {paced.errors} refused", is_met)


_JUDGES: Mapping[str, Sequence[Callable[[Results], Iterator[Bar]]]] = {
    LEDGER: (_against_others, _of_our_own, _of_memory),
    GROWTH: (_of_growth,),
    SHIPMENTS: (_of_shipments,),
}


def _p50_ms(line: Line) -> float:
    return line.p50_ms


def _of(line: Line | None, value: Callable[[Line], float]) -> float | None:
    return None if line is None or line.is_void else value(line)


def _at_least(what: str, bar: float, measured: float | None) -> Bar:
    return Bar(what, f">= {bar:g} x", _times(measured), None if measured is None else measured >= bar)


def _at_most(what: str, bar: float, measured: float | None) -> Bar:
    return Bar(what, f"<= {bar:g} x", _times(measured), None if measured is None else measured <= bar)


def _times(measured: float | None) -> str:
    return "-" if measured is None else f"{measured:.2f} x"
