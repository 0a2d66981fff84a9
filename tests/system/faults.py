"""What is done to the processes of a running system, and to all of them that belong together at once."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import psutil

from cli.local.children import Child
from cli.local.stack import LOOPBACK
from cli.local.supervisor import keep_running
from tests.running import RunningStack


def kill(stack: RunningStack, name: str) -> None:
    """kill -9 of a process and of all that it started: of PostgreSQL nothing may stay behind and finish its work."""
    _signal(stack, name, signal.SIGKILL)


@asynccontextmanager
async def kept_running(stack: RunningStack) -> AsyncIterator[None]:
    """Whatever ends inside the block is started again, by what does that in `skutrail up`."""
    children = stack.system.children.values()
    tasks = [asyncio.create_task(keep_running(child, report=print)) for child in children]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def frozen(stack: RunningStack, name: str) -> AsyncIterator[None]:
    """A process that is there and does not answer, inside the block."""
    _signal(stack, name, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(stack, name, signal.SIGCONT)


@asynccontextmanager
async def away(stack: RunningStack, name: str, number: signal.Signals) -> AsyncIterator[None]:
    """A process that was ended by a signal inside the block, and is healthy again behind it."""
    await stack.kill(name, number)
    try:
        yield
    finally:
        await stack.restart(name)


@asynccontextmanager
async def armed(stack: RunningStack, name: str, failpoint: str) -> AsyncIterator[asyncio.Task[float]]:
    """A process that dies at a failpoint, once, and is started again as it always was.

    The task ends when it is healthy again, with the instant of its death (time.monotonic()); behind the block it is
    healthy in any case.
    """
    await stack.kill(name)
    child = stack.system.children[name]
    unarmed = child.process
    *python, module = unarmed.command(child.stack)
    child.process = replace(unarmed, command=lambda _: (*python, "tests.system.armed", failpoint, module))
    await child.start()
    child.process = unarmed
    dying = asyncio.create_task(_start_again(child))
    try:
        await child.wait_healthy()
        yield dying
    finally:
        dying.cancel()
        await asyncio.wait([dying])
        if dying.cancelled() or dying.exception():
            await stack.restart(name)


async def _start_again(child: Child) -> float:
    code = await child.wait_ended()
    died = time.monotonic()
    assert code == -signal.SIGKILL, child.describe_end()
    await child.start()
    await child.wait_healthy()
    return died


async def listens(stack: RunningStack, name: str) -> bool:
    """Whether a new connection is taken: a process that drains takes none."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, stack.system.stack.ports[name])
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it was queued when the listener closed
        return False
    writer.close()
    return True


def _signal(stack: RunningStack, name: str, number: signal.Signals) -> None:
    running = stack.system.children[name].running
    assert running is not None
    parent = psutil.Process(running.pid)
    for process in (parent, *parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
