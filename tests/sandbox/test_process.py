"""`python -m sandbox` as `skutrail up` runs it: killed in the midst of things, it comes back knowing what it sold."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from cli.local.children import Child
from cli.local.home import make_secrets, open_home
from cli.local.processes import SANDBOX
from cli.local.stack import Stack, choose_ports
from tests.sandbox.running import Sandbox


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Child]:
    stack = Stack(home=open_home(tmp_path), secrets=make_secrets(), ports=choose_ports())
    child = Child(SANDBOX, stack)
    await child.start()
    await child.wait_healthy()
    yield child
    await child.stop()


async def test_a_kill_loses_nothing_that_was_answered(child: Child) -> None:
    async with aiohttp.ClientSession() as session:
        sandbox = Sandbox(child.stack.carrier_url, session)
        bought = (await sandbox.buy()).json
        assert (await sandbox.buy(name="SANDBOX_5XX x2", key="att_2", reference="shp_2-1")).status == 500

        await child.kill(signal.SIGKILL)
        await child.start()
        await child.wait_healthy()

        assert (await sandbox.buy()).json == bought
        assert await sandbox.sales() == (1, 0)
        again = [await sandbox.buy(name="SANDBOX_5XX x2", key="att_2", reference="shp_2-1") for _ in range(2)]
        assert [reply.status for reply in again] == [500, 201]


async def test_it_stops_when_told_to(child: Child) -> None:
    assert await child.stop()

    assert await child.wait_ended() == 0
    assert '"event": "process.stopped"' in child.log_file.read_text()
