"""What is remembered of requests for stock and of their holds. Queries only, no rules.

A hold is the sum of its facts: they are only ever added (`hold_fact`), and the row of the hold carries their sums.
Every query is sent through a Pipeline (chassis/pipeline.py); the lock order is that of store.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from services.inventory.domain import StockKey
from services.inventory.requests import (
    AllocationStatus,
    Hold,
    HoldChange,
    HoldFact,
    Policy,
    StockRequest,
)
from services.inventory.sourcing import Coordinates, Site
from services.inventory.store import HAS_MOVED, Query

RequestKey = tuple[str, str]  # tenant, request
SkuKey = tuple[str, str]  # tenant, SKU
Units = Mapping[RequestKey, Mapping[str, int]]  # by SKU

_WAREHOUSES_MAX = 10_000  # per SKU

_PAIRS = "unnest(CAST(:tenants AS text[]), CAST(:{names} AS text[]))"
_REQUESTS = _PAIRS.format(names="requests") + " AS wanted (tenant_id, request_id)"
_SKUS = _PAIRS.format(names="skus") + " AS wanted (tenant_id, sku)"

# LATERAL with LIMIT: one look-up by index per wanted row, however little the planner knows about the table.
_FIND_REQUESTS = f"""
    SELECT a.*, (
        SELECT jsonb_agg(jsonb_build_array(l.sku, l.qty) ORDER BY l.sku) FROM allocation_line l
        WHERE l.tenant_id = a.tenant_id AND l.request_id = a.request_id
    ) AS lines
    FROM {_REQUESTS} CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, status, version, policy, priority, expires_at, latitude, longitude, created_at
        FROM allocation a
        WHERE a.tenant_id = wanted.tenant_id AND a.request_id = wanted.request_id LIMIT 1 {{lock}}
    ) a
"""  # noqa: S608 - constants
_FIND = text(_FIND_REQUESTS.format(lock=""))
_LOCK = text(_FIND_REQUESTS.format(lock="FOR UPDATE"))

# Status and holds in one statement, so in one snapshot.
_DESCRIBE = text(f"""
    SELECT a.tenant_id, a.request_id, a.status, a.version, h.sku, h.warehouse, h.open, h.consumed
    FROM {_REQUESTS} CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, status, version FROM allocation a
        WHERE a.tenant_id = wanted.tenant_id AND a.request_id = wanted.request_id LIMIT 1
    ) a LEFT JOIN hold h ON h.tenant_id = a.tenant_id AND h.request_id = a.request_id
    ORDER BY a.tenant_id, a.request_id, h.sku, h.warehouse
""")  # noqa: S608 - constants

# A row per line, and one where there are none.
_DECISION = text("""
    SELECT a.plan, a.expires_at, l.sku, coalesce(l.missing, 0) AS missing
    FROM allocation a LEFT JOIN allocation_line l USING (tenant_id, request_id)
    WHERE a.tenant_id = :tenant_id AND a.request_id = :request_id ORDER BY l.sku
""")

_ADD_REQUESTS = text("""
    INSERT INTO allocation (tenant_id, request_id, status, policy, priority, expires_at, latitude, longitude, plan,
        created_at)
    SELECT *, CAST(:now AS timestamptz) FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]),
        CAST(:statuses AS smallint[]), CAST(:policies AS smallint[]), CAST(:priorities AS smallint[]),
        CAST(:expiries AS timestamptz[]), CAST(:latitudes AS double precision[]),
        CAST(:longitudes AS double precision[]), CAST(:plans AS bytea[]))
""")

# What changes rows is an upsert of rows that are there: found by the primary key, whatever the planner thinks of
# the table. The looked up values are those of columns that may not be empty; only what stands behind SET changes.
_CHANGE_REQUESTS = text("""
    INSERT INTO allocation AS a (tenant_id, request_id, position, created_at, status, plan) OVERRIDING SYSTEM VALUE
    SELECT known.*, n.status, n.plan
    FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:statuses AS smallint[]),
        CAST(:plans AS bytea[])) AS n (tenant_id, request_id, status, plan)
    CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, position, created_at FROM allocation k
        WHERE k.tenant_id = n.tenant_id AND k.request_id = n.request_id LIMIT 1
    ) known
    ON CONFLICT (tenant_id, request_id) DO UPDATE
        SET status = excluded.status, version = a.version + 1, plan = coalesce(excluded.plan, a.plan)
""")

_ADD_LINES = text("""
    INSERT INTO allocation_line (tenant_id, request_id, sku, qty, missing)
    SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:skus AS text[]),
        CAST(:qtys AS bigint[]), CAST(:missing AS bigint[]))
""")

_SET_MISSING = text("""
    INSERT INTO allocation_line (tenant_id, request_id, sku, qty, missing)
    SELECT known.*, n.missing
    FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:skus AS text[]), CAST(:missing AS bigint[]))
        AS n (tenant_id, request_id, sku, missing)
    CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, sku, qty FROM allocation_line k
        WHERE k.tenant_id = n.tenant_id AND k.request_id = n.request_id AND k.sku = n.sku LIMIT 1
    ) known
    ON CONFLICT (tenant_id, request_id, sku) DO UPDATE SET missing = excluded.missing
""")

# Whoever waits again misses all that was not picked; whoever ended misses nothing.
_MISS_ALL = text(f"""
    INSERT INTO allocation_line AS l (tenant_id, request_id, sku, qty)
    SELECT known.*
    FROM {_REQUESTS} CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, sku, qty FROM allocation_line k
        WHERE k.tenant_id = wanted.tenant_id AND k.request_id = wanted.request_id LIMIT 100000
    ) known
    ON CONFLICT (tenant_id, request_id, sku) DO UPDATE
        SET missing = CASE WHEN :waits THEN l.qty - l.consumed ELSE 0 END
""")  # noqa: S608 - constants

_ADD_FACTS = text("""
    INSERT INTO hold_fact (tenant_id, request_id, sku, warehouse, fact, units, at)
    SELECT *, CAST(:now AS timestamptz) FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]),
        CAST(:skus AS text[]), CAST(:warehouses AS text[]), CAST(:facts AS smallint[]), CAST(:units AS bigint[]))
""")

_ADD_HOLDS = text("""
    INSERT INTO hold AS h (tenant_id, request_id, sku, warehouse, open, expires_at)
    SELECT n.*, (SELECT max(e.expires_at)
        FROM unnest(CAST(:expiring AS text[]), CAST(:expiring_requests AS text[]), CAST(:expiries AS timestamptz[]))
            AS e (tenant_id, request_id, expires_at)
        WHERE e.tenant_id = n.tenant_id AND e.request_id = n.request_id)
    FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:skus AS text[]),
        CAST(:warehouses AS text[]), CAST(:units AS bigint[])) AS n (tenant_id, request_id, sku, warehouse, open)
    ON CONFLICT (tenant_id, request_id, sku, warehouse) DO UPDATE SET open = h.open + excluded.open
""")

# By arithmetic, not by a value that was read: what was resolved once cannot be resolved again (CHECK open >= 0).
_END_HOLDS = text("""
    INSERT INTO hold AS h (tenant_id, request_id, sku, warehouse, open, consumed)
    SELECT known.*, n.units, n.consumed
    FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:skus AS text[]),
        CAST(:warehouses AS text[]), CAST(:units AS bigint[]), CAST(:consumed AS bigint[]))
        AS n (tenant_id, request_id, sku, warehouse, units, consumed)
    CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, sku, warehouse FROM hold k
        WHERE k.tenant_id = n.tenant_id AND k.request_id = n.request_id AND k.sku = n.sku AND k.warehouse = n.warehouse
        LIMIT 1
    ) known
    ON CONFLICT (tenant_id, request_id, sku, warehouse) DO UPDATE
        SET open = h.open - excluded.open, consumed = h.consumed + excluded.consumed
""")

_OPEN_HOLDS = text(f"""
    SELECT h.* FROM {_REQUESTS} CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, sku, warehouse, open, consumed FROM hold h
        WHERE h.tenant_id = wanted.tenant_id AND h.request_id = wanted.request_id AND h.open > 0 LIMIT 100000
    ) h
""")  # noqa: S608 - constants

_OPEN_HOLDS_YOUNGEST_FIRST = text("""
    SELECT h.tenant_id, h.request_id, h.sku, h.warehouse, h.open, h.consumed
    FROM hold h JOIN allocation a USING (tenant_id, request_id)
    WHERE h.tenant_id = :tenant_id AND h.sku = :sku AND h.warehouse = :warehouse AND h.open > 0
    ORDER BY a.position DESC
""")

_STOCKS_OF_SKUS = f"""
    SELECT b.* FROM {_SKUS} CROSS JOIN LATERAL (
        SELECT tenant_id, sku, warehouse, on_hand, {{held}} AS held, seq, head, updated_at FROM balance b
        WHERE b.tenant_id = wanted.tenant_id AND b.sku = wanted.sku AND {HAS_MOVED}
        ORDER BY b.warehouse LIMIT {_WAREHOUSES_MAX} {{lock}}
    ) b
"""  # noqa: S608 - constants
_LOCK_STOCKS = text(_STOCKS_OF_SKUS.format(held="held", lock="FOR UPDATE"))
_EXPIRED_UNITS = """(
    SELECT coalesce(sum(h.open), 0) FROM hold h
    WHERE h.tenant_id = b.tenant_id AND h.sku = b.sku AND h.warehouse = b.warehouse AND h.open > 0
      AND h.expires_at <= :now
)"""
_READ_STOCKS = text(_STOCKS_OF_SKUS.format(held=f"CAST(held - {_EXPIRED_UNITS} AS bigint)", lock=""))

_SITES = text(f"""
    SELECT DISTINCT w.* FROM {_SKUS} CROSS JOIN LATERAL (
        SELECT tenant_id, warehouse FROM balance b
        WHERE b.tenant_id = wanted.tenant_id AND b.sku = wanted.sku LIMIT {_WAREHOUSES_MAX}
    ) b CROSS JOIN LATERAL (
        SELECT tenant_id, code, priority, latitude, longitude, active FROM warehouse w
        WHERE w.tenant_id = b.tenant_id AND w.code = b.warehouse LIMIT 1
    ) w
""")  # noqa: S608 - constants

_CONTESTED = text(f"""
    SELECT l.* FROM {_SKUS} CROSS JOIN LATERAL (
        SELECT tenant_id, sku FROM allocation_line l
        WHERE l.tenant_id = wanted.tenant_id AND l.sku = wanted.sku AND l.missing > 0 AND (
            SELECT a.status FROM allocation a WHERE a.tenant_id = l.tenant_id AND a.request_id = l.request_id
        ) = 1 LIMIT 1
    ) l
""")  # noqa: S608 - constants

_EXPIRED_AT = text(f"""
    SELECT DISTINCT h.* FROM {_SKUS} CROSS JOIN LATERAL (
        SELECT tenant_id, request_id FROM hold h
        WHERE h.tenant_id = wanted.tenant_id AND h.sku = wanted.sku AND h.open > 0 AND h.expires_at <= :now LIMIT 1000
    ) h
""")  # noqa: S608 - constants

_EXPIRED = text("""
    SELECT tenant_id, request_id FROM allocation
    WHERE status IN (1, 2) AND expires_at IS NOT NULL AND expires_at <= :now ORDER BY expires_at LIMIT :limit
""")


def finding(requests: Iterable[RequestKey]) -> Query:
    return _FIND, _request_columns(sorted(set(requests)))


def locking(requests: Iterable[RequestKey]) -> Query:
    """The requests, locked in order; `known_of` takes its rows."""
    return _LOCK, _request_columns(sorted(set(requests)))


@dataclass(frozen=True)
class Known:
    """A request as it is remembered."""

    request: StockRequest
    status: AllocationStatus
    version: int


def known_of(rows: Iterable[Any]) -> dict[RequestKey, Known]:
    return {(row.tenant_id, row.request_id): _known(row) for row in rows}


def describing(requests: Iterable[RequestKey]) -> Query:
    """`described_of` takes its rows."""
    return _DESCRIBE, _request_columns(sorted(set(requests)))


@dataclass(frozen=True)
class Described:
    status: AllocationStatus
    version: int
    holds: list[Hold]


def described_of(rows: Iterable[Any]) -> dict[RequestKey, Described]:
    described: dict[RequestKey, Described] = {}
    for row in rows:
        key = row.tenant_id, row.request_id
        one = described.setdefault(key, Described(AllocationStatus(row.status), row.version, []))
        if row.sku is not None:
            one.holds.append(_hold(row))
    return described


def reading_decision(tenant_id: str, request_id: str) -> Query:
    return _DECISION, {"tenant_id": tenant_id, "request_id": request_id}


def adding_requests(added: Sequence[tuple[StockRequest, AllocationStatus, bytes | None]], now: datetime) -> Query:
    """Fails at `allocation_pkey` where another transaction has added one."""
    places = [request.destination for request, _, _ in added]
    return _ADD_REQUESTS, {
        **_request_columns([(request.tenant_id, request.id) for request, _, _ in added]),
        "statuses": [int(status) for _, status, _ in added],
        "policies": [int(request.policy) for request, _, _ in added],
        "priorities": [request.priority for request, _, _ in added],
        "expiries": [request.expires_at for request, _, _ in added],
        "latitudes": [place.latitude if place else None for place in places],
        "longitudes": [place.longitude if place else None for place in places],
        "plans": [plan for _, _, plan in added],
        "now": now,
    }


def adding_lines(wanted: Units, missing: Units) -> Query:
    rows = [(*key, sku, qty, missing[key].get(sku, 0)) for key, lines in wanted.items() for sku, qty in lines.items()]
    return _ADD_LINES, _columns(rows, "tenants", "requests", "skus", "qtys", "missing")


def setting_missing(missing: Units) -> Query:
    rows = [(*key, sku, units) for key, lines in missing.items() for sku, units in lines.items()]
    return _SET_MISSING, _columns(rows, "tenants", "requests", "skus", "missing")


def missing_all(requests: Iterable[RequestKey], *, waits: bool) -> Query:
    return _MISS_ALL, {**_request_columns(sorted(requests)), "waits": waits}


def changing_requests(changed: Mapping[RequestKey, tuple[AllocationStatus, bytes | None]]) -> Query:
    """Gives requests a status, and with it a new version; with a plan, the decision behind it."""
    return _CHANGE_REQUESTS, {
        **_request_columns(list(changed)),
        "statuses": [int(status) for status, _ in changed.values()],
        "plans": [plan for _, plan in changed.values()],
    }


def adding_facts(changes: Sequence[HoldChange], now: datetime) -> Query:
    rows = [(*_owner(change), int(change.fact), change.units) for change in changes]
    return _ADD_FACTS, {
        **_columns(rows, "tenants", "requests", "skus", "warehouses", "facts", "units"),
        "now": now,
    }


def adding_holds(changes: Sequence[HoldChange], expiries: Mapping[RequestKey, datetime]) -> Query:
    """The facts HELD, taken up by their holds."""
    held: dict[tuple[str, ...], int] = {}
    for change in changes:
        held[_owner(change)] = held.get(_owner(change), 0) + change.units
    expiring = [(*key, expires_at) for key, expires_at in expiries.items()]
    return _ADD_HOLDS, {
        **_columns(
            [(*owner, units) for owner, units in held.items()], "tenants", "requests", "skus", "warehouses", "units"
        ),
        **_columns(expiring, "expiring", "expiring_requests", "expiries"),
    }


def ending_holds(changes: Sequence[HoldChange]) -> Query:
    """The facts that end units, taken up by their holds."""
    ended: dict[tuple[str, ...], tuple[int, int]] = {}
    for change in changes:
        units, consumed = ended.get(_owner(change), (0, 0))
        picked = change.units if change.fact is HoldFact.CONSUMED else 0
        ended[_owner(change)] = units + change.units, consumed + picked
    rows = [(*owner, *sums) for owner, sums in sorted(ended.items())]
    return _END_HOLDS, _columns(rows, "tenants", "requests", "skus", "warehouses", "units", "consumed")


def open_holds(requests: Iterable[RequestKey]) -> Query:
    """`holds_of` takes its rows."""
    return _OPEN_HOLDS, _request_columns(sorted(set(requests)))


def open_holds_youngest_first(key: StockKey) -> Query:
    return _OPEN_HOLDS_YOUNGEST_FIRST, key._asdict()


def holds_of(rows: Iterable[Any]) -> list[Hold]:
    return [_hold(row) for row in rows]


def locking_stocks(skus: Iterable[SkuKey]) -> Query:
    """The balances of the SKUs wherever they ever moved, locked in key order; `stocks_of` takes its rows."""
    return _LOCK_STOCKS, _sku_columns(skus)


def reading_stocks(skus: Iterable[SkuKey], now: datetime) -> Query:
    """The same without locks; what has expired counts as free."""
    return _READ_STOCKS, {**_sku_columns(skus), "now": now}


def reading_sites(skus: Iterable[SkuKey]) -> Query:
    """What is known of the warehouses where the SKUs lie; `sites_of` takes its rows."""
    return _SITES, _sku_columns(skus)


def sites_of(rows: Iterable[Any]) -> dict[str, dict[str, Site]]:
    """By tenant and warehouse."""
    sites: dict[str, dict[str, Site]] = {}
    for row in rows:
        site = Site(row.priority, place_of(row), row.active)
        sites.setdefault(row.tenant_id, {})[row.code] = site
    return sites


def contested(skus: Iterable[SkuKey]) -> Query:
    """Those of the SKUs that somebody waits for."""
    return _CONTESTED, _sku_columns(skus)


def expired_at(skus: Iterable[SkuKey], now: datetime) -> Query:
    """The requests that still hold some of the SKUs, and may not any more."""
    return _EXPIRED_AT, {**_sku_columns(skus), "now": now}


def expired(now: datetime, limit: int) -> Query:
    """The requests that are under way and may not be any more."""
    return _EXPIRED, {"now": now, "limit": limit}


def _known(row: Any) -> Known:
    request = StockRequest(
        row.tenant_id,
        row.request_id,
        tuple((sku, qty) for sku, qty in row.lines or ()),
        Policy(row.policy),
        row.priority,
        row.expires_at,
        place_of(row),
    )
    return Known(request, AllocationStatus(row.status), row.version)


def _hold(row: Any) -> Hold:
    return Hold(StockKey(row.tenant_id, row.sku, row.warehouse), row.request_id, row.open, row.consumed)


def place_of(row: Any) -> Coordinates | None:
    return Coordinates(row.latitude, row.longitude) if row.latitude is not None else None


def _owner(change: HoldChange) -> tuple[str, str, str, str]:
    return change.key.tenant_id, change.request_id, change.key.sku, change.key.warehouse


def _request_columns(requests: Iterable[RequestKey]) -> dict[str, list[Any]]:
    return _columns(list(requests), "tenants", "requests")


def _sku_columns(skus: Iterable[SkuKey]) -> dict[str, list[Any]]:
    return _columns(sorted(set(skus)), "tenants", "skus")


def _columns(rows: Sequence[tuple[Any, ...]], *names: str) -> dict[str, list[Any]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
