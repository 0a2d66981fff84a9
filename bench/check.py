"""Compares a ledger with what was accepted: a line with an unchecked answer does not count.

Works on every ledger of a run, because all have the tables `balance`, `ledger_entry` and `idempotency_key`. Looks only
at chains that moved since the last check and at their new entries; what it saw last lies in a temporary table.
"""

from __future__ import annotations

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from bench.lines import Findings

Connection = AsyncConnection[TupleRow]

_REMEMBER = """
    CREATE TEMPORARY TABLE checked AS SELECT tenant_id, sku, warehouse, seq, on_hand FROM balance;
    ALTER TABLE checked ADD PRIMARY KEY (tenant_id, sku, warehouse);
    ANALYZE checked;
    CREATE TEMPORARY TABLE moved (LIKE checked, from_seq bigint NOT NULL, from_balance bigint NOT NULL);
"""

_FIND_MOVED = """
    TRUNCATE moved;
    INSERT INTO moved
    SELECT b.tenant_id, b.sku, b.warehouse, b.seq, b.on_hand, coalesce(c.seq, 0), coalesce(c.on_hand, 0)
    FROM balance b LEFT JOIN checked c USING (tenant_id, sku, warehouse)
    WHERE (b.seq, b.on_hand) IS DISTINCT FROM (c.seq, c.on_hand);
    ANALYZE moved;
"""

# One pass over the new entries of each chain, in order, each compared with the one before it.
_FOLLOW = """
    WITH fresh AS (
        SELECT e.seq, e.qty, e.balance,
            lag(e.seq, 1, m.from_seq) OVER chain AS seq_before,
            lag(e.balance, 1, m.from_balance) OVER chain AS balance_before
        FROM moved m CROSS JOIN LATERAL (
            SELECT e.seq, e.qty, e.balance FROM ledger_entry e
            WHERE e.tenant_id = m.tenant_id AND e.sku = m.sku AND e.warehouse = m.warehouse AND e.seq > m.from_seq
        ) e
        WINDOW chain AS (PARTITION BY m.tenant_id, m.sku, m.warehouse ORDER BY e.seq)
    )
    SELECT count(*), count(*) FILTER (WHERE seq <> seq_before + 1),
        count(*) FILTER (WHERE balance <> balance_before + qty)
    FROM fresh
"""

_LAST_ENTRIES = """
    SELECT count(*) FROM moved m LEFT JOIN LATERAL (
        SELECT e.seq, e.balance FROM ledger_entry e
        WHERE e.tenant_id = m.tenant_id AND e.sku = m.sku AND e.warehouse = m.warehouse
        ORDER BY e.seq DESC LIMIT 1
    ) last ON true
    WHERE coalesce(last.seq, 0) <> m.seq OR coalesce(last.balance, 0) <> m.on_hand
"""

# A range and not LIKE, which would not use the primary key in every collation.
_KEYS = """
    SELECT count(*) FROM (SELECT DISTINCT tenant_id FROM balance) t CROSS JOIN LATERAL (
        SELECT 1 FROM idempotency_key k
        WHERE k.tenant_id = t.tenant_id AND k.key >= {first} AND k.key < {last}
    ) k
"""

_SAVE_CHECKED = """
    INSERT INTO checked SELECT tenant_id, sku, warehouse, seq, on_hand FROM moved
    ON CONFLICT (tenant_id, sku, warehouse) DO UPDATE SET seq = excluded.seq, on_hand = excluded.on_hand
"""


class Checker:
    """Of one ledger, over one connection. It sees only what happens after it was opened."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def remember(self) -> None:
        """Takes the ledger as it is for checked: at the start, and after it was filled by other means."""
        await self._connection.execute("DROP TABLE IF EXISTS checked, moved")
        await self._connection.execute(_REMEMBER)

    async def check(self, *, accepted: int, sent: int, tag: str) -> Findings:
        """The ledger against a load whose keys all begin with `tag-`. To be called when the load has ended.

        What was refused or never answered may be written or not: so much is allowed between `accepted` and `sent`.
        """
        await self._connection.execute(_FIND_MOVED)
        written, gaps, wrong = await self._row(sql.SQL(_FOLLOW))
        (stale,) = await self._row(sql.SQL(_LAST_ENTRIES))
        # The character after "-" closes the range of keys that begin with it.
        (keys,) = await self._row(sql.SQL(_KEYS).format(first=f"{tag}-", last=f"{tag}."))
        await self._connection.execute(_SAVE_CHECKED)
        faults = {
            f"{accepted:,} of {sent:,} accepted, {written:,} entries written": not accepted <= written <= sent,
            f"{written:,} entries, {keys:,} keys": keys != written,
            f"{gaps:,} gaps in seq": gaps,
            f"{wrong:,} balances are not the one before plus qty": wrong,
            f"{stale:,} balance rows are not their last entry": stale,
        }
        return Findings(written, [fault for fault, is_found in faults.items() if is_found])

    async def _row(self, query: sql.SQL | sql.Composed) -> TupleRow:
        row: TupleRow | None = await (await self._connection.execute(query)).fetchone()
        assert row is not None
        return row
