"""The workers of a process: they stop together, and one that dies takes the process with it."""

import asyncio
from dataclasses import dataclass, field

import pytest
import structlog

from chassis.process import run_workers


@dataclass
class Loop:
    name: str
    steps: list[str]
    error: Exception | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        if self.error is not None:
            raise self.error
        await self.stopping.wait()
        self.steps.append(f"{self.name} finished")

    def stop(self) -> None:
        self.steps.append(f"{self.name} told")
        self.stopping.set()


@dataclass
class Door:
    steps: list[str]

    async def close(self) -> None:
        self.steps.append("door closed")


async def test_the_door_closes_before_the_workers_are_told_and_all_of_them_finish() -> None:
    steps: list[str] = []
    stopping = asyncio.Event()
    workers = [Loop("relay", steps), Loop("consumer", steps)]
    running = asyncio.create_task(run_workers(workers, stopping, asyncio.Event(), drain=Door(steps).close))

    stopping.set()
    await running

    assert steps == ["door closed", "relay told", "consumer told", "relay finished", "consumer finished"]


async def test_a_worker_that_dies_ends_the_process_and_the_others_finish_first() -> None:
    steps: list[str] = []
    workers = [Loop("relay", steps), Loop("consumer", steps, error=ZeroDivisionError("no number"))]

    with structlog.testing.capture_logs() as lines, pytest.raises(SystemExit) as ended:
        await run_workers(workers, asyncio.Event(), asyncio.Event(), drain=Door(steps).close)

    assert ended.value.code == 1
    assert "relay finished" in steps
    assert [line["worker"] for line in lines if line["event"] == "worker.ended"] == ["consumer"]


async def test_a_nats_connection_that_is_closed_for_good_ends_the_process() -> None:
    closed = asyncio.Event()
    closed.set()

    with pytest.raises(SystemExit) as ended:
        await run_workers([Loop("relay", [])], asyncio.Event(), closed, drain=Door([]).close)

    assert ended.value.code == 1
