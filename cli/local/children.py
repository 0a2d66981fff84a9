"""Starting, watching and ending the processes of a stack. Knows nothing of what they are: that is `processes.py`."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import Process as Running
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.local import tether
from cli.local.stack import Stack

HEALTH_POLL_S = 0.1
KILL_WITHIN_S = 5.0
LOG_TAIL_LINES = 12
_LOG_TAIL_BYTES = 16 * 1024


class ChildFailed(Exception):
    """A process ended, or did not become healthy in time. The text names it and ends with the last lines of its log."""


class PartMissing(Exception):
    """A program of the stack is not installed."""


@dataclass(frozen=True)
class RunAs:
    """Another user to run as. `keeps_dac_override`: may pass folders that bar that user's way."""

    user: str
    keeps_dac_override: bool


@dataclass(frozen=True, kw_only=True)
class Process:
    """What one process of a stack is. Everything about it follows from the Stack it runs in."""

    name: str
    command: Callable[[Stack], Sequence[str]]
    environment: Callable[[Stack], Mapping[str, str]]
    """What it needs beside PATH, HOME and LANG: a child inherits nothing else."""
    is_healthy: Callable[[Stack], Awaitable[bool]]
    prepare: Callable[[Stack], Awaitable[None]] | None = None
    """Runs once per stack, before the first start, while no process of the home lives."""
    run_as: Callable[[Stack], RunAs | None] = lambda _: None
    stop_signal: signal.Signals = signal.SIGTERM
    """Asked to stop with it; also sent by the kernel when the supervisor dies."""
    stop_within_s: float = 20.0
    healthy_within_s: float = 60.0


@dataclass
class Child:
    """A process of a stack, started any number of times."""

    process: Process
    stack: Stack
    lock: int | None = None
    """The home's lock, held by the child too (see home.locked)."""
    running: Running | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def log_file(self) -> Path:
        return self.stack.home.log(self.name)

    async def start(self) -> None:
        self.running = await spawn(
            self.process.command(self.stack),
            log=self.log_file,
            folder=self.stack.home.root,
            environment=self.process.environment(self.stack),
            death_signal=self.process.stop_signal,
            run_as=self.process.run_as(self.stack),
            lock=self.lock,
        )

    def is_running(self) -> bool:
        return self.running is not None and self.running.returncode is None

    async def wait_ended(self) -> int:
        """Returns the exit code, negative for a signal."""
        assert self.running is not None
        return await self.running.wait()

    async def wait_healthy(self) -> None:
        """Raises ChildFailed when the process ends first, or takes longer than it should."""
        deadline = time.monotonic() + self.process.healthy_within_s
        while not await self.process.is_healthy(self.stack):
            if not self.is_running():
                raise ChildFailed(self.describe_end())
            if time.monotonic() > deadline:
                limit_s = self.process.healthy_within_s
                raise ChildFailed(f"{self.name} did not become healthy within {limit_s:.0f} s\n{self.log_tail()}")
            await asyncio.sleep(HEALTH_POLL_S)

    async def stop(self) -> bool:
        """Asks it to stop, and kills it when it does not. Returns whether it stopped by itself."""
        if self.running is None or not self.is_running():
            return True
        self.running.send_signal(self.process.stop_signal)
        try:
            await asyncio.wait_for(self.running.wait(), self.process.stop_within_s)
        except TimeoutError:
            await self.kill(signal.SIGKILL)
            return False
        return True

    async def kill(self, number: signal.Signals) -> None:
        """Sends a signal that ends it, and waits until it has ended."""
        assert self.running is not None
        if self.is_running():
            self.running.send_signal(number)
        await asyncio.wait_for(self.running.wait(), KILL_WITHIN_S)

    def describe_end(self) -> str:
        code = self.running.returncode if self.running else None
        return f"{self.name} ended ({describe_exit(code)})\n{self.log_tail()}"

    def log_tail(self) -> str:
        return tail(self.log_file)


async def spawn(
    command: Sequence[str],
    *,
    log: Path,
    folder: Path,
    environment: Mapping[str, str],
    death_signal: signal.Signals,
    run_as: RunAs | None = None,
    lock: int | None = None,
) -> Running:
    """Starts a program tethered to this process (see tether.py), its output appended to `log`.

    It gets a process group of its own, so that ^C in the terminal reaches the supervisor alone, and for its whole
    environment PATH, HOME, LANG and `environment`.
    """
    user, keeps = (run_as.user, run_as.keeps_dac_override) if run_as else ("-", False)
    ties = [str(os.getpid()), str(int(death_signal)), user, str(int(keeps))]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", tether.__file__, *ties, *command),
            cwd=folder,
            env={"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8", **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            pass_fds=() if lock is None else (lock,),
        )
    finally:
        os.close(output)


_EVERYDAY = ('"level": "info"', "[INF]", " LOG:  ")
"""How our processes, nats-server and PostgreSQL mark what is no trouble."""


def tail(log: Path) -> str:
    """The last lines of a log but those of everyday work, indented to stand below a line of ours."""
    if not log.exists():
        return "    (no log)"
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
        lines = stream.read().decode(errors="replace").splitlines()
    unusual = [line for line in lines if not any(mark in line for mark in _EVERYDAY)][-LOG_TAIL_LINES:]
    return "\n".join(f"    {line}" for line in unusual) or f"    (nothing unusual in {log})"


def describe_exit(code: int | None) -> str:
    if code is None:
        return "never started"
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
