"""The table of processes, running: all of them started in order, the migration between, and stopped in the reverse."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence

from cli.local import postgres
from cli.local.children import Child, ChildFailed, Process, describe_exit, spawn, tail
from cli.local.processes import DOORS, PROCESSES, SERVICES, STORES, migration_environment
from cli.local.stack import Stack
from cli.provision import provision

Report = Callable[[str], None]


class System:
    """All processes of one stack. Reports every step as a line of text."""

    def __init__(self, stack: Stack, report: Report, lock: int | None = None) -> None:
        self.stack = stack
        self.children = {process.name: Child(process, stack, lock) for process in PROCESSES}
        self._report = report

    async def start(self) -> None:
        """Returns when every process is healthy; raises ChildFailed when one is not. Stop it in either case."""
        is_first = not postgres.data_folder(self.stack).exists()
        self._report(f"starting postgres and nats{' (making the database, this time only)' if is_first else ''}")
        await self._start(STORES)
        await provision(self.stack.postgres_url, self.stack.secrets.role_passwords)
        await self._migrate()
        self._report("starting the services and the gateway")
        await self._start((*SERVICES, *DOORS))

    async def stop(self) -> None:
        for group in (DOORS, SERVICES, STORES):
            await asyncio.gather(*(self._stop_one(self.children[process.name]) for process in group))

    async def _start(self, processes: Sequence[Process]) -> None:
        tasks = [asyncio.create_task(self._start_one(self.children[process.name])) for process in processes]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _start_one(self, child: Child) -> None:
        if child.process.prepare is not None:
            await child.process.prepare(self.stack)
        await child.start()
        await child.wait_healthy()
        self._report(f"{child.name} is ready")

    async def _stop_one(self, child: Child) -> None:
        if not child.is_running():
            return
        if await child.stop():
            self._report(f"{child.name} stopped")
        else:
            self._report(f"{child.name} did not stop within {child.process.stop_within_s:.0f} s and was killed")

    async def _migrate(self) -> None:
        log = self.stack.home.log("migrate")
        migration = await spawn(
            (sys.executable, "-m", "cli", "migrate"),
            log=log,
            folder=self.stack.home.root,
            environment=migration_environment(self.stack),
            death_signal=signal.SIGTERM,
        )
        try:
            code = await migration.wait()
        finally:
            if migration.returncode is None:
                migration.terminate()
                await migration.wait()
        if code != 0:
            raise ChildFailed(f"the migration failed ({describe_exit(code)})\n{tail(log)}")
        self._report("schema and streams are up to date")
