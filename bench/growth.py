"""How cost grows: writes/s against the length of a chain, the number of SKUs, and of tenants. Flat is the goal.

The chain grows in a fresh system of its own, so that what is long is not taken for what is many.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.competitors import Competitor, Ledger, opened, rest
from bench.lines import Cell, Line
from bench.load import Generators
from bench.plan import HOT, SPREAD, Plan
from bench.product import Product, Start
from bench.rounds import Report, Turn, take_turns, warm_up


async def of_the_chain(plan: Plan, start: Start, http: Path, report: Report) -> AsyncGenerator[Line, None]:
    """One hot SKU whose chain, and with it the trail, gets longer."""
    async with _alone(start, http) as (_, _, ledger, competitor):
        await warm_up([competitor], report)
        for length in plan.chain_lengths:
            if length and length < await ledger.longest_chain():
                continue  # the loads before have grown past it
            report(f"filling the trail to {length:,} entries")
            await ledger.fill(skus=HOT, length=length)
            yield await _measure(plan, competitor, Cell(HOT, plan.growth_clients), report, entries=length)


async def of_tenants_and_skus(plan: Plan, start: Start, http: Path, report: Report) -> AsyncGenerator[Line, None]:
    """The same number of chains shared by more and more API keys, each of an account of its own; then more chains."""
    async with _alone(start, http) as (product, generators, ledger, competitor):
        await warm_up([competitor], report)
        for tenants in plan.tenant_counts:
            many = rest(product, generators, ledger, await product.create_api_keys(tenants))
            cell = Cell(SPREAD // tenants, plan.growth_clients, tenants=tenants)
            yield await _measure(plan, many, cell, report, tenants=tenants)
        for skus in plan.sku_counts:
            report(f"filling in {skus:,} SKUs")
            await ledger.fill(skus=skus, length=1)
            yield await _measure(plan, competitor, Cell(skus, plan.growth_clients), report, skus=skus)


@asynccontextmanager
async def _alone(start: Start, http: Path) -> AsyncIterator[tuple[Product, Generators, Ledger, Competitor]]:
    async with (
        start() as product,
        opened(product.database_url("skutrail_inventory"), product.settle) as ledger,
    ):
        generators = Generators(product.folder, http)
        yield product, generators, ledger, rest(product, generators, ledger)


async def _measure(plan: Plan, competitor: Competitor, cell: Cell, report: Report, **note: int) -> Line:
    lines: list[Line] = []
    await take_turns([Turn(cell, [competitor])], lines, plan=plan, report=report, note=note)
    return lines[0]
