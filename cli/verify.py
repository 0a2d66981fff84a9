"""skutrail verify: whether every chain, balance and hold of the inventory is as it was recorded. Only reads."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from cli import command
from services.inventory import archive, audit
from services.inventory.audit import Report, Scope

SHOWN_MAX = 100
TELL_EVERY_S = 0.5
BROKEN, UNKNOWN = 1, 2

InventoryUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_DATABASE_URL",
        help="The inventory's database. Without it, that of the stack that runs in SKUTRAIL_HOME.",
    ),
]


def verify(
    tenant: Annotated[str | None, typer.Option(help="Only this one, such as acme/live.")] = None,
    sku: Annotated[str | None, typer.Option(help="Only this SKU.")] = None,
    warehouse: Annotated[str | None, typer.Option(help="Only this warehouse.")] = None,
    against: Annotated[Path | None, typer.Option(help="A file of `skutrail export`: its links must be there.")] = None,
    database_url: InventoryUrl = None,
) -> None:
    """Recompute the hash chains of the trail, and hold balances, holds and requests against them.

    Exit code 0: all is whole. 1: something is not; the first broken entry of each chain is told. 2: could not tell, or
    nothing is recorded of what was named.
    """
    scope, progress = Scope(tenant, sku, warehouse), _Progress()
    with _unknown_on_trouble(), closing(progress):
        url = command.database_url("inventory", database_url)
        report = asyncio.run(audit.audit(url, scope, progress.tell))
        if against is not None:
            asyncio.run(_compare(url, scope, against, report))
    if scope.given and report.is_of_nothing:
        named = ", ".join(f"the {name.removesuffix('_id')} {value}" for name, value in scope.given.items())
        print(f"skutrail: nothing is recorded of {named}: is it spelled right?", file=sys.stderr)
        raise typer.Exit(UNKNOWN)
    for number, (key, text) in enumerate(report.findings()):
        if number == SHOWN_MAX:
            print("... and more")
            break
        print(f"{'  '.join(key)}: {text}")
    count = f"{report.found:,}{' or more' if report.is_cut_short else ''}"
    found = "All is whole." if report.is_whole else f"Broken: {count}."
    print(f"{report.entries:,} entries, {report.balances:,} balances. {found}")
    raise typer.Exit(0 if report.is_whole else BROKEN)


async def _compare(url: str, scope: Scope, file: Path, report: Report) -> None:
    with file.open("rb") as lines:
        await audit.compare(url, scope, archive.Reading(lines).heads(), report)


@contextmanager
def _unknown_on_trouble() -> Iterator[None]:
    """Whoever reads the exit code must not take trouble for a broken chain, nor for a whole one."""
    try:
        yield
    except (psycopg.Error, archive.Damaged, OSError) as error:
        print(f"skutrail: could not verify: {command.in_a_line(error)}", file=sys.stderr)
        raise typer.Exit(UNKNOWN) from error
    except typer.Exit as end:
        raise typer.Exit(UNKNOWN) from end


class _Progress:
    """A line on a terminal that is written over; nothing where nobody looks."""

    def __init__(self) -> None:
        self._is_seen = sys.stderr.isatty()
        self._told_at = float("-inf")

    def tell(self, report: Report) -> None:
        if self._is_seen and time.monotonic() - self._told_at > TELL_EVERY_S:
            self._told_at = time.monotonic()
            done = f"{report.entries:,} of {report.entries_in_all:,} entries"
            print(f"\r{done}, {report.balances:,} of {report.balances_in_all:,} balances", end="", file=sys.stderr)

    def close(self) -> None:
        if self._is_seen:
            print("\r\033[K", end="", file=sys.stderr)
