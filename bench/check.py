"""Compares a ledger with what was accepted: a line with an unchecked answer does not count.

Works on every ledger of a run, because all have the tables `balance`, `ledger_entry` and `idempotency_key`. Looks only
at chains that moved since the last check and at their new entries; what it saw last lies in a temporary table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from bench.lines import Findings

Connection = AsyncConnection[TupleRow]

CHAIN_START = "decode(repeat('00', 32), 'hex')"

# Where a ledger keeps a chain of hashes, it is followed, too; elsewhere these take the places of its columns.
_WITH_CHAIN = {
    "head": "head",
    "hash": "e.hash",
    "is_unlinked": "hash IS DISTINCT FROM public.chain_hash(hash_before, entry)",
}
_WITHOUT_CHAIN = {"head": CHAIN_START, "hash": CHAIN_START, "is_unlinked": "false"}

_REMEMBER = """
    CREATE TEMPORARY TABLE checked AS SELECT tenant_id, sku, warehouse, seq, on_hand, {head} AS head FROM balance;
    ALTER TABLE checked ADD PRIMARY KEY (tenant_id, sku, warehouse);
    ANALYZE checked;
    CREATE TEMPORARY TABLE moved (LIKE checked, from_seq bigint, from_balance bigint, from_head bytea);
"""

_FIND_MOVED = """
    TRUNCATE moved;
    INSERT INTO moved
    SELECT b.*, coalesce(c.seq, 0), coalesce(c.on_hand, 0), coalesce(c.head, {start})
    FROM (SELECT tenant_id, sku, warehouse, seq, on_hand, {head} AS head FROM balance) b
    LEFT JOIN checked c USING (tenant_id, sku, warehouse)
    WHERE (b.seq, b.on_hand, b.head) IS DISTINCT FROM (c.seq, c.on_hand, c.head);
    ANALYZE moved;
"""

# One pass over the new entries of each chain, in order, each compared with the one before it.
_FOLLOW = """
    WITH fresh AS (
        SELECT e.seq, e.qty, e.balance, e.hash, e.entry,
            lag(e.seq, 1, m.from_seq) OVER chain AS seq_before,
            lag(e.balance, 1, m.from_balance) OVER chain AS balance_before,
            lag(e.hash, 1, m.from_head) OVER chain AS hash_before
        FROM moved m CROSS JOIN LATERAL (
            SELECT e.seq, e.qty, e.balance, {hash} AS hash, e AS entry FROM ledger_entry e
            WHERE e.tenant_id = m.tenant_id AND e.sku = m.sku AND e.warehouse = m.warehouse AND e.seq > m.from_seq
        ) e
        WINDOW chain AS (PARTITION BY m.tenant_id, m.sku, m.warehouse ORDER BY e.seq)
    )
    SELECT count(*), count(*) FILTER (WHERE seq <> seq_before + 1),
        count(*) FILTER (WHERE balance <> balance_before + qty), count(*) FILTER (WHERE {is_unlinked})
    FROM fresh
"""

_LAST_ENTRIES = """
    SELECT count(*) FROM moved m LEFT JOIN LATERAL (
        SELECT e.seq, e.balance, {hash} AS hash FROM ledger_entry e
        WHERE e.tenant_id = m.tenant_id AND e.sku = m.sku AND e.warehouse = m.warehouse
        ORDER BY e.seq DESC LIMIT 1
    ) last ON true
    WHERE (coalesce(last.seq, 0), coalesce(last.balance, 0), coalesce(last.hash, {start}))
        IS DISTINCT FROM (m.seq, m.on_hand, m.head)
"""

# A range and not LIKE, which would not use the primary key in every collation.
_KEYS = """
    SELECT count(*) FROM (SELECT DISTINCT tenant_id FROM balance) t CROSS JOIN LATERAL (
        SELECT 1 FROM idempotency_key k
        WHERE k.tenant_id = t.tenant_id AND k.key >= {first} AND k.key < {last}
    ) k
"""

_SAVE_CHECKED = """
    INSERT INTO checked SELECT tenant_id, sku, warehouse, seq, on_hand, head FROM moved
    ON CONFLICT (tenant_id, sku, warehouse)
        DO UPDATE SET seq = excluded.seq, on_hand = excluded.on_hand, head = excluded.head
"""


async def is_chained(connection: Connection) -> bool:
    """Whether the entries of this ledger carry a chain of hashes."""
    found = await connection.execute(
        "SELECT FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = 'ledger_entry' AND column_name = 'hash'"
    )
    return await found.fetchone() is not None


class Checker:
    """Of one ledger, over one connection. It sees only what happens after `remember`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts: Mapping[str, sql.SQL] = {}

    async def remember(self) -> None:
        """Takes the ledger as it is for checked: at the start, and after it was filled by other means."""
        parts = _WITH_CHAIN if await is_chained(self._connection) else _WITHOUT_CHAIN
        self._parts = {name: sql.SQL(part) for name, part in {**parts, "start": CHAIN_START}.items()}
        await self._connection.execute("DROP TABLE IF EXISTS checked, moved")
        await self._connection.execute(self._query(_REMEMBER))

    async def check(self, *, accepted: int, sent: int, tag: str) -> Findings:
        """The ledger against a load whose keys all begin with `tag-`. To be called when the load has ended.

        What was refused or never answered may be written or not: so much is allowed between `accepted` and `sent`.
        """
        await self._connection.execute(self._query(_FIND_MOVED))
        written, gaps, wrong, unlinked = await self._row(self._query(_FOLLOW))
        (stale,) = await self._row(self._query(_LAST_ENTRIES))
        # The character after "-" closes the range of keys that begin with it.
        (keys,) = await self._row(sql.SQL(_KEYS).format(first=f"{tag}-", last=f"{tag}."))
        await self._connection.execute(_SAVE_CHECKED)
        faults = {
            f"{accepted:,} of {sent:,} accepted, {written:,} entries written": not accepted <= written <= sent,
            f"{written:,} entries, {keys:,} keys": keys != written,
            f"{gaps:,} gaps in seq": gaps,
            f"{wrong:,} balances are not the one before plus qty": wrong,
            f"{unlinked:,} hashes are not those of their entry and the one before": unlinked,
            f"{stale:,} balance rows are not their last entry": stale,
        }
        return Findings(written, [fault for fault, is_found in faults.items() if is_found])

    def _query(self, query: LiteralString) -> sql.Composed:
        return sql.SQL(query).format(**self._parts)

    async def _row(self, query: sql.Composed) -> TupleRow:
        row: TupleRow | None = await (await self._connection.execute(query)).fetchone()
        assert row is not None
        return row
