"""`skutrail migrate`, as a process: idempotent, safe beside itself, and clear about what it lacks."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping

import nats
import pytest

from cli.migrate import SettingsMissing, settings_from, topology
from cli.provision import DatabaseUrls


async def run_migrate(environment: Mapping[str, str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "migrate"), env=environment, stdout=PIPE, stderr=PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


def test_every_missing_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsMissing, match=r"INVENTORY_OWNER_URL.*GATEWAY_OWNER_URL.*NATS_URL"):
        settings_from({"SKUTRAIL_ORDERS_OWNER_URL": "postgresql://somewhere"})


async def test_two_migrations_at_once_leave_one_result(databases: Mapping[str, DatabaseUrls], nats_url: str) -> None:
    owners = {f"SKUTRAIL_{name.upper()}_OWNER_URL": urls.owner for name, urls in databases.items()}
    environment = {"SKUTRAIL_NATS_URL": nats_url, **owners}

    results = await asyncio.gather(run_migrate(environment), run_migrate(environment))

    assert [code for code, _ in results] == [0, 0], results
    client = await nats.connect(nats_url)
    declared = {stream.config.name for stream in await client.jetstream().streams_info()}
    await client.close()
    assert declared >= {stream.name for stream in topology()[0]}
