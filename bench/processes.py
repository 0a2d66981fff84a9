"""CPU time and memory of process trees, by name."""

from __future__ import annotations

import resource
from collections.abc import Mapping

import psutil

GENERATOR = "load"


def cpu_s(roots: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of each tree, by the name of its root, and of all load generators that have ended."""
    spent = {name: _tree_cpu_s(pid) for name, pid in roots.items()}
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {**spent, GENERATOR: ended.ru_utime + ended.ru_stime}


def memory_mb(roots: Mapping[str, int]) -> dict[str, float]:
    """Resident megabytes of each tree. Pages that processes share count in each: the sum is an upper bound."""
    return {name: sum(_rss(process) for process in _tree(pid)) / 1e6 for name, pid in roots.items()}


def is_listening(pid: int) -> bool:
    return any(one.status == psutil.CONN_LISTEN for one in psutil.Process(pid).net_connections("tcp"))


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _tree_cpu_s(pid: int) -> float:
    """A child that has ended is in the times of its parent: a PostgreSQL session in those of the postmaster."""
    spent = 0.0
    for process in _tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
