"""The step between the stores and the rest: databases and roles, then `skutrail migrate`, as in every other place.

It is left out where it would find nothing to do: it takes longer than anything else of a second start.
"""

import hashlib
import signal
import sys
from pathlib import Path

from cli.local.children import ChildFailed, describe_exit, spawn, tail
from cli.local.home import write_private
from cli.local.processes import migration_environment
from cli.local.stack import Stack
from cli.provision import provision

SOURCE = Path(__file__).resolve().parents[2]


async def bring_up_to_date(stack: Stack) -> None:
    """Raises ChildFailed when the migration fails."""
    wanted = _fingerprint()
    if _stamp(stack).exists() and _stamp(stack).read_text() == wanted:
        return
    await provision(stack.postgres_url, stack.secrets.role_passwords)
    await _migrate(stack)
    write_private(_stamp(stack), wanted)


def forget(stack: Stack) -> None:
    """For a database or a message store that starts empty: everything is to be applied again."""
    _stamp(stack).unlink(missing_ok=True)


async def _migrate(stack: Stack) -> None:
    log = stack.home.log("migrate")
    migration = await spawn(
        (sys.executable, "-m", "cli", "migrate"),
        log=log,
        folder=stack.home.root,
        environment=migration_environment(stack),
        death_signal=signal.SIGTERM,
    )
    try:
        code = await migration.wait()
    finally:
        if migration.returncode is None:
            migration.terminate()
            await migration.wait()
    if code != 0:
        raise ChildFailed(f"the migration failed ({describe_exit(code)})\n{tail(log)}")


def _fingerprint() -> str:
    """Of all code and SQL: whatever was changed, the migration runs again."""
    digest = hashlib.sha256()
    for package in ("chassis", "cli", "gateway", "services"):
        for file in sorted((SOURCE / package).rglob("*")):
            if file.suffix in (".py", ".sql"):
                digest.update(f"{file.relative_to(SOURCE)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _stamp(stack: Stack) -> Path:
    return stack.home.root / "migrated"
