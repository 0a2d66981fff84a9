"""What is remembered: balances, entries, holds, requests. Queries only, no rules.

Lock order everywhere: balances by (tenant, sku, warehouse), then allocations by (tenant, request). The statements
lock in a SELECT ... ORDER BY ... FOR UPDATE of their own, because an UPDATE locks in whatever order its plan visits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.inventory.domain import AllocationStatus, Entry, Hold, Stock, StockKey

# A statement and its parameters, for the one that sends it along with others (chassis/pipeline.py).
Query = tuple[TextClause, Mapping[str, Any]]

# It waits for another transaction that makes the same row.
_ADD_MISSING_BALANCES = text("""
    INSERT INTO balance (tenant_id, sku, warehouse)
    SELECT n.* FROM (SELECT set_config('lock_timeout', :wait, true)) AS w (is_set)
    CROSS JOIN unnest(CAST(:tenants AS text[]), CAST(:skus AS text[]), CAST(:warehouses AS text[])) AS n
    WHERE w.is_set IS NOT NULL
    ON CONFLICT DO NOTHING
""")

# LATERAL with LIMIT forces one look-up by primary key per wanted row, however little the planner knows about the table.
_BALANCES_OF = """
    SELECT b.* FROM unnest(CAST(:tenants AS text[]), CAST(:skus AS text[]), CAST(:warehouses AS text[]))
        AS wanted (tenant_id, sku, warehouse)
    CROSS JOIN LATERAL (
        SELECT tenant_id, sku, warehouse, on_hand, held, seq, head, updated_at FROM balance b
        WHERE b.tenant_id = wanted.tenant_id AND b.sku = wanted.sku AND b.warehouse = wanted.warehouse LIMIT 1 {lock}
    ) b
"""
_BALANCES = text(_BALANCES_OF.format(lock=""))
_LOCK_BALANCES = text(_BALANCES_OF.format(lock="FOR UPDATE"))
_LOCK_FREE_BALANCES = text(_BALANCES_OF.format(lock="FOR UPDATE SKIP LOCKED"))

_LOCK_BALANCES_OF_SKUS = text("""
    SELECT tenant_id, sku, warehouse, on_hand, held, seq, head, updated_at FROM balance
    WHERE tenant_id = :tenant_id AND sku = ANY(CAST(:skus AS text[]))
    ORDER BY tenant_id, sku, warehouse FOR UPDATE
""")

# They exist and are locked. An upsert finds them by the primary key, whatever the planner thinks of the table.
_SAVE_BALANCES = text("""
    INSERT INTO balance (tenant_id, sku, warehouse, on_hand, held, seq, head, updated_at)
    SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:skus AS text[]), CAST(:warehouses AS text[]),
        CAST(:on_hand AS bigint[]), CAST(:held AS bigint[]), CAST(:seqs AS bigint[]),
        CAST(:heads AS bytea[]), CAST(:updated_at AS timestamptz[]))
    ON CONFLICT (tenant_id, sku, warehouse) DO UPDATE
        SET on_hand = excluded.on_hand, held = excluded.held, seq = excluded.seq, head = excluded.head,
            updated_at = excluded.updated_at
""")

_ADD_ENTRIES = text("""
    INSERT INTO ledger_entry (tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at, hash)
    SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:skus AS text[]), CAST(:warehouses AS text[]),
        CAST(:seqs AS bigint[]), CAST(:ids AS text[]), CAST(:qtys AS bigint[]), CAST(:balances AS bigint[]),
        CAST(:reasons AS smallint[]), CAST(:refs AS text[]), CAST(:created_at AS timestamptz[]),
        CAST(:hashes AS bytea[]))
""")

_OPEN_HOLDS_OF_REQUESTS = text("""
    SELECT h.* FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:skus AS text[]),
                           CAST(:warehouses AS text[])) AS w (tenant_id, request_id, sku, warehouse)
    CROSS JOIN LATERAL (
        SELECT * FROM hold h
        WHERE h.tenant_id = w.tenant_id AND h.request_id = w.request_id AND h.sku = w.sku
          AND h.warehouse = w.warehouse AND h.open > 0 LIMIT 1
    ) h
""")

_OPEN_HOLDS_YOUNGEST_FIRST = text("""
    SELECT h.* FROM hold h JOIN allocation a USING (tenant_id, request_id)
    WHERE h.tenant_id = :tenant_id AND h.sku = :sku AND h.warehouse = :warehouse AND h.open > 0
    ORDER BY a.position DESC
""")

_HOLDS_OF_REQUESTS = text("""
    SELECT * FROM hold WHERE tenant_id = :tenant_id AND request_id = ANY(CAST(:request_ids AS text[]))
    ORDER BY request_id, sku, warehouse
""")

_SAVE_HOLDS = text("""
    INSERT INTO hold (tenant_id, request_id, sku, warehouse, open, consumed)
    SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:skus AS text[]),
        CAST(:warehouses AS text[]), CAST(:open AS bigint[]), CAST(:consumed AS bigint[]))
    ON CONFLICT (tenant_id, request_id, sku, warehouse)
        DO UPDATE SET open = excluded.open, consumed = excluded.consumed
""")

_ADD_REQUEST = text("""
    INSERT INTO allocation (tenant_id, request_id, status, created_at)
    VALUES (:tenant_id, :request_id, :status, :now) ON CONFLICT DO NOTHING RETURNING 1
""")

_ADD_LINES = text("""
    INSERT INTO allocation_line (tenant_id, request_id, sku, qty)
    SELECT :tenant_id, :request_id, * FROM unnest(CAST(:skus AS text[]), CAST(:qtys AS bigint[]))
""")

_STATUS = text("SELECT status FROM allocation WHERE tenant_id = :tenant_id AND request_id = :request_id")

_LOCK_REQUESTS = text("""
    SELECT tenant_id, request_id, status FROM allocation
    WHERE (tenant_id, request_id) IN (SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[])))
    ORDER BY tenant_id, request_id FOR UPDATE
""")

# Status and holds in one statement, so in one snapshot.
_DESCRIBE = text("""
    SELECT a.tenant_id, a.request_id, a.status, a.version, h.sku, h.warehouse, h.open, h.consumed
    FROM allocation a LEFT JOIN hold h USING (tenant_id, request_id)
    WHERE a.tenant_id = :tenant_id AND a.request_id = ANY(CAST(:request_ids AS text[]))
    ORDER BY a.request_id, h.sku, h.warehouse
""")

_LINES = text(
    "SELECT sku, qty, consumed FROM allocation_line WHERE tenant_id = :tenant_id AND request_id = :request_id"
)

_SET_STATUSES = text("""
    UPDATE allocation SET status = :status, version = version + 1
    WHERE tenant_id = :tenant_id AND request_id = ANY(CAST(:request_ids AS text[]))
""")

_CONSUME_LINES = text("""
    UPDATE allocation_line l SET consumed = l.consumed + n.qty
    FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:skus AS text[]), CAST(:qtys AS bigint[]))
        AS n (tenant_id, request_id, sku, qty)
    WHERE l.tenant_id = n.tenant_id AND l.request_id = n.request_id AND l.sku = n.sku
""")

_CLOSE_CONSUMED = text("""
    UPDATE allocation a SET status = :consumed, version = version + 1
    WHERE a.tenant_id = :tenant_id AND a.request_id = :request_id AND a.status = :held AND NOT EXISTS (
        SELECT 1 FROM allocation_line l
        WHERE l.tenant_id = a.tenant_id AND l.request_id = a.request_id AND l.consumed < l.qty
    )
""")

# Requests whose every line could be served by what is available now, oldest first. Asked of the state, not of events:
# whatever freed the stock, and whoever crashed meanwhile, the next look finds them.
_IS_SERVEABLE = """
    a.status = :waiting AND NOT EXISTS (
        SELECT 1 FROM allocation_line l
        WHERE l.tenant_id = a.tenant_id AND l.request_id = a.request_id AND l.qty - l.consumed > (
            SELECT coalesce(sum(b.on_hand - b.held), 0) FROM balance b
            WHERE b.tenant_id = l.tenant_id AND b.sku = l.sku
        )
    )
"""
_SERVEABLE = text(f"""
    SELECT a.tenant_id, a.request_id, ARRAY(
        SELECT l.sku FROM allocation_line l WHERE l.tenant_id = a.tenant_id AND l.request_id = a.request_id
    ) AS skus
    FROM allocation a WHERE {_IS_SERVEABLE} ORDER BY a.position LIMIT :limit
""")  # noqa: S608 - constants
_IS_SOMEBODY_BEFORE = text(f"""
    SELECT EXISTS (
        SELECT 1 FROM allocation a
        WHERE {_IS_SERVEABLE} AND a.tenant_id = :tenant_id AND a.request_id <> :request_id AND EXISTS (
            SELECT 1 FROM allocation_line l
            WHERE l.tenant_id = a.tenant_id AND l.request_id = a.request_id AND l.sku = ANY(CAST(:skus AS text[]))
        )
    )
""")  # noqa: S608 - constants


def locking(keys: Iterable[StockKey]) -> Query:
    """The balances of the keys, locked in key order; `stocks_of` takes its rows. Those that never moved are missing."""
    return _LOCK_BALANCES, _key_columns(sorted(set(keys)))


def locking_free(keys: Iterable[StockKey]) -> Query:
    """The same of those that nobody else has locked."""
    return _LOCK_FREE_BALANCES, _key_columns(sorted(set(keys)))


def making(keys: Iterable[StockKey], wait_ms: int) -> Query:
    """Adds the balances of the keys that never moved: a row that does not exist cannot be locked."""
    return _ADD_MISSING_BALANCES, {**_key_columns(sorted(set(keys))), "wait": f"{wait_ms}ms"}


def stocks_of(rows: Iterable[Any]) -> dict[StockKey, Stock]:
    return {stock.key: stock for stock in map(_stock, rows)}


async def lock_stocks(tx: AsyncConnection, keys: Iterable[StockKey]) -> dict[StockKey, Stock]:
    """The balances of keys that have moved, locked in key order."""
    return stocks_of(await tx.execute(*locking(keys)))


async def lock_stocks_of_skus(tx: AsyncConnection, tenant_id: str, skus: Iterable[str]) -> dict[StockKey, Stock]:
    """The balances of the SKUs in every warehouse, locked in key order."""
    return stocks_of(await tx.execute(_LOCK_BALANCES_OF_SKUS, {"tenant_id": tenant_id, "skus": sorted(skus)}))


async def read_stock(tx: AsyncConnection, key: StockKey) -> Stock:
    return stocks_of(await tx.execute(*reading([key]))).get(key) or Stock(key)


def reading(keys: Iterable[StockKey]) -> Query:
    """The balances of the keys, in one snapshot; `stocks_of` takes its rows. Those that never moved are missing."""
    return _BALANCES, _key_columns(sorted(set(keys)))


def saving_stocks(stocks: Sequence[Stock]) -> Query:
    return _SAVE_BALANCES, {
        **_key_columns([s.key for s in stocks]),
        "on_hand": [s.on_hand for s in stocks],
        "held": [s.held for s in stocks],
        "seqs": [s.seq for s in stocks],
        "heads": [s.head for s in stocks],
        "updated_at": [s.updated_at for s in stocks],
    }


async def save_stocks(tx: AsyncConnection, stocks: Sequence[Stock]) -> None:
    if stocks:
        await tx.execute(*saving_stocks(stocks))


def adding_entries(entries: Sequence[Entry], hashes: Sequence[bytes]) -> Query:
    return _ADD_ENTRIES, {
        **_key_columns([e.key for e in entries]),
        "ids": [e.id for e in entries],
        "seqs": [e.seq for e in entries],
        "qtys": [e.qty for e in entries],
        "balances": [e.balance for e in entries],
        "reasons": [int(e.reason) for e in entries],
        "refs": [e.reference for e in entries],
        "created_at": [e.created_at for e in entries],
        "hashes": hashes,
    }


def finding_open_holds(wanted: Sequence[tuple[str, StockKey]]) -> Query:
    """The open holds of requests at keys; `holds_by_owner` takes its rows."""
    return _OPEN_HOLDS_OF_REQUESTS, {
        **_key_columns([key for _, key in wanted]),
        "requests": [request for request, _ in wanted],
    }


def holds_by_owner(rows: Iterable[Any]) -> dict[tuple[str, StockKey], Hold]:
    return {(hold.request_id, hold.key): hold for hold in map(_hold, rows)}


async def open_holds_youngest_first(tx: AsyncConnection, key: StockKey) -> list[Hold]:
    return [_hold(row) for row in await tx.execute(_OPEN_HOLDS_YOUNGEST_FIRST, key._asdict())]


async def holds_of(tx: AsyncConnection, tenant_id: str, request_id: str) -> list[Hold]:
    return await _holds_of(tx, tenant_id, [request_id])


async def open_holds_of(tx: AsyncConnection, tenant_id: str, request_ids: Sequence[str]) -> list[Hold]:
    return [hold for hold in await _holds_of(tx, tenant_id, request_ids) if hold.open > 0]


async def save_holds(tx: AsyncConnection, holds: Sequence[Hold]) -> None:
    if holds:
        columns = {
            **_key_columns([h.key for h in holds]),
            "requests": [h.request_id for h in holds],
            "open": [h.open for h in holds],
            "consumed": [h.consumed for h in holds],
        }
        await tx.execute(_SAVE_HOLDS, columns)


async def add_request(
    tx: AsyncConnection,
    tenant_id: str,
    request_id: str,
    lines: Mapping[str, int],
    now: datetime,
    status: AllocationStatus = AllocationStatus.WAITING,
) -> bool:
    """Adds a request. False where it exists; where another transaction is adding it, this waits for its end."""
    ids = {"tenant_id": tenant_id, "request_id": request_id}
    if (await tx.execute(_ADD_REQUEST, {**ids, "status": status, "now": now})).first() is None:
        return False
    await tx.execute(_ADD_LINES, {**ids, "skus": list(lines), "qtys": list(lines.values())})
    return True


async def find_status(tx: AsyncConnection, tenant_id: str, request_id: str) -> AllocationStatus | None:
    row = (await tx.execute(_STATUS, {"tenant_id": tenant_id, "request_id": request_id})).first()
    return AllocationStatus(row.status) if row is not None else None


async def lock_requests(tx: AsyncConnection, tenant_id: str, request_ids: Sequence[str]) -> dict[str, AllocationStatus]:
    """Locks the requests, in order; returns the statuses of those that exist."""
    tenants = [tenant_id] * len(request_ids)
    rows = await tx.execute(_LOCK_REQUESTS, {"tenants": tenants, "requests": list(request_ids)})
    return {row.request_id: AllocationStatus(row.status) for row in rows}


async def describe(
    tx: AsyncConnection, tenant_id: str, request_ids: Sequence[str]
) -> dict[str, tuple[AllocationStatus, int, list[Hold]]]:
    """Status, version and holds per request, as they are at one instant."""
    rows = await tx.execute(_DESCRIBE, {"tenant_id": tenant_id, "request_ids": list(request_ids)})
    described: dict[str, tuple[AllocationStatus, int, list[Hold]]] = {}
    for row in rows:
        _, _, holds = described.setdefault(row.request_id, (AllocationStatus(row.status), row.version, []))
        if row.sku is not None:
            holds.append(_hold(row))
    return described


async def missing_lines(tx: AsyncConnection, tenant_id: str, request_id: str) -> dict[str, int]:
    """Units per SKU that a request still needs: what it asked for less what was picked."""
    rows = await tx.execute(_LINES, {"tenant_id": tenant_id, "request_id": request_id})
    return {row.sku: row.qty - row.consumed for row in rows}


async def set_statuses(
    tx: AsyncConnection, tenant_id: str, request_ids: Sequence[str], status: AllocationStatus
) -> None:
    """Changes the status of requests, and with it their version."""
    row = {"tenant_id": tenant_id, "request_ids": list(request_ids), "status": status}
    await tx.execute(_SET_STATUSES, row)


async def consume_lines(tx: AsyncConnection, consumed: Mapping[tuple[str, StockKey], int]) -> None:
    """Notes picked units on the lines of their requests, and closes the requests that have all of theirs."""
    if not consumed:
        return
    lines: dict[tuple[str, str, str], int] = {}
    for (request_id, key), qty in consumed.items():
        line = key.tenant_id, request_id, key.sku
        lines[line] = lines.get(line, 0) + qty
    tenants, requests, skus = zip(*sorted(lines), strict=True)
    columns = {"tenants": list(tenants), "requests": list(requests), "skus": list(skus)}
    # Two picks of one request's last lines must see each other, or neither would close it.
    await tx.execute(_LOCK_REQUESTS, columns)
    await tx.execute(_CONSUME_LINES, {**columns, "qtys": [lines[line] for line in sorted(lines)]})
    for tenant_id, request_id in sorted({(t, r) for t, r, _ in lines}):
        statuses = {"consumed": AllocationStatus.CONSUMED, "held": AllocationStatus.HELD}
        await tx.execute(_CLOSE_CONSUMED, {"tenant_id": tenant_id, "request_id": request_id, **statuses})


@dataclass(frozen=True)
class Waiting:
    """A request that waits for stock of these SKUs."""

    tenant_id: str
    request_id: str
    skus: tuple[str, ...]


async def serveable_requests(tx: AsyncConnection, limit: int) -> list[Waiting]:
    """Those that wait and could be served now, oldest first."""
    rows = await tx.execute(_SERVEABLE, {"waiting": AllocationStatus.WAITING, "limit": limit})
    return [Waiting(row.tenant_id, row.request_id, tuple(row.skus)) for row in rows]


async def is_somebody_before(tx: AsyncConnection, tenant_id: str, skus: Iterable[str], request_id: str) -> bool:
    """Whether another request that waits for one of the SKUs could be served now: then it comes first."""
    asked = {
        "waiting": AllocationStatus.WAITING,
        "tenant_id": tenant_id,
        "skus": sorted(skus),
        "request_id": request_id,
    }
    return bool((await tx.execute(_IS_SOMEBODY_BEFORE, asked)).scalar_one())


async def _holds_of(tx: AsyncConnection, tenant_id: str, request_ids: Sequence[str]) -> list[Hold]:
    rows = await tx.execute(_HOLDS_OF_REQUESTS, {"tenant_id": tenant_id, "request_ids": list(request_ids)})
    return [_hold(row) for row in rows]


def _stock(row: Any) -> Stock:
    key = StockKey(row.tenant_id, row.sku, row.warehouse)
    return Stock(key, row.on_hand, row.held, row.seq, row.head, row.updated_at)


def _hold(row: Any) -> Hold:
    return Hold(StockKey(row.tenant_id, row.sku, row.warehouse), row.request_id, row.open, row.consumed)


def _key_columns(keys: Sequence[StockKey]) -> dict[str, list[str]]:
    return {
        "tenants": [k.tenant_id for k in keys],
        "skus": [k.sku for k in keys],
        "warehouses": [k.warehouse for k in keys],
    }
