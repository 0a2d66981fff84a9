"""Recomputing hash chains: whether the trail still says what was recorded (docs/decisions/0014).

PostgreSQL does the hashing, so that the service's event loop is free for those who write. Every link is judged by the
one before it as it stands there: a chain is whole where every link is sound, so it may be judged in stretches.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.inventory import domain, store
from services.inventory.domain import CHAIN_START, Entry, Stock, StockKey

STRETCH_MAX = 10_000  # entries of one call: some 100 ms
_ONE_INSTANT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

# What `domain.chain_hash` does. Not the database's own function of that name: whoever owns the tables owns that, too.
# No cast to a whole number: an entry whose time was changed to `infinity` must be found, not fail the search.
CHAIN_HASH = """sha256({previous} || convert_to(concat_ws(chr(10), e.tenant_id, e.sku, e.warehouse, e.seq, e.id, e.qty,
    e.balance, e.reason, coalesce('=' || e.reference, '-'), trunc(extract(epoch FROM e.created_at) * 1000000)), 'UTF8'))
"""

START = "decode(repeat('00', 32), 'hex')"
_HASH = CHAIN_HASH.format(previous="hash_before")

# Each link beside what the one before it says; the first that is read counts as the first of its chain. Whatever stands
# in an entry by now, the sum must not overflow.
JUDGED = f"""
    SELECT e.*, e.seq - 1 = seq_before AND e.balance = CAST(balance_before AS numeric) + e.qty AND e.hash = {_HASH}
        AS is_sound
    FROM (
        SELECT e.*, lag(seq, 1, CAST(0 AS bigint)) OVER links AS seq_before, lag(hash, 1, {START}) OVER links
            AS hash_before, lag(balance, 1, CAST(0 AS bigint)) OVER links AS balance_before
        FROM ({{links}}) e WINDOW links AS (PARTITION BY tenant_id, sku, warehouse ORDER BY seq)
    ) e
"""  # noqa: S608 - constants

_LINKS = """
    SELECT * FROM ledger_entry
    WHERE tenant_id = :tenant_id AND sku = :sku AND warehouse = :warehouse AND seq >= :from_seq
    ORDER BY seq LIMIT :limit
"""
# The link that is known already, the first that is not sound, and the last.
_STRETCH = text(f"""
    WITH judged AS ({JUDGED.format(links=_LINKS)})
    SELECT seq, hash, balance, is_sound, seq_before, hash_before, balance_before FROM judged
    WHERE seq = :from_seq
        OR seq = (SELECT min(seq) FROM judged WHERE NOT is_sound AND seq <> :from_seq)
        OR seq = (SELECT max(seq) FROM judged)
    ORDER BY seq
""")  # noqa: S608 - constants


class Whole(NamedTuple):
    """Up to where a chain is whole: the seq and hash of its last good entry, and the balance after it. The start is."""

    seq: int = 0
    hash: bytes = CHAIN_START
    balance: int = 0


class Stretch(NamedTuple):
    """What a look at a stretch found: how far it is whole, and the first entry that is not what was recorded."""

    whole: Whole
    first_broken_seq: int | None
    is_end: bool


async def verify_stretch(tx: AsyncConnection, key: StockKey, known: Whole) -> Stretch:
    """Recomputes up to STRETCH_MAX entries behind what is known to be whole.

    At the end the balance must agree with the last entry: that finds the entries that were cut off behind it.
    """
    await tx.execute(_ONE_INSTANT)  # the balance and the entries must belong together, while others write
    stock = await store.read_stock(tx, key)
    asked = {**key._asdict(), "from_seq": known.seq, "limit": STRETCH_MAX + (1 if known.seq else 0)}
    links = (await tx.execute(_STRETCH, asked)).all()
    if known.seq:
        if not links or (links[0].seq, links[0].hash) != (known.seq, known.hash):
            return Stretch(Whole(), known.seq, is_end=False)  # then nothing of what was known is
        known = known._replace(balance=links[0].balance)
        links = links[1:]
    if links and not links[0].is_sound:
        whole = Whole(links[0].seq_before, links[0].hash_before, links[0].balance_before)
        return Stretch(whole, whole.seq + 1, is_end=False)
    whole = Whole(links[-1].seq, links[-1].hash, links[-1].balance) if links else known
    if whole.seq == known.seq + STRETCH_MAX:
        return Stretch(whole, None, is_end=False)
    return _end(whole, stock)


def _end(whole: Whole, stock: Stock) -> Stretch:
    """`whole` is all there is: the balance must say the same."""
    if whole.seq != stock.seq:  # cut off behind the last entry, or added behind it
        return Stretch(whole, max(min(whole.seq, stock.seq), 0) + 1, is_end=True)
    agrees = (whole.hash, whole.balance) == (stock.head, stock.on_hand)
    return Stretch(whole, None if agrees else max(whole.seq, 1), is_end=True)


def is_sound(before: Whole, entry: Entry, entry_hash: bytes) -> bool:
    """Whether an entry follows from the one before it: JUDGED, for entries that are in no database yet."""
    follows = entry.seq == before.seq + 1 and entry.balance == before.balance + entry.qty
    return follows and entry_hash == domain.chain_hash(before.hash, entry)
