"""`make bench`: one run, one report. Exit code 1 where a check failed or something could not be measured, else 0.

A bar that is not met is a finding, not a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from bench import growth, memory, plots, product, shipments
from bench.competitors import BATCHED, GRPC, MONOLITH, PGBENCH, READ, REST, Competitor, all_of
from bench.lines import Cell
from bench.load import GeneratorMissing, Generators, find_http_generator
from bench.machine import describe
from bench.plan import FULL, HOT, QUICK, SPREAD, Plan
from bench.product import Product, Start, set_flush_delay
from bench.report import as_json, as_text
from bench.results import GROUPS, GROWTH, LEDGER, SHIPMENTS, Results
from bench.rounds import Report, Turn, take_turns, warm_up

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same steps, each as short as can be")
    parser.add_argument("--memory-minutes", type=float, help="how long memory is watched (full run: 10)")
    parser.add_argument("--only", action="append", choices=GROUPS, help="this group alone; may be given again")
    chosen = parser.parse_args(arguments)
    plan = QUICK if chosen.quick else FULL
    if chosen.memory_minutes is not None:
        plan = replace(plan, memory_s=round(chosen.memory_minutes * 60))
    try:
        http = find_http_generator()
    except GeneratorMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    results = Results(plan, [group for group in GROUPS if group in (chosen.only or GROUPS)])
    asyncio.run(_run(results, http, _stamped))
    _keep(results)
    print(as_text(results))
    return 0 if results.is_sound else 1


async def _run(results: Results, http: Path, report: Report) -> None:
    """Ends by itself, at the latest after plan.limit_s, and leaves no process behind; so it does when it is told to."""
    plan, start = results.plan, _starting(results, http)
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        async with asyncio.timeout(plan.limit_s):
            for group in results.groups:
                await _GROUPS[group](results, start, http, report)
    except TimeoutError:
        results.trouble.append(f"the run took longer than {plan.limit_s} s")
    except asyncio.CancelledError:
        results.trouble.append("the run was told to stop")
    except Exception as error:  # noqa: BLE001 - told in the report: what was measured before must not be lost with it
        traceback.print_exc()
        results.trouble.append(f"{type(error).__name__}: {error}")


def _starting(results: Results, http: Path) -> Start:
    """The first that is started is described in the head: all are alike."""

    @asynccontextmanager
    async def start() -> AsyncIterator[Product]:
        async with product.running() as started:
            results.head = results.head or await describe(started, http)
            yield started

    return start


async def _compete(results: Results, start: Start, http: Path, report: Report) -> None:
    """Everybody in every cell; then the flush; then our own memory, once the processes have seen all that."""
    plan = results.plan
    report("starting PostgreSQL, NATS, the services and the gateway")
    async with (
        start() as skutrail,
        await psycopg.AsyncConnection.connect(skutrail.stack.postgres_url, autocommit=True) as server,
        all_of(skutrail, Generators(skutrail.folder, http), plan) as who,
    ):
        await warm_up(list(who.values()), report)
        turns = [turn for skus in (HOT, SPREAD) for turn in _turns(plan, who, skus)]
        await take_turns(turns, results.lines, plan=plan, report=report)
        await set_flush_delay(server, plan.flush_ms)
        cells = [Cell(skus, plan.flush_clients, plan.flush_ms) for skus in (HOT, SPREAD)]
        slow = [Turn(cell, [who[PGBENCH], who[MONOLITH], who[REST]]) for cell in cells]
        await take_turns(slow, results.lines, plan=plan, report=report)
        await set_flush_delay(server, 0)
        results.memory = await memory.watch(skutrail, who[REST], plan, report)


async def _grow(results: Results, start: Start, http: Path, report: Report) -> None:
    for grow in (growth.of_the_chain, growth.of_tenants_and_skus):
        async with aclosing(grow(results.plan, start, http, report)) as lines:
            async for line in lines:
                results.add_growth(line)


async def _ship(results: Results, start: Start, http: Path, report: Report) -> None:
    await shipments.take_turns(results.plan, results.shipments, start, http, report)


_GROUPS: Mapping[str, Callable[[Results, Start, Path, Report], Awaitable[None]]] = {
    LEDGER: _compete,
    GROWTH: _grow,
    SHIPMENTS: _ship,
}


def _turns(plan: Plan, who: Mapping[str, Competitor], skus: int) -> Sequence[Turn]:
    single = [who[PGBENCH], who[MONOLITH], who[REST], who[READ]]
    return [
        *(Turn(Cell(skus, clients), single) for clients in plan.clients),
        Turn(Cell(skus, plan.callers), [who[BATCHED], who[GRPC]]),
    ]


def _keep(results: Results) -> None:
    folder = RESULTS / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder.mkdir(parents=True)
    (folder / "report.txt").write_text(as_text(results))
    (folder / "report.json").write_text(as_json(results))
    plots.draw(results, folder)
    print(f"\nreport.txt, report.json and pictures are in bench/results/{folder.name}\n")


def _stamped(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
