"""`skutrail up`: one stack in the foreground, from the first line to the last process gone.

Keeps every process running, says in one line what happens to them, and stops them all on ^C, SIGTERM or SIGHUP.
"""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from cli.local import nats, postgres
from cli.local.children import Child, ChildFailed
from cli.local.home import keep_secrets, locked, open_home, write_private
from cli.local.stack import LOOPBACK, Stack, choose_ports
from cli.local.system import Report, System
from cli.local.welcome import welcome
from gateway import keys

RESTART_FIRST_S = 0.2
RESTART_MAX_S = 5.0
STEADY_AFTER_S = 10.0
"""A process that lived this long starts its next row of restarts from the beginning."""

ACCOUNT = "local"
"""Whose the key is that every start makes."""


class PortInUse(Exception):
    """The API's port belongs to somebody else."""


def up(root: Path, http_port: int, chosen: Mapping[str, str], report: Report) -> int:
    """Runs a stack in the home folder `root` until it is told to stop. Returns the exit code.

    `chosen`: settings for its processes, of processes.CHOICES.

    Raises HomeInUse, PortInUse or PartMissing before anything is started.
    """
    home = open_home(root)
    with locked(home, url=f"http://{LOOPBACK}:{http_port}") as lock:
        _demand_free(http_port)
        postgres.binaries(), nats.binary()
        stack = Stack(home=home, secrets=keep_secrets(home), ports=choose_ports(http_port), chosen=chosen)
        return asyncio.run(supervise(stack, lock, report))


def _demand_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise PortInUse(f"port {port}: {error.strerror}. Choose another one: SKUTRAIL_HTTP_PORT=8081") from error


async def supervise(stack: Stack, lock: int, report: Report) -> int:
    """Runs the stack until it is told to stop, or does not come up. Returns the exit code."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    system = System(stack, report, lock)
    try:
        await _run_until(stopping, system, report)
    except ChildFailed as failure:
        report(str(failure))
        return 1
    finally:
        report("stopping")
        await system.stop()
        stack.home.stack_file.unlink(missing_ok=True)
    return 0


async def _run_until(stopping: asyncio.Event, system: System, report: Report) -> None:
    running = asyncio.create_task(_run(system, report))
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
    for task in (running, asked):
        task.cancel()
    outcome, _ = await asyncio.gather(running, asked, return_exceptions=True)
    if isinstance(outcome, Exception):  # a cancellation is none: that was us
        raise outcome


async def _run(system: System, report: Report) -> None:
    await system.start()
    describe(system.stack)
    report("everything is ready\n\n" + welcome(system.stack, await _fresh_key(system.stack)))
    async with asyncio.TaskGroup() as group:
        for child in system.children.values():
            group.create_task(keep_running(child, report))


async def keep_running(child: Child, report: Report) -> None:
    """Starts a process again whenever it ends, at first at once, then less and less often. Never returns."""
    delay_s = RESTART_FIRST_S
    while True:
        watched_since = time.monotonic()
        await child.wait_ended()
        if time.monotonic() - watched_since > STEADY_AFTER_S:
            delay_s = RESTART_FIRST_S
        report(f"{child.describe_end()}\n    starting {child.name} again in {delay_s:.1f} s")
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, RESTART_MAX_S)
        await child.start()
        await _report_health(child, report)


async def _report_health(child: Child, report: Report) -> None:
    try:
        await child.wait_healthy()
    except ChildFailed as failure:
        if child.is_running():
            report(str(failure))
    else:
        report(f"{child.name} is ready again")


def describe(stack: Stack) -> None:
    """Leaves word of the running stack in its home, for the commands that talk to it."""
    description = {
        "pid": os.getpid(),
        "base_url": stack.base_url,
        "nats_url": stack.nats_url,
        "carrier_url": stack.carrier_url,
        "databases": {name: urls.application for name, urls in stack.databases.items()},
        "owners": {name: urls.owner for name, urls in stack.databases.items()},
    }
    write_private(stack.home.stack_file, json.dumps(description, indent=2))


async def _fresh_key(stack: Stack) -> str:
    """A new key; that of the start before ends, or every start would leave one more that opens the door for ever."""
    url, id_file = stack.databases["gateway"].application, stack.home.key_id_file
    before = id_file.read_text() if id_file.exists() else None
    created = await keys.create_key(url, account=ACCOUNT, mode="test")
    write_private(id_file, created.key.id)
    if before is not None:
        await keys.revoke_key(url, before)
    return created.secret
