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

# Units of a SKU that are nobody's, in the warehouses that give. What has expired is nobody's: whoever serves ends it
# first.
_UNITS = """(
    SELECT coalesce(sum(b.on_hand - b.held + (
        SELECT coalesce(sum(h.open), 0) FROM hold h
        WHERE h.tenant_id = b.tenant_id AND h.sku = b.sku AND h.warehouse = b.warehouse AND h.open > 0
          AND h.expires_at <= :now
    )), 0)
    FROM balance b
    WHERE b.tenant_id = {of}.tenant_id AND b.sku = {of}.sku AND coalesce((
        SELECT w.active FROM warehouse w WHERE w.tenant_id = b.tenant_id AND w.code = b.warehouse
    ), true)
)"""

# The lines that wait for the SKUs of `wanted`.
# OFFSET 0 and LIMIT 1 forbid to turn a look-up round: statistics of an hour when nobody waited would have it done.
_LINES = """
    SELECT tenant_id, request_id, sku, missing FROM allocation_line l
    WHERE l.tenant_id = wanted.tenant_id AND l.sku = wanted.sku AND l.missing > 0 OFFSET 0
"""

# The request of a line `o`, if it waits.
_REQUEST = """
    SELECT priority, position, policy, has_waited_long FROM (
        SELECT status, priority, position, policy, expires_at, created_at <= :overtaken_before AS has_waited_long
        FROM allocation a WHERE a.tenant_id = o.tenant_id AND a.request_id = o.request_id LIMIT 1
    ) a WHERE a.status = 1 AND (a.expires_at IS NULL OR a.expires_at > :now)
"""

# All lines of those that wait for a SKU of which there is something: what they miss beside it decides as well.
# Where there is nothing nobody can be served, however many wait.
# `missing + 0`: by what it misses a line of a request would be sought among all that are missing.
# `left_over`: units of the SKU, less what is kept for those before this one that have waited long. They are asked for
# once per SKU, at its first line: a join of lines and units would be the planner's to choose.
_QUEUE = f"""
    WITH RECURSIVE wanted AS ({{wanted}}), waiting AS (
        SELECT o.tenant_id, o.request_id, l.sku, l.missing, a.*
        FROM (
            SELECT DISTINCT o.tenant_id, o.request_id FROM wanted CROSS JOIN LATERAL ({_LINES}) o
            WHERE {_UNITS.format(of="wanted")} > 0
            ORDER BY o.tenant_id, o.request_id
        ) o CROSS JOIN LATERAL ({_REQUEST}) a CROSS JOIN LATERAL (
            SELECT sku, missing FROM allocation_line l
            WHERE l.tenant_id = o.tenant_id AND l.request_id = o.request_id AND l.missing + 0 > 0 OFFSET 0
        ) l
    ), numbered AS (
        SELECT *, row_number() OVER before AS number,
            sum(CASE WHEN has_waited_long THEN missing ELSE 0 END) OVER before
                - CASE WHEN has_waited_long THEN missing ELSE 0 END AS kept
        FROM waiting
        WINDOW before AS (PARTITION BY tenant_id, sku ORDER BY priority DESC, position ROWS UNBOUNDED PRECEDING)
    ), ranked AS (
        SELECT *, CAST(sum(CASE WHEN number = 1 THEN {_UNITS.format(of="numbered")} ELSE 0 END) OVER (
            PARTITION BY tenant_id, sku ORDER BY priority DESC, position ROWS UNBOUNDED PRECEDING
        ) - kept AS bigint) AS left_over
        FROM numbered
    )
    SELECT tenant_id, request_id, priority, has_waited_long,
           array_agg(sku) AS skus, array_agg(missing) AS missing, array_agg(left_over) AS left_over
    FROM ranked GROUP BY tenant_id, request_id, has_waited_long, policy, priority, position
    HAVING CASE WHEN policy = :partial THEN bool_or(left_over > 0) ELSE bool_and(missing <= left_over) END
    ORDER BY priority DESC, position LIMIT :limit
"""  # noqa: S608 - constants
# From SKU to SKU along the index, past all lines between them.
_OF_ALL = text(
    _QUEUE.format(
        wanted="""
        (SELECT tenant_id, sku FROM allocation_line WHERE missing > 0 ORDER BY tenant_id, sku LIMIT 1)
        UNION ALL
        SELECT next.* FROM wanted CROSS JOIN LATERAL (
            SELECT tenant_id, sku FROM allocation_line l
            WHERE l.missing > 0 AND (l.tenant_id, l.sku) > (wanted.tenant_id, wanted.sku)
            ORDER BY l.tenant_id, l.sku LIMIT 1
        ) next
    """
    )
)
_WANTED = "SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:skus AS text[])) AS wanted (tenant_id, sku)"
_OF_SKUS = text(_QUEUE.format(wanted=_WANTED))

# What is kept of each SKU for those that have waited too long, and come before a newcomer of this priority. Of what is
# not there nothing need be kept.
_KEPT = text(f"""
    WITH wanted AS ({_WANTED})
    SELECT o.sku, CAST(sum(o.missing) AS bigint) AS units
    FROM wanted CROSS JOIN LATERAL ({_LINES}) o CROSS JOIN LATERAL ({_REQUEST}) a
    WHERE {_UNITS.format(of="wanted")} > 0 AND a.has_waited_long AND a.priority >= :priority
    GROUP BY o.sku
""")  # noqa: S608 - constants


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
        "tenants": [request.tenant_id] * len(request.wanted),
        "skus": sorted(request.wanted),
        "priority": request.priority,
        "now": now,
        "overtaken_before": now - OVERTAKEN_FOR,
    }


def waiting_of(rows: Iterable[Any]) -> list[Waiting]:
    return [
        Waiting(
            (row.tenant_id, row.request_id),
            row.priority,
            row.has_waited_long,
            missing=dict(zip(row.skus, row.missing, strict=True)),
            left_over=dict(zip(row.skus, row.left_over, strict=True)),
        )
        for row in rows
    ]


def _asked(now: datetime, limit: int) -> dict[str, Any]:
    return {"now": now, "overtaken_before": now - OVERTAKEN_FOR, "partial": int(Policy.PARTIAL), "limit": limit}
