"""The commands of `skutrail`. Each reads its settings, calls what does the work, and says in a line what went wrong.

Whatever is heavy to import is imported by the command that needs it.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cli import doctor, export, keys, parked, rebuild, republish, verify

app = typer.Typer(
    name="skutrail",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.app, name="keys", help="Create, list and revoke API keys.")
app.add_typer(parked.app, name="parked", help="List the events that no handler could take, and hand them back.")
app.add_typer(rebuild.app, name="rebuild", help="Build a projection again from the events that are kept.")

app.command()(doctor.doctor)
app.command()(republish.republish)
app.command()(verify.verify)
app.command()(export.export)
app.command(name="import")(export.import_)

DEFAULT_HTTP_PORT = 8080


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"skutrail {version('skutrail')}")
        raise typer.Exit


@app.callback()
def skutrail(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Skutrail: one API for stock and its trail."""


@app.command()
def up() -> None:
    """Run all of Skutrail on this machine, in the foreground, until ^C.

    PostgreSQL, NATS, the four services and the gateway are started as ordinary processes that listen on 127.0.0.1 only.
    Everything they keep lies in one folder; the next start finds it again.

    SKUTRAIL_HOME: that folder (default: .skutrail in the current folder).
    SKUTRAIL_HTTP_PORT: the port of the API (default: 8080).
    SKUTRAIL_LOG_LEVEL: debug, info, warning or error, for all processes (default: info).
    SKUTRAIL_EVENTS_KEPT_HOURS: how long what was published can be told again (default: 72).
    SKUTRAIL_TRACK_EVERY_S: how often the carrier is asked after a shipment that has left (default: 5).
    SKUTRAIL_RATE_LIMIT: off lifts the limits (default: on).
    SKUTRAIL_LOG_EVERY: of the requests that went well, one in so many leaves a line (default: 1).
    SKUTRAIL_IDEMPOTENCY_KEY: required refuses a POST without one (default: optional).
    """
    from cli.local.children import PartMissing
    from cli.local.home import HomeInUse
    from cli.local.processes import CHOICES
    from cli.local.supervisor import PortInUse
    from cli.local.supervisor import up as run_stack

    try:
        code = run_stack(root_from_environment(), _http_port(), _set_of(CHOICES), report)
    except (HomeInUse, PortInUse, PartMissing) as refusal:
        fail(str(refusal))
    raise typer.Exit(code)


@app.command()
def migrate() -> None:
    """Bring all databases to the newest schema and declare the NATS streams. Safe to run at any time.

    SKUTRAIL_INVENTORY_OWNER_URL, ..._SHIPMENTS_..., ..._ORDERS_..., ..._WEBHOOKS_..., ..._GATEWAY_OWNER_URL: each
    database, as the role that owns it. SKUTRAIL_NATS_URL: the NATS server. SKUTRAIL_STREAM_REPLICAS: how many servers
    of a NATS cluster keep each stream (default: 1).
    """
    from chassis import logs
    from cli import migrate as migration

    logs.configure("migrate", os.environ.get("SKUTRAIL_LOG_LEVEL", "info"))
    try:
        asyncio.run(migration.migrate(*migration.settings_from(os.environ)))
    except (migration.SettingsMissing, migration.NotThere) as error:
        fail(str(error))


@app.command()
def provision() -> None:
    """Make the roles and databases on a PostgreSQL server that is not ours to start. Safe to run at any time.

    SKUTRAIL_SUPERUSER_URL: the server, as superuser. SKUTRAIL_INVENTORY_OWNER_PASSWORD, SKUTRAIL_INVENTORY_PASSWORD and
    so on for shipments, orders, webhooks and gateway: the passwords that the roles get.
    """
    from chassis import logs
    from cli import migrate as migration
    from cli import provision as provisioning

    logs.configure("provision", os.environ.get("SKUTRAIL_LOG_LEVEL", "info"))
    try:
        superuser_url, passwords = provisioning.settings_from(os.environ)
        asyncio.run(migration.wait_for_database("PostgreSQL", superuser_url))
        asyncio.run(provisioning.provision(superuser_url, passwords))
    except (migration.SettingsMissing, migration.NotThere) as error:
        fail(str(error))


def root_from_environment() -> Path:
    return Path(os.environ.get("SKUTRAIL_HOME") or ".skutrail")


def report(text: str) -> None:
    """Prints a line with the time of day."""
    try:
        print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)
    except OSError:
        # The terminal or the pipe is gone. Stopping in good order matters more than telling of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str) -> NoReturn:
    """Ends the command with one line on stderr and exit code 1."""
    print(f"skutrail: {message}", file=sys.stderr)
    raise typer.Exit(1)


def _set_of(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _http_port() -> int:
    text = os.environ.get("SKUTRAIL_HTTP_PORT") or str(DEFAULT_HTTP_PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        fail(f"SKUTRAIL_HTTP_PORT is {text!r}, which is no port")
    return int(text)
