"""PostgreSQL from the wheel, where it is hard: behind a closed folder, and after a crash."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import psycopg
import pytest

from cli.local.children import Child
from cli.local.home import keep_secrets, open_home
from cli.local.processes import POSTGRES
from cli.local.stack import Stack, choose_ports


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Child]:
    """A server whose home lies in a folder that only its owner may enter, as /root is."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = open_home(closed / "home")
    child = Child(POSTGRES, Stack(home=home, secrets=keep_secrets(home), ports=choose_ports()))
    await start(child)
    yield child
    await child.stop()


async def start(server: Child) -> None:
    assert POSTGRES.prepare is not None
    await POSTGRES.prepare(server.stack)
    await server.start()
    await server.wait_healthy()


async def execute(server: Child, query: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(server.stack.postgres_url) as connection:
        cursor = await connection.execute(query)
        return await cursor.fetchall() if cursor.description else []


async def test_it_runs_behind_a_closed_folder_unprivileged_and_leaves_the_folder_as_it_was(server: Child) -> None:
    assert server.running is not None
    process = psutil.Process(server.running.pid)

    assert server.stack.home.root.parent.stat().st_mode & 0o777 == 0o700
    assert process.uids().effective != 0
    assert {connection.laddr.ip for connection in process.net_connections()} == {"127.0.0.1"}


async def test_what_was_committed_survives_a_kill_and_a_stale_pid_file(server: Child) -> None:
    await execute(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    await server.kill(signal.SIGKILL)
    # As if that number now belonged to somebody else, after a restart of the machine.
    pid_file = server.stack.home.root / "postgres" / "postmaster.pid"
    pid_file.write_text("\n".join([str(os.getpid()), *pid_file.read_text().splitlines()[1:]]))

    await start(server)

    assert await execute(server, "SELECT answer FROM kept") == [(42,)]
