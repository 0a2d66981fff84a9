"""The table of processes, running: all of them started in order, and stopped in the reverse."""

import asyncio
from collections.abc import Callable, Sequence

from cli.local import migration, nats, postgres
from cli.local.children import Child, Process
from cli.local.processes import CARRIERS, DOORS, PROCESSES, SERVICES, STORES
from cli.local.stack import Stack

Report = Callable[[str], None]


class System:
    """All processes of one stack. Reports every step as a line of text."""

    def __init__(self, stack: Stack, report: Report, lock: int | None = None) -> None:
        self.stack = stack
        self.children = {process.name: Child(process, stack, lock) for process in PROCESSES}
        self._report = report

    async def start(self) -> None:
        """Returns when every process is healthy; raises ChildFailed when one is not. Stop it in either case."""
        is_first = self._has_new_store()
        self._report("starting postgres and nats" + (" (the first start makes the databases)" if is_first else ""))
        if is_first:
            migration.forget(self.stack)
        await self._start(STORES)
        await migration.bring_up_to_date(self.stack)
        self._report("schema and streams are up to date; starting the services, the gateway and the sandbox carrier")
        await self._start((*CARRIERS, *SERVICES, *DOORS))

    async def stop(self) -> None:
        for group in (DOORS, SERVICES, (*CARRIERS, *STORES)):
            await asyncio.gather(*(self._stop_one(self.children[process.name]) for process in group))

    def _has_new_store(self) -> bool:
        return not (postgres.data_folder(self.stack).exists() and nats.data_folder(self.stack).exists())

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
