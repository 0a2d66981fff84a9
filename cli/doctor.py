"""skutrail doctor: what is stuck, parked or inconsistent, a line each. Only reads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import nats.errors
import sqlalchemy.exc
import typer

from cli import command
from cli.diagnosis import agreement, events, orders, shipments, stock, streams
from cli.diagnosis.check import FOUND_MAX, Check, Finding, Sources

SERVICES = ("inventory", "shipments", "orders", "webhooks")
CHECKS: Sequence[Check] = (
    *streams.CHECKS,
    *events.CHECKS,
    *shipments.CHECKS,
    *stock.CHECKS,
    *orders.CHECKS,
    *agreement.CHECKS,
)
ILL, UNKNOWN = 1, 2

_TROUBLE = (sqlalchemy.exc.SQLAlchemyError, nats.errors.Error, OSError)

NatsUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_NATS_URL",
        help="The NATS server, as a user who may ask for streams. Without it, that of the running stack.",
    ),
]


def doctor(nats_url: NatsUrl = None) -> None:
    """Print what is stuck, parked or inconsistent: the check, the id, what is wrong, what to do.

    SKUTRAIL_INVENTORY_OWNER_URL, ..._SHIPMENTS_..., ..._ORDERS_..., ..._WEBHOOKS_OWNER_URL: the databases, as for
    migrate; nothing is written. Without them, those of the stack that runs in SKUTRAIL_HOME.

    Exit code 0: all is well. 1: something is not. 2: nothing was found, but not everything could be looked at.
    """
    urls = {name: command.service_database_url(name) for name in SERVICES}
    raise typer.Exit(command.run(examine(Sources(urls, command.nats_url(nats_url)))))


async def examine(sources: Sources, checks: Sequence[Check] = CHECKS) -> int:
    """Prints what the checks find; returns the exit code. Closes the sources."""
    found = unknown = 0
    try:
        for check in checks:
            try:
                findings = await check.findings(sources)
            except _TROUBLE as trouble:
                unknown += 1
                print(f"skutrail: {check.name}: could not look: {_cause(trouble)}", file=sys.stderr)
                continue
            found += len(findings)
            _tell(check, findings)
    finally:
        await sources.close()
    if not found and not unknown:
        print("All is well.")
    return ILL if found else UNKNOWN if unknown else 0


def _tell(check: Check, findings: Sequence[Finding]) -> None:
    for finding in findings:
        print(f"{check.name}: {finding.subject}: {finding.text}. {finding.todo}.")
    if len(findings) == FOUND_MAX:
        print(f"{check.name}: ... and perhaps more.")


def _cause(trouble: Exception) -> str:
    """What the driver says, without the SQL that SQLAlchemy adds."""
    origin = trouble.orig if isinstance(trouble, sqlalchemy.exc.DBAPIError) and trouble.orig else trouble
    return str(origin).partition("\n")[0] or type(origin).__name__
