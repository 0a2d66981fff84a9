"""Recomputing the hash chain of one SKU in one warehouse: whether the trail still says what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.inventory import domain, store, trail
from services.inventory.domain import CHAIN_START, Stock, StockKey
from services.inventory.trail import Link

STRETCH_MAX = 10_000  # entries of one call: some 100 ms
_ONE_INSTANT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


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
    links = await trail.read_links(tx, key, from_seq=known.seq, limit=STRETCH_MAX + 2)
    if known.seq:
        if not links or (links[0].entry.seq, links[0].hash) != (known.seq, known.hash):
            return Stretch(known, known.seq, is_end=False)
        known = known._replace(balance=links[0].entry.balance)
        links = links[1:]
    return judge(known, links, stock)


def judge(whole: Whole, links: Sequence[Link], stock: Stock) -> Stretch:
    """What the links behind `whole` are worth. `stock` is what the balance says of the chain's end."""
    for link in links[:STRETCH_MAX]:
        if not is_sound(whole, link):
            return Stretch(whole, whole.seq + 1, is_end=False)
        whole = Whole(link.entry.seq, link.hash, link.entry.balance)
    if len(links) > STRETCH_MAX:
        return Stretch(whole, None, is_end=False)
    if whole.seq != stock.seq:  # cut off behind the last entry, or added behind it
        return Stretch(whole, min(whole.seq, stock.seq) + 1, is_end=True)
    agrees = (whole.hash, whole.balance) == (stock.head, stock.on_hand)
    return Stretch(whole, None if agrees else max(whole.seq, 1), is_end=True)


def is_sound(before: Whole, link: Link) -> bool:
    """Whether the link follows from the one before it."""
    entry = link.entry
    follows = entry.seq == before.seq + 1 and entry.balance == before.balance + entry.qty
    return follows and link.hash == domain.chain_hash(before.hash, entry)
