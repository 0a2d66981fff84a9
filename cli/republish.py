"""skutrail republish: events that were published are told once more, for a message store that has lost them.

It declares streams and consumers, as `skutrail migrate` does, and takes back the marks in the outboxes; the relays of
the running services do the rest. Ids stay: whoever had an event already does nothing (docs/decisions/0017).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import nats.errors
import typer
from sqlalchemy import text

from chassis import outbox
from chassis.database import Database, create_engine
from chassis.outbox import TOLD_AGAIN_MAX
from chassis.wire import rfc3339
from cli import command, migrate

ANNOUNCERS = ("inventory", "shipments", "orders")
ALL = "all"
BATCH_MAX = 2_000  # rows per transaction: the relay must not wait for their locks for long

Since = Annotated[
    str,
    typer.Option(
        help="What was published from then on: a little before the message store lost it. RFC 3339, with its zone:"
        " 2026-01-31T12:00:00Z."
    ),
]
Service = Annotated[str, typer.Option(help="inventory, shipments, orders or all.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_DATABASE_URL",
        help="The service's database. Without it, SKUTRAIL_<NAME>_OWNER_URL, or that of the stack in SKUTRAIL_HOME.",
    ),
]
NatsUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_NATS_URL",
        help="The NATS server, as a user who may declare streams. Without it, that of the running stack.",
    ),
]


def republish(since: Since, service: Service = ALL, database_url: DatabaseUrl = None, nats_url: NatsUrl = None) -> None:
    """Have published events told again, after the message store has lost them. Safe to run at any time, and twice.

    SKUTRAIL_STREAM_REPLICAS: how many servers of a NATS cluster keep each stream (default: 1), as for migrate.
    """
    names = ANNOUNCERS if service == ALL else (_known(service),)
    if database_url and len(names) > 1:
        command.fail("Say by --service whose database that is.")
    told_since = _instant(since)
    urls = {name: command.service_database_url(name, database_url) for name in names}
    replicas = int(os.environ.get("SKUTRAIL_STREAM_REPLICAS") or 1)
    command.run(_republish(urls, command.nats_url(nats_url), replicas, told_since))


async def _republish(urls: Mapping[str, str], nats_url: str, replicas: int, since: datetime) -> None:
    """Raises ValueError, with a sentence for the operator, where NATS does not answer."""
    try:
        # Before the marks: a message that is nobody's yet would be gone, and marked as told.
        await migrate.declare(nats_url, replicas)
    except (migrate.NotThere, nats.errors.Error, OSError) as error:
        raise ValueError(f"{command.in_a_line(error)}. Nothing is told again.") from error
    for name, url in urls.items():
        count = await _take_back(url, since)
        print(f"{name:9}  {count:,} rows of the outbox are told again")
    print(f"Published since {rfc3339(since)}. The relays go on by themselves.", file=sys.stderr)


async def _take_back(url: str, since: datetime) -> int:
    engine = create_engine(url, pool_size=1)
    database, count = Database(engine), 0
    try:
        # By the clock that marks. What the relay tells from now on, of these rows too, is not taken back again.
        before = await database.run(lambda tx: tx.scalar(text("SELECT now()")))
        batch = partial(outbox.take_back, since=since, before=before, limit=BATCH_MAX)
        while taken := await database.run(batch):
            count += taken
        return count
    finally:
        await engine.dispose()


def _known(service: str) -> str:
    if service not in ANNOUNCERS:
        command.fail(f"{service} announces nothing. Choose one of {', '.join(ANNOUNCERS)}, or {ALL}.")
    return service


def _instant(written: str) -> datetime:
    try:
        since = datetime.fromisoformat(written)
    except ValueError:
        command.fail(f"--since {written!r} cannot be read. It looks like 2026-01-31T12:00:00Z.")
    if since.tzinfo is None:
        command.fail("--since needs its zone: a Z at its end for UTC.")
    if since < datetime.now(UTC) - TOLD_AGAIN_MAX:
        command.fail(
            f"--since may be {TOLD_AGAIN_MAX.days} days ago at most: what is older could have its effect twice."
        )
    return since
