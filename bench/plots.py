"""One run as pictures (SVG): writes/s by clients, how cost grows, memory over time. Same figures, same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from bench.competitors import MONOLITH, PGBENCH, READ, REST
from bench.lines import Cell, Line
from bench.memory import Memory
from bench.plan import HOT, SPREAD
from bench.results import Results

STYLE: Any = {
    "svg.hashsalt": "skutrail",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
}
COLOURS = {REST: "#0b6e4f", MONOLITH: "#c8553d", PGBENCH: "#6c757d", READ: "#3d5a80"}
PANEL = (5.2, 3.6)


def draw(results: Results, folder: Path) -> list[Path]:
    """Writes what there are figures for; returns the files."""
    with mpl.rc_context(STYLE):
        files = [_clients(results, folder / "clients.svg")] if results.lines else []
        if results.growth:
            files.append(_growth(results, folder / "growth.svg"))
        if results.memory:
            files.append(_memory(results.memory, folder / "memory.svg"))
    return files


def _clients(results: Results, file: Path) -> Path:
    figure, axes = _panels(2)
    for axis, skus, title in zip(axes, (HOT, SPREAD), ("one hot SKU", f"{SPREAD:,} SKUs"), strict=True):
        for name, colour in COLOURS.items():
            lines = [results.line(name, Cell(skus, clients)) for clients in results.plan.clients]
            _curve(axis, [(x, line) for x, line in enumerate(lines) if line], colour, name)
        axis.set(title=title, xlabel="clients", ylabel="per second")
        _ticks(axis, results.plan.clients)
    axes[0].legend(frameon=False)
    return _save(figure, file)


def _growth(results: Results, file: Path) -> Path:
    figure, axes = _panels(len(results.growth))
    for axis, (what, lines) in zip(axes, results.growth.items(), strict=True):
        _curve(axis, list(enumerate(lines)), COLOURS[REST], REST)
        axis.set(xlabel=what, ylabel="writes per second")
        _ticks(axis, [line.note[what] for line in lines])
    return _save(figure, file)


def _memory(memory: Memory, file: Path) -> Path:
    figure, (axis,) = _panels(1)
    axis.plot([at_s / 60 for at_s in memory.at_s], memory.total_mb, color=COLOURS[REST])
    axis.set(xlabel="minutes under load", ylabel="MB, all of Skutrail's processes")
    axis.set_ylim(bottom=0)
    return _save(figure, file)


def _panels(count: int) -> tuple[Any, Sequence[Any]]:
    figure, axes = plt.subplots(1, count, figsize=(PANEL[0] * count, PANEL[1]), squeeze=False, layout="constrained")
    return figure, list(axes[0])


def _curve(axis: Any, points: Sequence[tuple[int, Line]], colour: str, label: str) -> None:
    """The medians as a line, every repetition as a dot. Void lines are left out."""
    sound = [(x, line) for x, line in points if not line.is_void]
    axis.plot([x for x, _ in sound], [line.per_second for _, line in sound], color=colour, label=label)
    dots = [(x, sample.load.per_second) for x, line in sound for sample in line.taken]
    axis.scatter([x for x, _ in dots], [y for _, y in dots], color=colour, s=9, alpha=0.6)


def _ticks(axis: Any, values: Sequence[int]) -> None:
    """Evenly spaced, whatever lies between them; and the axis of speed begins at nothing."""
    axis.set_xticks(range(len(values)), [f"{value:,}" for value in values])
    axis.set_ylim(bottom=0)


def _save(figure: Any, file: Path) -> Path:
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
    return file
