"""A process from its first signal to its last: run, say ready, drain, leave.

Drain order: NOT_SERVING, refuse new calls, finish those under way, stop the workers, close the database, drain NATS.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import grpc
import uvloop

from chassis import logs
from chassis.clock import utc_now
from chassis.config import ServiceSettings
from chassis.database import Database, create_engine
from chassis.housekeeping import Housekeeper, Purge
from chassis.jetstream import Nats
from chassis.logs import log
from chassis.outbox import Relay
from chassis.rpc import Server

WORKER_STOP_S = 18.0  # a webhook attempt may take 15
GARBAGE_MIN = 20_000  # objects more than before, until the collector looks


class Worker(Protocol):
    """A loop beside the calls: relay, consumer, sweeper. `stop` lets it finish what is under way."""

    name: str

    async def run(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Resources:
    """What the chassis builds for a service."""

    database: Database
    nats: Nats
    relay: Relay


@dataclass(frozen=True)
class Service:
    """What a service's __main__ puts together."""

    add_servicer: Callable[[grpc.aio.Server], None]
    service_name: str  # of the contract, for reflection
    workers: Sequence[Worker] = ()
    purges: Sequence[Purge] = ()  # what the service keeps, and for how long
    close: Sequence[Callable[[], Awaitable[None]]] = field(default_factory=tuple)


def run(name: str, main: Callable[[asyncio.Event], Awaitable[None]], log_level: str) -> None:
    """Runs a process until SIGTERM or SIGINT sets the event; exits non-zero when main fails."""
    logs.configure(name, log_level)
    # What was imported stays: looked through again and again, it would cost more than it ever frees.
    gc.freeze()
    gc.set_threshold(GARBAGE_MIN)
    uvloop.run(_until_signal(name, main))


def run_service(name: str, settings: ServiceSettings, wire: Callable[[Resources], Awaitable[Service]]) -> None:
    """Runs a gRPC service with its relay, housekeeper and workers."""

    async def main(stopping: asyncio.Event) -> None:
        database = Database(create_engine(settings.database_url))
        nats = Nats(settings.nats_url, name)
        resources = Resources(database, nats, Relay(database.engine, nats))
        service = await wire(resources)
        housekeeper = Housekeeper(database, utc_now, service.purges, events_kept=settings.events_kept)
        workers: list[Worker] = [resources.relay, housekeeper, *service.workers]
        # Ready means that calls can be answered. Without NATS they can: events wait in the outbox.
        server = Server(settings.grpc_listen, ready=database.is_up)
        await server.start(service.add_servicer, [service.service_name])
        log.info("process.started", listen=settings.grpc_listen)
        try:
            await run_workers(workers, stopping, nats.closed, drain=server.stop)
        finally:
            for close in service.close:
                await close()
            await database.engine.dispose()
            await nats.close()

    run(name, main, settings.log_level)


async def run_workers(
    workers: Sequence[Worker], stopping: asyncio.Event, closed: asyncio.Event, drain: Callable[[], Awaitable[None]]
) -> None:
    """Runs the workers until `stopping`; then drains and lets them finish. A worker that dies ends the process."""
    tasks = [asyncio.create_task(worker.run(), name=worker.name) for worker in workers]
    waits = [asyncio.create_task(stopping.wait()), asyncio.create_task(closed.wait())]
    await asyncio.wait([*tasks, *waits], return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in tasks if task.done()]
    await drain()
    for worker in workers:
        worker.stop()
    _, late = await asyncio.wait(tasks, timeout=WORKER_STOP_S)
    for task in [*late, *waits]:
        task.cancel()
    await asyncio.wait([*late, *waits])  # nobody may still use the database when it closes
    if late:
        log.error("drain.incomplete", workers=[task.get_name() for task in late])
    for task in failed:
        log.error("worker.ended", worker=task.get_name(), exc_info=task.exception())
    if failed or closed.is_set():
        raise SystemExit(1)


async def _until_signal(name: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await main(stopping)
    except Exception:  # noqa: BLE001 - the last line of defence: logged, then the process ends non-zero
        log.exception("process.failed")
        sys.exit(1)
    log.info("process.stopped")
