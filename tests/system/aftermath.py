"""What is left of a flood in the databases, held against all that its callers were told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import psycopg

from cli.local.stack import Stack
from tests.builders import eventually
from tests.system.books import Books, faults_of_the_ledger, read_books
from tests.system.flood import Flood
from tests.system.serial import faults_of_serial_order
from tests.system.wiretap import faults_of_what_was_published

AT_REST_WITHIN_S = 60


async def faults_after(stack: Stack, tenant_id: str, flood: Flood, published: Sequence[bytes]) -> list[str]:
    """All that is not as it must be, a few of each kind. To be called when all is answered and published.

    `published`: the messages of a wiretap.
    """
    books = await read_books(stack, tenant_id)
    return [
        *flood.faults,
        *_some(faults_of_the_ledger(books, flood.entries())),
        *_some(faults_of_serial_order(flood.answered, flood.reads, books.entries)),
        *_some(_faults_of_looks(flood, books)),
        *_some(_faults_of_the_outbox(books)),
        *_some(faults_of_what_was_published(published, tenant_id, books.entries)),
        *await _faults_of_hashes_and_keys(stack, tenant_id),
    ]


async def at_rest(stack: Stack) -> None:
    """Waits until every event was published."""
    await eventually(
        lambda: _rows(stack, "SELECT count(*) FROM outbox WHERE published_at IS NULL"),
        lambda rows: rows == [(0,)],
        within_s=AT_REST_WITHIN_S,
        poll_s=0.1,
    )


def _faults_of_looks(flood: Flood, books: Books) -> Iterator[str]:
    """An entry that was read while all went on is the one that stands in the books, its seq too."""
    entries = {entry.id: entry for entry in books.entries}
    for seen in flood.looks:
        entry = entries.get(seen["id"])
        names = ("sku", "warehouse", "seq", "qty", "balance")
        if entry is None or any(getattr(entry, name) != seen[name] for name in names):
            yield f"read as {seen}, recorded as {entry}"


def _faults_of_the_outbox(books: Books) -> Iterator[str]:
    events = [row for row in books.announced if row.type == "inventory.updated"]
    if not len({event.event_id for event in events}) == len(events) == len(books.entries):
        yield f"{len(events)} events in the outbox for {len(books.entries)} entries"
    yield from (f"not marked as published: {event}" for event in events if not event.is_published)


async def _faults_of_hashes_and_keys(stack: Stack, tenant_id: str) -> list[str]:
    own = {"tenant": tenant_id}
    [(unlinked,)] = await _rows(stack, _UNLINKED, own)
    [(loose,)] = await _rows(stack, _LOOSE_HEADS, own)
    [(entries, keys)] = await _rows(stack, _ENTRIES_AND_KEYS, own)
    faults = {
        f"{unlinked} hashes are not those of their entry and the one before": unlinked,
        f"{loose} balances are not their last entry": loose,
        f"{entries} entries for {keys} accepted keys": entries != keys,
    }
    return [fault for fault, is_found in faults.items() if is_found]


async def _rows(stack: Stack, query: str, parameters: dict[str, str] | None = None) -> list[tuple[int, ...]]:
    async with await psycopg.AsyncConnection.connect(stack.databases["inventory"].owner) as connection:
        return await (await connection.execute(query.encode(), parameters)).fetchall()


def _some(faults: Iterable[str]) -> list[str]:
    return list(islice(faults, 5))


_UNLINKED = """
    SELECT count(*) FROM (
        SELECT hash, lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER chain AS before, e AS entry
        FROM ledger_entry e WHERE tenant_id = %(tenant)s
        WINDOW chain AS (PARTITION BY sku, warehouse ORDER BY seq)
    ) link WHERE hash IS DISTINCT FROM chain_hash(before, entry)
"""
_LOOSE_HEADS = """
    SELECT count(*) FROM balance b
    LEFT JOIN ledger_entry e USING (tenant_id, sku, warehouse, seq)
    WHERE b.tenant_id = %(tenant)s AND b.seq > 0 AND (b.head, b.on_hand) IS DISTINCT FROM (e.hash, e.balance)
"""
_ENTRIES_AND_KEYS = """
    SELECT (SELECT count(*) FROM ledger_entry WHERE tenant_id = %(tenant)s),
           (SELECT count(*) FROM idempotency_key WHERE tenant_id = %(tenant)s AND reply IS NOT NULL)
"""
