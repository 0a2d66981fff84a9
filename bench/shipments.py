"""From the request to the stock to the label: how many shipments a second, and how long each takes.

They are created through the REST door of a fresh system of their own, with plenty of stock in one warehouse: by clients
that wait for their answers, of any SKU and of one; then at a pace, however fast they are answered.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import psycopg

from bench.check_shipments import ShipmentChecker
from bench.lines import Cell, Findings, Line, Load, Sample
from bench.load import Generators, LoadFailed
from bench.milestones import ALLOCATED, LABEL_READY, Milestones, listening
from bench.plan import HOT, SPREAD, Plan
from bench.processes import cpu_s
from bench.product import TENANT, NotSettled, Product, Start
from bench.results import SHIPMENTS
from bench.rounds import SETTLE_LIMIT_S, WARM_UP, Report
from chassis import rpc
from skutrail.v1 import common_pb2, inventory_pb2, inventory_pb2_grpc

STOCK = 1_000_000_000  # units of each SKU
RECEIPTS_PER_CALL = 250
RECEIPTS_WITHIN_S = 30.0
PACE_MIN = 0.98  # of what a paced line says it offers
OURSELVES = "bench"  # this process: it hears the events, and looks whether all is at rest

_tags = (f"ship{n}" for n in count())


async def take_turns(plan: Plan, lines: list[Line], start: Start, http: Path, report: Report) -> None:
    """Adds a line per cell and then fills them: a run that is cut short keeps what it has."""
    begun = [Line(SHIPMENTS, cell, []) for cell in _cells(plan)]
    lines += begun
    report("shipments: starting a system of their own, and putting stock into it")
    async with _opened(start, http) as shipping:
        await shipping.measure(WARM_UP, plan.drain_s, 1, report, what="warm-up, ")
        for _ in range(plan.repetitions):
            for line in begun:
                seconds = plan.paced_s if line.cell.per_second else plan.shipping_s
                line.samples.append(await shipping.measure(line.cell, plan.drain_s, seconds, report))


def _cells(plan: Plan) -> list[Cell]:
    spread, hot = Cell(SPREAD, plan.shipping_clients), Cell(HOT, plan.shipping_clients)
    return [spread, hot, replace(spread, clients=0, per_second=plan.paced_per_second)]


@asynccontextmanager
async def _opened(start: Start, http: Path) -> AsyncIterator[_Shipping]:
    async with AsyncExitStack() as stack:
        product = await stack.enter_async_context(start())
        await _receive_stock(product.stack.address("inventory"))
        databases = {
            name: await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(product.database_url(f"skutrail_{name}"), autocommit=True)
            )
            for name in ("shipments", "inventory")
        }
        checker = ShipmentChecker(**databases, tenant=TENANT)
        milestones = await stack.enter_async_context(listening(product.nats))
        yield _Shipping(product, Generators(product.folder, http), checker, milestones)


@dataclass(frozen=True)
class _Shipping:
    product: Product
    generators: Generators
    checker: ShipmentChecker
    milestones: Milestones

    async def measure(self, cell: Cell, drain_s: int, seconds: int, report: Report, what: str = "") -> Sample | None:
        """One load, what followed from it, and the check. None where the load failed, which is reported."""
        tag, where = next(_tags), f"{what}{SHIPMENTS}, {cell.skus:,} SKUs, {cell.offered}"
        try:
            await self.product.settle(SETTLE_LIMIT_S)  # a load that failed may have left work behind
            self.milestones.forget()
            before = self._cpu_s()
            load = await self._load(cell, seconds, tag)
            ended = time.monotonic()
            await self.milestones.wait_for_labels(load.accepted, drain_s)
            await self.product.settle(SETTLE_LIMIT_S)
        except (LoadFailed, NotSettled) as failure:
            report(f"{where}: VOID: {failure}")
            return None
        settled_s, after = time.monotonic() - ended, self._cpu_s()
        sample = Sample(
            load=load,
            findings=await self._check(cell, load, tag),
            settled_s=settled_s,
            cpu_us={name: (after[name] - before[name]) * 1e6 / max(load.accepted, 1) for name in after},
            journeys={kind: self.milestones.journey(kind) for kind in (ALLOCATED, LABEL_READY)},
        )
        report(f"{where}: {_told(sample)}")
        return sample

    async def _load(self, cell: Cell, seconds: int, tag: str) -> Load:
        url, api_keys = self.product.stack.base_url, self.product.api_keys
        if cell.per_second:
            return await self.generators.paced_load(url, cell, api_keys=api_keys, seconds=seconds, tag=tag)
        return await self.generators.http_load(url, cell, kind="ship", api_keys=api_keys, seconds=seconds, tag=tag)

    async def _check(self, cell: Cell, load: Load, tag: str) -> Findings:
        told = self.milestones.told()
        findings = await self.checker.check(accepted=load.accepted, sent=load.sent, tag=tag, told=told)
        offered = load.sent / load.seconds
        if offered < cell.per_second * PACE_MIN:
            fault = f"{offered:.1f}/s were offered in place of {cell.per_second}/s"
            return replace(findings, faults=[*findings.faults, fault])
        return findings

    def _cpu_s(self) -> dict[str, float]:
        return {**cpu_s(self.product.pids()), OURSELVES: time.process_time()}


async def _receive_stock(address: str) -> None:
    """STOCK of every SKU, through the ledger, as any receipt comes."""
    channel = rpc.channel(address)
    stub = inventory_pb2_grpc.InventoryStub(channel)
    try:
        for first in range(1, SPREAD + 1, RECEIPTS_PER_CALL):
            movements = [_receipt(sku) for sku in range(first, first + RECEIPTS_PER_CALL)]
            request = inventory_pb2.RecordMovementsRequest(movements=movements)
            reply = await stub.RecordMovements(request, timeout=RECEIPTS_WITHIN_S)
            assert all(outcome.HasField("entry") for outcome in reply.outcomes), reply
    finally:
        await channel.close()


def _receipt(sku: int) -> inventory_pb2.Movement:
    return inventory_pb2.Movement(
        tenant_id=TENANT,
        idempotency=common_pb2.IdempotencyKey(key=f"stock-{sku}", fingerprint=bytes(32)),
        sku=f"SKU-{sku}",
        warehouse="SEA-1",
        qty=STOCK,
        reason=inventory_pb2.REASON_RECEIPT,
    )


def _told(sample: Sample) -> str:
    allocated, labelled = sample.journeys[ALLOCATED], sample.journeys[LABEL_READY]
    faults = sample.findings.faults
    verdict = f"VOID: {'; '.join(faults)}" if faults else "checked"
    return (
        f"{sample.load.per_second:,.0f}/s accepted, {allocated.per_second:,.0f}/s allocated"
        f" (p50 {allocated.p50_ms:,.0f} ms, p99 {allocated.p99_ms:,.0f} ms), {labelled.per_second:,.0f}/s label_ready"
        f" (p99 {labelled.p99_ms:,.0f} ms), {verdict}"
    )
