"""Real parts for every test: PostgreSQL and nats-server of our own in a temporary home, or those the environment names.

SKUTRAIL_TEST_DATABASE_URL   a superuser's URL of a PostgreSQL 18
SKUTRAIL_TEST_NATS_URL       a nats-server with JetStream

`stack` is the whole system, always of our own: tests kill its processes.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from cli.local.children import Child, Process
from cli.local.home import make_secrets
from cli.local.processes import NATS, POSTGRES
from cli.local.stack import Stack
from cli.local.system import System
from cli.provision import DatabaseUrls, provision
from tests.running import RunningStack, create_key, stack_in


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
def role_passwords() -> Mapping[str, str]:
    return make_secrets().role_passwords


@pytest.fixture(scope="session")
async def databases(postgres: str, role_passwords: Mapping[str, str]) -> Mapping[str, DatabaseUrls]:
    """The five databases, provisioned and migrated: `databases["inventory"].application` and `.owner`."""
    from chassis.migrate import upgrade

    urls = await provision(postgres, role_passwords)
    for name, database in urls.items():
        await asyncio.to_thread(upgrade, name, database.owner)
    return urls


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """The whole system on free ports, run from the table that `skutrail up` runs."""
    system = System(stack_in(tmp_path_factory.mktemp("stack")), report=print)
    try:
        await system.start()
        yield RunningStack(system, key=await create_key(system.stack, "local"))
    finally:
        await system.stop()


async def _running(process: Process, folder: Path) -> AsyncIterator[Stack]:
    stack = stack_in(folder)
    child = Child(process, stack)
    assert process.prepare is not None
    await process.prepare(stack)
    await child.start()
    try:
        await child.wait_healthy()
        yield stack
    finally:
        await child.stop()
