"""Real parts for every test: PostgreSQL and nats-server of our own in a temporary home, or those the environment names.

SKUTRAIL_TEST_DATABASE_URL   a superuser's URL of a PostgreSQL 18
SKUTRAIL_TEST_NATS_URL       a nats-server with JetStream
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from cli.local.children import Child
from cli.local.home import keep_secrets, make_secrets, open_home
from cli.local.processes import NATS, POSTGRES, Process
from cli.local.stack import Stack, choose_ports
from cli.provision import DatabaseUrls, provision


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a PostgreSQL server, as superuser."""
    given = os.environ.get("SKUTRAIL_TEST_DATABASE_URL")
    if given:
        yield given
        return
    async for stack in _running(POSTGRES, tmp_path_factory.mktemp("postgres")):
        yield stack.postgres_url


@pytest.fixture(scope="session")
async def nats_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a nats-server with JetStream."""
    given = os.environ.get("SKUTRAIL_TEST_NATS_URL")
    if given:
        yield given
        return
    async for stack in _running(NATS, tmp_path_factory.mktemp("nats")):
        yield stack.nats_url


@pytest.fixture(scope="session")
async def databases(postgres: str) -> Mapping[str, DatabaseUrls]:
    """The five databases, provisioned and migrated: `databases["inventory"].application` and `.owner`."""
    from chassis.migrate import upgrade

    urls = await provision(postgres, make_secrets().role_passwords)
    for name, database in urls.items():
        await asyncio.to_thread(upgrade, name, database.owner)
    return urls


async def _running(process: Process, folder: Path) -> AsyncIterator[Stack]:
    home = open_home(folder)
    stack = Stack(home=home, secrets=keep_secrets(home), ports=choose_ports())
    child = Child(process, stack)
    assert process.prepare is not None
    await process.prepare(stack)
    await child.start()
    try:
        await child.wait_healthy()
        yield stack
    finally:
        await child.stop()
