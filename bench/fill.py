"""Lengthens chains by bulk SQL, to measure how cost grows with what lies there. Asks the database for its columns.

What is filled in holds as a ledger (seq, balance, last entry). Digests are of the right size and mean nothing:
recomputing a filled chain would rightly find it broken.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from bench.check import Connection

# Per column: of chain s (its row b, where it has one) entry n. What is not named here is filled by its type.
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
_BY_TYPE = {"bytea": "sha256(convert_to(s || '/' || n, 'UTF8'))", "bigint": "0", "text": "''", "boolean": "false"}

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
    for table, known, statement in (
        ("ledger_entry", _ENTRY, _ADD_ENTRIES),
        ("balance", _BALANCE, _SET_BALANCES),
    ):
        values = known | await _required_columns(connection, table, known)
        await connection.execute(sql.SQL(statement).format(**_parts(values)), given)


def _parts(values: Mapping[str, str]) -> Mapping[str, sql.Composable]:
    assignments = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in values]
    return {
        "columns": sql.SQL(", ").join(map(sql.Identifier, values)),
        "values": sql.SQL(", ").join(map(sql.SQL, values.values())),
        "assignments": sql.SQL(", ").join(assignments),
    }


async def _required_columns(connection: Connection, table: str, known: Mapping[str, str]) -> dict[str, str]:
    """Columns that must be given a value and are not known here. Raises KeyError for a type that is not, either."""
    rows = await connection.execute(
        """
        SELECT column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = %s AND is_nullable = 'NO'
            AND column_default IS NULL AND is_identity = 'NO' AND NOT column_name = ANY(%s)
        """,
        [table, list(known)],
    )
    return {name: _BY_TYPE[kind] for name, kind in await rows.fetchall()}
