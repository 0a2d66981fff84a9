"""Chains that are right in every link, written straight into a database: long ones cost nothing but a copy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg

from services.inventory.domain import CHAIN_START, Entry, Reason, StockKey, chain_hash

START = datetime(2026, 4, 22, 17, 4, 11, 7, tzinfo=UTC)


def chain(key: StockKey, count: int) -> list[tuple[Entry, bytes]]:
    """Entries with their hashes. The ids are the chain's own."""
    links, head = [], CHAIN_START
    for seq in range(1, count + 1):
        entry = Entry(
            id=f"inv_{key.sku}_{key.warehouse}_{seq}",
            key=key,
            seq=seq,
            qty=1,
            balance=seq,
            reason=Reason.RECEIPT,
            reference=(None, "", "PO-1", "Überweisung № 7")[seq % 4],
            created_at=START + timedelta(microseconds=seq),
        )
        head = chain_hash(head, entry)
        links.append((entry, head))
    return links


async def fill(connection: psycopg.AsyncConnection, key: StockKey, count: int) -> None:
    """Not committed."""
    links = chain(key, count)
    columns = "tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at, hash"
    async with connection.cursor().copy(f"COPY ledger_entry ({columns}) FROM STDIN".encode()) as copy:
        for (entry_id, _, seq, *rest, reason, reference, created_at), entry_hash in links:
            await copy.write_row((*key, seq, entry_id, *rest, int(reason), reference, created_at, entry_hash))
    last, head = links[-1]
    await connection.execute(
        "INSERT INTO balance (tenant_id, sku, warehouse, on_hand, seq, head, updated_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [*key, last.balance, last.seq, head, last.created_at],
    )
