"""What is remembered of stock: balances and entries. Queries only, no rules. Requests and holds: request_store.py.

Lock order everywhere: balances by (tenant, sku, warehouse), then allocations by (tenant, request). The statements
lock in a SELECT ... ORDER BY ... FOR UPDATE of their own, because an UPDATE locks in whatever order its plan visits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.inventory.domain import Entry, Stock, StockKey

# A statement and its parameters, for the one that sends it along with others (chassis/pipeline.py).
Query = tuple[TextClause, Mapping[str, Any]]

# A row is made to be locked, before its first movement is decided, and stays where that is refused: nobody is told of
# it. No index knows the difference, as it would be one more to write with every movement.
HAS_MOVED = "seq > 0"

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


def locking(keys: Iterable[StockKey]) -> Query:
    """The balances of the keys, locked in key order; `stocks_of` takes its rows. Those that never moved are missing."""
    return _LOCK_BALANCES, key_columns(sorted(set(keys)))


def locking_free(keys: Iterable[StockKey]) -> Query:
    """The same of those that nobody else has locked."""
    return _LOCK_FREE_BALANCES, key_columns(sorted(set(keys)))


def making(keys: Iterable[StockKey], wait_ms: int) -> Query:
    """Adds the balances of the keys that never moved: a row that does not exist cannot be locked."""
    return _ADD_MISSING_BALANCES, {**key_columns(sorted(set(keys))), "wait": f"{wait_ms}ms"}


def stocks_of(rows: Iterable[Any]) -> dict[StockKey, Stock]:
    return {stock.key: stock for stock in map(_stock, rows)}


async def lock_stocks(tx: AsyncConnection, keys: Iterable[StockKey]) -> dict[StockKey, Stock]:
    """The balances of keys that have moved, locked in key order."""
    return stocks_of(await tx.execute(*locking(keys)))


async def read_stock(tx: AsyncConnection, key: StockKey) -> Stock:
    return stocks_of(await tx.execute(*reading([key]))).get(key) or Stock(key)


def reading(keys: Iterable[StockKey]) -> Query:
    """The balances of the keys, in one snapshot; `stocks_of` takes its rows. Those that never moved are missing."""
    return _BALANCES, key_columns(sorted(set(keys)))


def saving_stocks(stocks: Sequence[Stock]) -> Query:
    return _SAVE_BALANCES, {
        **key_columns([s.key for s in stocks]),
        "on_hand": [s.on_hand for s in stocks],
        "held": [s.held for s in stocks],
        "seqs": [s.seq for s in stocks],
        "heads": [s.head for s in stocks],
        "updated_at": [s.updated_at for s in stocks],
    }


def adding_entries(entries: Sequence[Entry], hashes: Sequence[bytes]) -> Query:
    return _ADD_ENTRIES, {
        **key_columns([e.key for e in entries]),
        "ids": [e.id for e in entries],
        "seqs": [e.seq for e in entries],
        "qtys": [e.qty for e in entries],
        "balances": [e.balance for e in entries],
        "reasons": [int(e.reason) for e in entries],
        "refs": [e.reference for e in entries],
        "created_at": [e.created_at for e in entries],
        "hashes": hashes,
    }


def _stock(row: Any) -> Stock:
    key = StockKey(row.tenant_id, row.sku, row.warehouse)
    return Stock(key, row.on_hand, row.held, row.seq, row.head, row.updated_at)


def key_columns(keys: Sequence[StockKey]) -> dict[str, list[str]]:
    return {
        "tenants": [k.tenant_id for k in keys],
        "skus": [k.sku for k in keys],
        "warehouses": [k.warehouse for k in keys],
    }
