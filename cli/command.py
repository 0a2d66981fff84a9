"""What the operator's commands share: where the running stack is, and how a command ends when it cannot go on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer

from chassis import logs
from chassis.errors import Fault

T = TypeVar("T")


def database_url(name: str, given: str | None) -> str:
    """The database of a process: as given, or that of the stack that runs in SKUTRAIL_HOME."""
    return given or str(_running_stack("--database-url")["databases"][name])


def owner_url(name: str, given: str | None) -> str:
    """The same, as the role that owns it."""
    return given or str(_running_stack("--owner-url")["owners"][name])


def nats_url(given: str | None) -> str:
    return given or str(_running_stack("--nats-url")["nats_url"])


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs what a command does. Standard output stays free of log lines; trouble ends in one line."""
    logs.configure("skutrail", "error")
    try:
        return asyncio.run(work)
    except (Fault, ValueError) as error:
        fail(error.detail if isinstance(error, Fault) else str(error))


def in_a_line(error: Exception) -> str:
    """What a driver says in many lines, in one."""
    return " ".join(str(error).split()) or type(error).__name__


def fail(message: str) -> NoReturn:
    """Ends the command with one line on stderr and exit code 1."""
    print(f"skutrail: {message}", file=sys.stderr)
    raise typer.Exit(1)


def _running_stack(option: str) -> dict[str, Any]:
    file = Path(os.environ.get("SKUTRAIL_HOME") or ".skutrail") / "stack.json"
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        fail(f"No stack runs in {file.parent}. Start one, or say where by {option}.")
