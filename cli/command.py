"""What the operator's commands share: where the running stack is, and how a command ends when it cannot go on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import psycopg
import sqlalchemy.exc
import typer

from chassis import logs
from chassis.errors import Fault

T = TypeVar("T")


def database_url(name: str, given: str | None) -> str:
    """The database of a process: as given, or that of the stack that runs in SKUTRAIL_HOME."""
    return given or str(_running_stack("--database-url")["databases"][name])


def service_database_url(name: str, given: str | None = None) -> str:
    """The database of a service, for a command that looks at several: as given, or as `skutrail migrate` is told it
    (SKUTRAIL_<NAME>_OWNER_URL), or that of the running stack."""
    return database_url(name, given or os.environ.get(f"SKUTRAIL_{name.upper()}_OWNER_URL"))


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
    except sqlalchemy.exc.ArgumentError:
        fail("The database's URL cannot be read. It looks like postgresql://role:password@host:port/database.")
    except sqlalchemy.exc.ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.UndefinedTable):
            raise
        fail(f"In that database {_first_line(error.orig)}. Is it the right one, and has skutrail migrate run on it?")


def in_a_line(error: Exception) -> str:
    """What a driver says in many lines, in one."""
    return " ".join(str(error).split()) or type(error).__name__


def fail(message: str) -> NoReturn:
    """Ends the command with one line on stderr and exit code 1."""
    print(f"skutrail: {message}", file=sys.stderr)
    raise typer.Exit(1)


def _first_line(error: Exception) -> str:
    """As PostgreSQL says it: the lines that follow quote our SQL."""
    return str(error).partition("\n")[0]


def _running_stack(option: str) -> dict[str, Any]:
    file = Path(os.environ.get("SKUTRAIL_HOME") or ".skutrail") / "stack.json"
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        fail(
            f"No stack runs in {file.parent.absolute()}. Start one, name its folder by SKUTRAIL_HOME, or use {option}."
        )
