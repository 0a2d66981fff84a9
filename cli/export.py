"""skutrail export and import: the trail as a file, and back into an empty inventory database."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import psycopg
import typer

from chassis.clock import utc_now
from cli import command
from cli.verify import InventoryUrl
from services.inventory import archive
from services.inventory.archive import Manifest

STANDARD = "-"

OwnerUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_INVENTORY_OWNER_URL",
        help="The inventory's database, as the role that owns it. Without it, that of the stack in SKUTRAIL_HOME.",
    ),
]


def export(
    file: Annotated[str, typer.Argument(help="A new file, or - for standard output.")],
    database_url: InventoryUrl = None,
) -> None:
    """Write the trail of all tenants, as it is at one instant: an entry a line (NDJSON), then a manifest."""
    url = command.database_url("inventory", database_url)
    with _told_trouble():
        if file == STANDARD:
            manifest = archive.export(url, sys.stdout.buffer.write, utc_now())
            sys.stdout.buffer.flush()
        else:
            manifest = _export_to(Path(file), url)
    _tell(manifest)


def import_(
    file: Annotated[str, typer.Argument(help="What an export wrote, or - for standard input.")],
    owner_url: OwnerUrl = None,
) -> None:
    """Fill an empty inventory database from an export: entries as they were, balances made of them. All or nothing."""
    url = command.owner_url("inventory", owner_url)
    with _told_trouble(), nullcontext(sys.stdin.buffer) if file == STANDARD else Path(file).open("rb") as lines:
        manifest = archive.take_back(url, _lines(lines))
    _tell(manifest)


def _export_to(file: Path, url: str) -> Manifest:
    """The file is there when it is complete. One that is there already is not touched."""
    part = file.with_name(f"{file.name}.part")
    if file.exists():
        raise FileExistsError(f"{file} is there already")
    try:
        with part.open("wb") as lines:
            manifest = archive.export(url, lines.write, utc_now())
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _lines(file: BinaryIO) -> Iterable[bytes]:
    """A line that never ends must not fill the memory: what is cut off from it can be read by nobody."""
    read: Callable[[], bytes] = partial(file.readline, archive.LINE_BYTES_MAX)
    return iter(read, b"")


@contextmanager
def _told_trouble() -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, ValueError, OSError) as error:
        command.fail(command.in_a_line(error))


def _tell(manifest: Manifest) -> None:
    print(f"{manifest.entries:,} entries of {manifest.chains:,} chains, sha256 {manifest.sha256}", file=sys.stderr)
