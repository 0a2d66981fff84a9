"""Holds that do not add up, and requests that wait for stock that is there. Chains: `skutrail verify`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.clock import utc_now
from cli.diagnosis.check import FOUND_MAX, Check, Finding, Sources
from services.inventory import queue_store
from services.inventory.request_store import RequestKey

SERVED_WITHIN_S = 10.0

_HELD_WRONG = text("""
    SELECT tenant_id, sku, warehouse, coalesce(b.held, 0) AS held, coalesce(h.open, 0) AS open
    FROM (SELECT tenant_id, sku, warehouse, held FROM balance WHERE held > 0) b
    FULL JOIN (
        SELECT tenant_id, sku, warehouse, sum(open) AS open FROM hold WHERE open > 0 GROUP BY 1, 2, 3
    ) h USING (tenant_id, sku, warehouse)
    WHERE coalesce(b.held, 0) <> coalesce(h.open, 0)
    ORDER BY 1, 2, 3 LIMIT :limit
""")


async def held_wrong(sources: Sources) -> Sequence[Finding]:
    async with sources.read("inventory") as tx:
        rows = await tx.execute(_HELD_WRONG, {"limit": FOUND_MAX})
        return [
            Finding(
                f"{row.sku} in {row.warehouse}",
                f"held is {row.held}, open holds are {row.open} ({row.tenant_id})",
                "A defect: keep a copy of balance and hold, run skutrail verify, and report it",
                place=row.tenant_id,
            )
            for row in rows
        ]


async def unserved(sources: Sources) -> Sequence[Finding]:
    async with sources.read("inventory") as tx:
        return [
            Finding(
                request_id,
                f"waits, though its stock is there, for {SERVED_WITHIN_S:.0f} s and more ({tenant_id})",
                "See whether inventory runs; then waking.postponed and requests.not_served in its log",
            )
            for tenant_id, request_id in await _serveable(tx)
        ]


async def _serveable(tx: AsyncConnection) -> Sequence[RequestKey]:
    """Those that the service itself would take up."""
    rows = await tx.execute(*queue_store.serveable(utc_now(), FOUND_MAX))
    return [waiting.key for waiting in queue_store.waiting_of(rows)]


CHECKS = (
    Check("inventory: held", held_wrong),
    Check("inventory: unserved", unserved, again_after_s=SERVED_WITHIN_S),
)
