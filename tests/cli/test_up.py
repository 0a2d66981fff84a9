"""`skutrail up` as a newcomer meets it: started, disturbed, stopped and started again."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest

from cli.local.stack import LOOPBACK, free_ports
from gateway import keys

READY_WITHIN_S = 60
MOVEMENT = {"sku": "SKU-UP", "warehouse": "SEA-1", "qty": 7, "reason": "receipt"}
AUTHORIZATION = {"Authorization": f"Bearer {keys.EXAMPLE_KEY}"}


@dataclass
class Up:
    """`skutrail up` in a home folder. Read line by line, as it is printed."""

    home: Path
    port: int
    process: Process

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def says(self, text: str) -> str:
        """Reads on until a line holds the text."""
        assert self.process.stdout is not None
        seen = ""
        async with asyncio.timeout(READY_WITHIN_S):
            while line := (await self.process.stdout.readline()).decode():
                seen += line
                if text in line:
                    return line
        raise AssertionError(f"{text!r} was never said:\n{seen}")

    async def valid_keys(self) -> list[str]:
        """The last characters of the keys that are not revoked."""
        stack = json.loads((self.home / "stack.json").read_text())
        listed = await keys.list_keys(stack["databases"]["gateway"])
        return [key.last_four for key in listed if key.revoked_at is None]

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    async def interrupt(self) -> int:
        """What ^C does. Returns the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


async def start_up(home: Path, port: int, **chosen: str) -> Up:
    environment = os.environ | {"SKUTRAIL_HOME": str(home), "SKUTRAIL_HTTP_PORT": str(port)} | chosen
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "up"), env=environment, stdout=PIPE, stderr=STDOUT
    )
    return Up(home, port, process)


@pytest.fixture(scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    started = await start_up(tmp_path_factory.mktemp("up"), free_ports(1)[0])
    await started.says("^C stops everything")
    yield started
    await started.interrupt()


async def test_a_port_in_use_is_named_with_the_way_to_choose_another(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]

        refused = await start_up(tmp_path, port)
        output, _ = await refused.process.communicate()

    assert refused.process.returncode == 1
    assert f"port {port}" in output.decode()
    assert "SKUTRAIL_HTTP_PORT" in output.decode()
    assert len(output.decode().splitlines()) == 1


async def test_a_start_that_fails_says_why_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()

    failing = await start_up(tmp_path, free_ports(1)[0])
    output, _ = await failing.process.communicate()

    assert failing.process.returncode == 1
    assert "postgres ended (exit code" in output.decode()
    assert "nats stopped" in output.decode()


async def test_a_second_run_beside_the_first_is_refused(up: Up) -> None:
    second = await start_up(up.home, free_ports(1)[0])
    output, _ = await second.process.communicate()

    assert second.process.returncode == 1
    assert f"pid {up.process.pid}, {up.url}" in output.decode()


async def test_a_killed_service_is_named_and_comes_back(up: Up) -> None:
    orders = next(child for child in up.children() if child.cmdline()[-1] == "services.orders")

    orders.kill()

    assert "orders ended (signal SIGKILL)" in await up.says("orders ended")
    await up.says("orders is ready again")


async def test_stopping_leaves_no_process_and_the_next_start_finds_the_data(up: Up) -> None:
    async with aiohttp.ClientSession(up.url, headers=AUTHORIZATION) as api:
        recorded = await api.post("/v1/inventory/ledger", json=MOVEMENT)
        assert recorded.status == 200
        assert "RateLimit" in recorded.headers
    first_keys, children = await up.valid_keys(), up.children()

    assert await up.interrupt() == 0
    assert [child for child in children if child.is_running()] == []

    again = await start_up(up.home, up.port, SKUTRAIL_RATE_LIMIT="off", SKUTRAIL_IDEMPOTENCY_KEY="required")
    key = (await again.says("  Key ")).split()[-1]
    await again.says("SKUTRAIL_RATE_LIMIT=off")
    await again.says("^C stops everything")
    async with aiohttp.ClientSession(again.url, headers=AUTHORIZATION) as api:
        read = await api.get("/v1/inventory/balance?sku=SKU-UP&warehouse=SEA-1")
        assert (await read.json())["balance"] == 7
        # Lifted and required by name, as it was asked for.
        assert "RateLimit" not in read.headers
        assert (await (await api.post("/v1/inventory/ledger", json=MOVEMENT)).json())["code"] == (
            "idempotency_key_required"
        )
    # The key of the start before has ended with it.
    assert await again.valid_keys() == [key[-4:]] != first_keys
    assert len(first_keys) == 1
    assert await again.interrupt() == 0
