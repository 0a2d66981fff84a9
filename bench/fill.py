"""Lengthens chains by bulk SQL, to measure how cost grows with what lies there.

What is filled in is a whole ledger: seq, balance, last entry and, where the ledger keeps them, the chain of hashes.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from bench.check import CHAIN_START, Connection, is_chained

# Per column: entry n of chain s, whose balance row is b where it has one.
_ENTRY = {
    "tenant_id": "%(tenant)s",
    "sku": "'SKU-' || s",
    "warehouse": "'SEA-1'",
    "seq": "n",
    "id": "'inv_0' || lpad(s::text, 12, '0') || lpad(n::text, 13, '0')",
    "qty": "1",
    "balance": "coalesce(b.on_hand - b.seq, 0) + n",
    "reason": "1",
    "created_at": "now()",
}
_BALANCE = {
    "tenant_id": "%(tenant)s",
    "sku": "'SKU-' || s",
    "warehouse": "'SEA-1'",
    "seq": "n",
    "on_hand": "coalesce(b.on_hand - b.seq, 0) + n",
    "updated_at": "now()",
}
_HASH = f"pg_temp.chained({{entry}}, coalesce(b.head, {CHAIN_START})) OVER (PARTITION BY s ORDER BY n)"
_HEAD = """(
    SELECT e.hash FROM ledger_entry e
    WHERE e.tenant_id = %(tenant)s AND e.sku = 'SKU-' || s AND e.warehouse = 'SEA-1' AND e.seq = n
)"""

# The hash of a chain up to an entry is a running aggregate over its entries.
_CHAINED = """
    CREATE OR REPLACE FUNCTION pg_temp.link(head bytea, e ledger_entry, start bytea) RETURNS bytea
        IMMUTABLE LANGUAGE sql AS 'SELECT public.chain_hash(coalesce(head, start), e)';
    CREATE OR REPLACE AGGREGATE pg_temp.chained(ledger_entry, bytea) (SFUNC = pg_temp.link, STYPE = bytea);
"""

_ADD_ENTRIES = """
    INSERT INTO ledger_entry ({columns}) SELECT {values}
    FROM generate_series(1, %(skus)s) s
    LEFT JOIN balance b ON b.tenant_id = %(tenant)s AND b.sku = 'SKU-' || s AND b.warehouse = 'SEA-1'
    CROSS JOIN LATERAL generate_series(coalesce(b.seq, 0) + 1, %(length)s) n
"""
_SET_BALANCES = """
    INSERT INTO balance ({columns}) SELECT {values}
    FROM generate_series(1, %(skus)s) s
    LEFT JOIN balance b ON b.tenant_id = %(tenant)s AND b.sku = 'SKU-' || s AND b.warehouse = 'SEA-1'
    CROSS JOIN (SELECT CAST(%(length)s AS bigint) AS n) n
    WHERE b.seq IS NULL OR b.seq < n
    ON CONFLICT (tenant_id, sku, warehouse) DO UPDATE SET {assignments}
"""


async def fill(connection: Connection, tenant: str, *, skus: int, length: int) -> None:
    """Lengthens the chains SKU-1 … SKU-`skus` of warehouse SEA-1 to `length` entries; longer ones stay as they are."""
    given = {"tenant": tenant, "skus": skus, "length": length}
    entry, balance = _ENTRY, _BALANCE
    if await is_chained(connection):
        await connection.execute(_CHAINED)
        entry = entry | {"hash": _HASH.format(entry=await _as_row(connection))}
        balance = balance | {"head": _HEAD}
    await connection.execute(sql.SQL(_ADD_ENTRIES).format(**_parts(entry)), given)
    await connection.execute(sql.SQL(_SET_BALANCES).format(**_parts(balance)), given)


async def _as_row(connection: Connection) -> str:
    """The entry as a value of its table's type, before it is there: every column in its place, no hash yet."""
    rows = await connection.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = 'ledger_entry' ORDER BY ordinal_position"
    )
    return f"ROW({', '.join(_ENTRY.get(name, 'NULL') for (name,) in await rows.fetchall())})::ledger_entry"


def _parts(values: Mapping[str, str]) -> Mapping[str, sql.Composable]:
    assignments = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in values]
    return {
        "columns": sql.SQL(", ").join(map(sql.Identifier, values)),
        "values": sql.SQL(", ").join(map(sql.SQL, values.values())),
        "assignments": sql.SQL(", ").join(assignments),
    }
