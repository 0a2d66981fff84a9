"""The local overlay, played without a cluster: its commands and its environment, as real processes on this machine.

What changes is where: addresses are loopback's, and the databases are those of the tests' own server.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psycopg
import pytest

from cli.local.probe import answers_http
from cli.local.stack import free_ports
from cli.provision import NAMES, DatabaseUrls
from gateway.keys import EXAMPLE_KEY
from tests.deploy.kubectl import ROOT
from tests.deploy.manifests import CARRIERS, PROCESSES, manifests

LOCAL = manifests("local")
ALL = (*CARRIERS, *PROCESSES)
MOVEMENT = {"sku": "REHEARSAL", "warehouse": "SEA-1", "qty": 5, "reason": "receipt"}


@pytest.mark.slow
async def test_a_movement_is_recorded_and_told_by_the_processes_of_the_overlay(
    databases: Mapping[str, DatabaseUrls], server: str, tmp_path: Path
) -> None:
    here = Here(databases, server, dict(zip(ALL, free_ports(len(ALL)), strict=True)), tmp_path)

    async with AsyncExitStack() as stack:
        await _migrate(here)
        processes = [await stack.enter_async_context(_running(name, here)) for name in ALL]
        await _until(lambda: answers_http(here.ports["gateway"], "/readyz"))
        await _record(here)
        await _until(lambda: _everything_is_published(here))
        await _stop(processes)

    for name in ALL:
        log = here.log(name).read_text()
        assert "process.stopped" in log
        assert "violation" not in log.lower(), log


@dataclass(frozen=True)
class Here:
    """What this machine has in place of the cluster."""

    databases: Mapping[str, DatabaseUrls]
    server: str
    ports: Mapping[str, int]
    folder: Path

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def environment(self, name: str) -> dict[str, str]:
        """The pod's, moved to this machine."""
        pods = LOCAL.environment(LOCAL.pod(name).main)
        return {variable: self._moved(value) for variable, value in pods.items()} | self._own(name)

    def _moved(self, value: str) -> str:
        for name, port in self.ports.items():
            value = value.replace(f"dns:///{name}:50051", f"127.0.0.1:{port}")
            value = value.replace(f"http://{name}:8090", f"http://127.0.0.1:{port}")
        return value.replace("@nats:4222", "@" + self.server.removeprefix("nats://"))

    def _own(self, name: str) -> dict[str, str]:
        path = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")])}
        if name == "migrate":
            return path | {f"SKUTRAIL_{n.upper()}_OWNER_URL": self.databases[n].owner for n in NAMES}
        if name == "sandbox":
            listen, file = f"127.0.0.1:{self.ports[name]}", str(self.folder / "sandbox.sqlite3")
            return path | {"SKUTRAIL_SANDBOX_LISTEN": listen, "SKUTRAIL_SANDBOX_FILE": file}
        path["SKUTRAIL_DATABASE_URL"] = self.databases[name].application
        if name == "gateway":
            path["SKUTRAIL_RATE_LIMIT_URL"] = path["SKUTRAIL_DATABASE_URL"]
            return path | {"SKUTRAIL_HTTP_HOST": "127.0.0.1", "SKUTRAIL_HTTP_PORT": str(self.ports[name])}
        return path | {"SKUTRAIL_GRPC_LISTEN": f"127.0.0.1:{self.ports[name]}"}


async def _migrate(here: Here) -> None:
    async with _started("migrate", ["-m", "cli", "migrate"], here) as process:
        assert await process.wait() == 0, here.log("migrate").read_text()


async def _stop(processes: list[Process]) -> None:
    """As Kubernetes does it; they leave by themselves, within their grace."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(LOCAL.pod("inventory").spec["terminationGracePeriodSeconds"]):
        assert [await process.wait() for process in processes] == [0] * len(processes)


def _running(name: str, here: Here) -> AbstractAsyncContextManager[Process]:
    return _started(name, LOCAL.pod(name).main["command"][1:], here)


@asynccontextmanager
async def _started(name: str, arguments: list[str], here: Here) -> AsyncIterator[Process]:
    with here.log(name).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=here.environment(name), cwd=here.folder, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _record(here: Here) -> None:
    url = f"http://127.0.0.1:{here.ports['gateway']}/v1/inventory/ledger"
    headers = {"Authorization": f"Bearer {EXAMPLE_KEY}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=MOVEMENT, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


async def _everything_is_published(here: Here) -> bool:
    async with await psycopg.AsyncConnection.connect(here.databases["inventory"].owner) as connection:
        rows = await connection.execute("SELECT count(*), count(published_at) FROM outbox")
        counts = await rows.fetchone()
    assert counts
    written, published = counts
    return bool(written and written == published)


async def _until(claim: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await claim():  # noqa: ASYNC110 - another process's state has no event to wait for
            await asyncio.sleep(0.05)
