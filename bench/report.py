"""One run as text for a terminal and as JSON for programs. Both say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from bench.bars import Bar, judge
from bench.competitors import BATCHED, GRPC, PGBENCH
from bench.lines import Line
from bench.milestones import ALLOCATED, LABEL_READY
from bench.results import Results

HEADINGS = ("", "SKUs", "clients", "flush", "per s", "p50 ms", "p99 ms", "errors", "/ pgbench", "settled s", "check")

SHIPPING_HEADINGS = (
    *("", "offered", "accepted/s", "allocated/s", "p50 ms", "p99 ms", "heard p99"),
    *("label_ready/s", "p50 ms", "p99 ms", "heard p99", "errors", "settled s", "check"),
)


def as_text(results: Results) -> str:
    return "\n".join(
        [
            *(*_head(results), *_lines(results), *_growth(results), *_memory(results), *_shipments(results)),
            *(*_bars(results), *_voids(results), ""),
        ]
    )


def as_json(results: Results) -> str:
    memory = results.memory
    return json.dumps(
        {
            "plan": asdict(results.plan),
            "head": results.head,
            "is_sound": results.is_sound,
            "trouble": results.trouble,
            "lines": [_described(results, line) for line in results.lines],
            "growth": {what: [_described(results, line) for line in lines] for what, lines in results.growth.items()},
            "memory": memory and asdict(memory) | {"peak_mb": memory.peak_mb, "rise": memory.rise},
            "shipments": [_described(results, line) for line in results.shipments],
            "bars": [asdict(bar) | {"verdict": bar.verdict} for bar in judge(results)],
        },
        indent=1,
    )


def _described(results: Results, line: Line) -> dict[str, Any]:
    medians = {
        "is_void": line.is_void,
        "per_second": line.per_second,
        "p50_ms": line.p50_ms,
        "p99_ms": line.p99_ms,
        "settled_s": line.settled_s,
        "errors": line.errors,
        "cpu_us": line.cpu_us,
        "ratio_to_pgbench": _to_pgbench(results, line),
    }
    journeys = {kind: asdict(line.journey(kind)) for kind in (line.taken[0].journeys if line.taken else ())}
    return asdict(line) | {"median": medians | {"journeys": journeys}}


def _head(results: Results) -> Iterator[str]:
    yield f"Skutrail's bench, {results.plan.name} run"
    yield ""
    for name, fact in results.head.items():
        yield f"{name:16} {fact}"
    yield ""


def _lines(results: Results) -> Iterator[str]:
    if not results.lines:
        return
    yield f"Median of {results.plan.repetitions}, {results.plan.seconds} s each; CPU: us per movement, by process"
    yield ""
    rows = [(_row(results, line), _cpu(line)) for line in results.lines]
    table = _table(HEADINGS, [row for row, _ in rows])
    yield next(table) + "  CPU"
    for text, (_, cpu) in zip(table, rows, strict=True):
        yield f"{text}  {cpu}"
    yield ""


def _row(results: Results, line: Line) -> tuple[str, ...]:
    cell = line.cell
    asked = (line.competitor, f"{cell.skus:,}", f"{cell.clients}", f"{cell.flush_ms} ms" if cell.flush_ms else "-")
    if line.is_void:
        return (*asked, "-", "-", "-", f"{line.errors}", "-", "-", "VOID")
    times = _to_pgbench(results, line)
    return (
        *asked,
        *(f"{line.per_second:,.0f}", f"{line.p50_ms:.2f}", f"{line.p99_ms:.2f}", f"{line.errors}"),
        *("-" if times is None else f"{times:.2f} x", f"{line.settled_s:.1f}", "ok"),
    )


def _to_pgbench(results: Results, line: Line) -> float | None:
    base = BATCHED if line.competitor in (GRPC, BATCHED) else PGBENCH
    return results.ratio(line.competitor, base, line.cell) if line in results.lines else None


def _cpu(line: Line) -> str:
    most_first = sorted(line.cpu_us.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {spent:.0f}" for name, spent in most_first if spent >= 0.5)


def _growth(results: Results) -> Iterator[str]:
    for what, lines in results.growth.items():
        yield f"REST, {results.plan.growth_clients} clients, against {what}"
        yield ""
        rows = [
            (f"{line.note[what]:,}", *(("VOID", "", "") if line.is_void else _speed(line)), f"{line.settled_s:.1f}")
            for line in lines
        ]
        yield from _table((what, "per s", "p50 ms", "p99 ms", "settled s"), rows)
        yield ""


def _speed(line: Line) -> tuple[str, str, str]:
    return f"{line.per_second:,.0f}", f"{line.p50_ms:.2f}", f"{line.p99_ms:.2f}"


def _memory(results: Results) -> Iterator[str]:
    memory = results.memory
    if memory is None:
        return
    parts = ", ".join(f"{name} {used:.0f}" for name, used in memory.by_process_mb.items())
    yield f"Memory under load, MB: at most {memory.peak_mb:.0f}; at the end {parts}"
    yield ""


def _shipments(results: Results) -> Iterator[str]:
    if not results.shipments:
        return
    plan = results.plan
    yield (
        f"Shipments, median of {plan.repetitions}, {plan.shipping_s} s each, paced {plan.paced_s} s; ms since their"
        " creation; CPU: us per shipment, by process"
    )
    yield ""
    rows = [(_shipping_row(line), _cpu(line)) for line in results.shipments]
    table = _table(SHIPPING_HEADINGS, [row for row, _ in rows])
    yield next(table) + "  CPU"
    for text, (_, cpu) in zip(table, rows, strict=True):
        yield f"{text}  {cpu}"
    yield ""


def _shipping_row(line: Line) -> tuple[str, ...]:
    asked = (f"{line.cell.skus:,} SKUs" if line.cell.skus > 1 else "one SKU", line.cell.offered)
    if line.is_void:
        return (*asked, *"-" * 9, f"{line.errors}", "-", "VOID")
    journeys = [line.journey(kind) for kind in (ALLOCATED, LABEL_READY)]
    figures = [(one.per_second, one.p50_ms, one.p99_ms, one.heard_p99_ms) for one in journeys]
    told = [f"{figure:,.0f}" for figure in (line.per_second, *figures[0], *figures[1])]
    return (*asked, *told, f"{line.errors}", f"{line.settled_s:.1f}", "ok")


def _bars(results: Results) -> Iterator[str]:
    yield "Bars"
    yield ""
    bars = judge(results)
    yield from _table(("", "bar", "measured", ""), [(bar.what, bar.bar, bar.measured, bar.verdict) for bar in bars])
    yield ""
    yield _counted(bars)


def _counted(bars: Sequence[Bar]) -> str:
    met, missed = sum(bar.is_met is True for bar in bars), sum(bar.is_met is False for bar in bars)
    return f"{met} met, {missed} not met, {len(bars) - met - missed} not measured"


def _voids(results: Results) -> Iterator[str]:
    for line in results.all_lines:
        for fault in line.faults:
            yield f"VOID: {line.competitor}, {line.cell.skus:,} SKUs, {line.cell.offered}: {fault}"
    for trouble in results.trouble:
        yield f"INCOMPLETE: {trouble}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        first, *others = (
            f"{cell:{'<' if n == 0 else '>'}{width}}" for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *others]).rstrip()
