"""Who waits for stock, in the order of rank, and what there is for whom. Queries only; the rules are in requests.py.

Asked of the state, not of events: whatever freed the stock, and whoever crashed meanwhile, the next look finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from services.inventory.request_store import RequestKey, SkuKey
from services.inventory.requests import OVERTAKEN_FOR, Policy, StockRequest
from services.inventory.store import Query

# What has expired is nobody's: whoever serves ends it first.
# `left_over`: units of the SKU that are nobody's, less what is kept for those before this one that have waited long.
_QUEUE = """
    WITH waiting AS (
        SELECT l.tenant_id, l.request_id, l.sku, l.missing, a.priority, a.position, a.policy,
               a.created_at <= :overtaken_before AS has_waited_long
        FROM allocation_line l JOIN allocation a USING (tenant_id, request_id)
        WHERE l.missing > 0 AND a.status = 1 AND (a.expires_at IS NULL OR a.expires_at > :now) {among}
    ), stock AS (
        SELECT s.tenant_id, s.sku, CAST(coalesce(sum(b.free), 0) AS bigint) AS units
        FROM (SELECT DISTINCT tenant_id, sku FROM waiting) s LEFT JOIN LATERAL (
            SELECT b.on_hand - b.held + (
                SELECT coalesce(sum(h.open), 0) FROM hold h
                WHERE h.tenant_id = b.tenant_id AND h.sku = b.sku AND h.warehouse = b.warehouse AND h.open > 0
                  AND h.expires_at <= :now
            ) AS free
            FROM balance b LEFT JOIN warehouse w ON w.tenant_id = b.tenant_id AND w.code = b.warehouse
            WHERE b.tenant_id = s.tenant_id AND b.sku = s.sku AND coalesce(w.active, true)
        ) b ON true
        GROUP BY s.tenant_id, s.sku
    ), ranked AS (
        SELECT waiting.*, stock.units - coalesce(sum(CASE WHEN has_waited_long THEN missing ELSE 0 END) OVER (
            PARTITION BY tenant_id, sku ORDER BY priority DESC, position
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) AS left_over
        FROM waiting JOIN stock USING (tenant_id, sku)
    )
    SELECT tenant_id, request_id, priority, has_waited_long,
           jsonb_object_agg(sku, missing) AS missing, jsonb_object_agg(sku, left_over) AS left_over
    FROM ranked GROUP BY tenant_id, request_id, has_waited_long, policy, priority, position
    HAVING CASE WHEN policy = :partial THEN bool_or(left_over > 0) ELSE bool_and(missing <= left_over) END
    ORDER BY priority DESC, position LIMIT :limit
"""
_OF_ALL = text(_QUEUE.format(among=""))
# All lines of those that wait for one of the SKUs: what they miss beside it decides as well.
_OF_SKUS = text(
    _QUEUE.format(
        among="""AND (l.tenant_id, l.request_id) IN (
            SELECT o.tenant_id, o.request_id
            FROM unnest(CAST(:tenants AS text[]), CAST(:skus AS text[])) AS wanted (tenant_id, sku)
            JOIN allocation_line o ON o.tenant_id = wanted.tenant_id AND o.sku = wanted.sku AND o.missing > 0
        )"""
    )
)


# What is kept of each SKU for those that have waited too long, and come before a newcomer of this priority.
_KEPT = text("""
    SELECT l.sku, CAST(sum(l.missing) AS bigint) AS units
    FROM unnest(CAST(:skus AS text[])) AS wanted (sku)
    JOIN allocation_line l ON l.tenant_id = :tenant_id AND l.sku = wanted.sku AND l.missing > 0
    JOIN allocation a USING (tenant_id, request_id)
    WHERE a.status = 1 AND a.created_at <= :overtaken_before AND a.priority >= :priority
        AND (a.expires_at IS NULL OR a.expires_at > :now)
    GROUP BY l.sku
""")


@dataclass(frozen=True)
class Waiting:
    """A request that waits and could be served now."""

    key: RequestKey
    priority: int
    has_waited_long: bool
    missing: Mapping[str, int]
    """Units per SKU."""
    left_over: Mapping[str, int]
    """Units per SKU that there are for it."""

    @property
    def skus(self) -> set[SkuKey]:
        return {(self.key[0], sku) for sku in self.missing}


def serveable(now: datetime, limit: int) -> Query:
    """Those that could be served now, in the order of rank; `waiting_of` takes its rows."""
    return _OF_ALL, _asked(now, limit)


def serveable_of(skus: Iterable[SkuKey], now: datetime, limit: int) -> Query:
    """The same among those that wait for one of the SKUs."""
    tenants, names = zip(*sorted(set(skus)), strict=True)
    return _OF_SKUS, {**_asked(now, limit), "tenants": list(tenants), "skus": list(names)}


def kept_before(request: StockRequest, now: datetime) -> Query:
    """Rows of `sku` and `units`, which a newcomer does not get."""
    return _KEPT, {
        "tenant_id": request.tenant_id,
        "skus": sorted(request.wanted),
        "priority": request.priority,
        "now": now,
        "overtaken_before": now - OVERTAKEN_FOR,
    }


def waiting_of(rows: Iterable[Any]) -> list[Waiting]:
    return [
        Waiting((row.tenant_id, row.request_id), row.priority, row.has_waited_long, row.missing, row.left_over)
        for row in rows
    ]


def _asked(now: datetime, limit: int) -> dict[str, Any]:
    return {"now": now, "overtaken_before": now - OVERTAKEN_FOR, "partial": int(Policy.PARTIAL), "limit": limit}
