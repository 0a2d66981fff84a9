"""skutrail keys: create, list and revoke API keys. Works on the gateway's database, with the gateway running or not."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from chassis.wire import rfc3339
from cli import command
from gateway import keys
from gateway.limits import Limit, parse_limit

app = typer.Typer(no_args_is_help=True)

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_DATABASE_URL",
        help="The gateway's database. Without it, that of the stack that runs in SKUTRAIL_HOME.",
    ),
]


@app.command()
def create(
    account: Annotated[str, typer.Option(help="1 to 40 of a-z, 0-9 and -.")],
    mode: Annotated[str, typer.Option(help="test or live.")],
    limit: Annotated[str | None, typer.Option(help="Requests/seconds, such as 1000/10s.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key. The key alone goes to standard output, once; only its hash is kept."""
    if mode not in ("test", "live"):
        command.fail("A mode is test or live.")
    url = command.database_url("gateway", database_url)
    created = command.run(keys.create_key(url, account=account, mode=mode, limit=_limit(limit)))  # type: ignore[arg-type]
    print(created.secret)
    print(f"{created.key.id}: {created.key.tenant_id}. The key is shown only this once.", file=sys.stderr)


@app.command(name="list")
def list_all(database_url: DatabaseUrl = None) -> None:
    """List all keys, oldest first: id, account and mode, last four characters, limit, state."""
    for key in command.run(keys.list_keys(command.database_url("gateway", database_url))):
        state = f"revoked {rfc3339(key.revoked_at)}" if key.revoked_at else f"since {rfc3339(key.created_at)}"
        print(f"{key.id}  {key.tenant_id:20}  ...{key.last_four}  {key.limit or 'default'!s:>12}  {state}")


@app.command()
def revoke(key_id: str, database_url: DatabaseUrl = None) -> None:
    """Revoke a key, for good. Every gateway refuses it within 5 seconds."""
    if not command.run(keys.revoke_key(command.database_url("gateway", database_url), key_id)):
        command.fail(f"There is no key {key_id}, or it is revoked already.")
    print(f"{key_id} is revoked.", file=sys.stderr)


def _limit(written: str | None) -> Limit | None:
    try:
        return parse_limit(written) if written else None
    except ValueError as error:
        command.fail(str(error))
