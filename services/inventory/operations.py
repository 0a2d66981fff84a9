"""What the ledger does: record movements, tell balances. Holds are in allocating.py.

Operations receive the transaction and never commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import idempotency, outbox, wire
from chassis.errors import Fault
from chassis.idempotency import Claim, StoredAnswer
from chassis.ids import IdMaker
from services.inventory import allocating, domain, events, store
from services.inventory.domain import Entry, Hold, Movement, Reason, Recorded, Stock, StockKey
from skutrail.v1 import events_pb2, inventory_pb2


@dataclass(frozen=True)
class Wish:
    """A movement and the key it runs under."""

    movement: Movement
    claim: Claim


@dataclass(frozen=True)
class Outcome:
    """What a wish came to: the entry or the refusal, and whether an earlier request with the key was told it."""

    answer: inventory_pb2.LedgerEntry | Fault
    replayed: bool = False


async def record_movements(
    tx: AsyncConnection, wishes: Sequence[Wish], now: datetime, new_id: IdMaker
) -> list[Outcome]:
    """Records each wish under its key, or refuses it, or replays what its key was told; one outcome per wish.

    Raises Fault `idempotency_key_in_use` when the first request with one of the keys still runs elsewhere.
    """
    refused = {wish: Fault("validation_failed", "The movement is not valid.", fields=faults)
               for wish in wishes if (faults := domain.movement_faults(wish.movement))}  # fmt: skip
    firsts = {wish.claim.scope: wish for wish in reversed(wishes) if wish not in refused}
    claims = await idempotency.claim_many(tx, [wish.claim for wish in firsts.values()], now)
    ours = [wish for wish in wishes if wish not in refused and firsts[wish.claim.scope] is wish]
    ours = [wish for wish in ours if claims[wish.claim.scope] is None]
    answers = await _record(tx, ours, now, new_id)
    await idempotency.keep_many(tx, {wish.claim.scope: answer for wish, answer in answers})
    told = {wish.claim.scope: (wish, answer) for wish, answer in answers}
    return [
        Outcome(refused[wish]) if wish in refused else _outcome(wish, claims[wish.claim.scope], told) for wish in wishes
    ]


def _outcome(
    wish: Wish,
    claimed: StoredAnswer | Fault | None,
    told: dict[tuple[str, str], tuple[Wish, inventory_pb2.LedgerEntry | Fault]],
) -> Outcome:
    if isinstance(claimed, Fault):
        return Outcome(claimed)
    if claimed is not None:
        return Outcome(claimed.fault or inventory_pb2.LedgerEntry.FromString(claimed.reply or b""), replayed=True)
    first, answer = told[wish.claim.scope]
    if first is not wish and first.claim.fingerprint != wish.claim.fingerprint:
        return Outcome(Fault("idempotency_key_reused", "This Idempotency-Key was used for another request."))
    return Outcome(answer, replayed=first is not wish)


async def read_balance(tx: AsyncConnection, key: StockKey, now: datetime) -> inventory_pb2.Balance:
    """The units on hand and the instant at which that was true. A SKU that never moved has 0."""
    stock = await store.read_stock(tx, key)
    as_of = max(now, stock.updated_at or now)
    return inventory_pb2.Balance(
        sku=key.sku, warehouse=key.warehouse, balance=stock.on_hand, as_of=wire.timestamp(as_of)
    )


@dataclass
class _Book:
    """The stocks and holds a batch works on, as decided so far; `_flush` writes them."""

    stocks: dict[StockKey, Stock]
    holds: dict[tuple[str, StockKey], Hold]
    entries: dict[str, Entry] = field(default_factory=dict)
    consumed: dict[tuple[str, StockKey], int] = field(default_factory=dict)
    news: list[events_pb2.Event] = field(default_factory=list)

    def own_hold(self, movement: Movement) -> Hold | None:
        is_pick = movement.reason is Reason.PICK and movement.reference is not None
        return self.holds.get((movement.reference or "", movement.key)) if is_pick else None

    def note(self, entry_id: str, recorded: Recorded, hold: Hold | None) -> None:
        self.entries[entry_id] = recorded.entry
        self.stocks[recorded.stock.key] = recorded.stock
        if hold is not None and recorded.consumed:
            owner = hold.request_id, hold.key
            left, picked = hold.open - recorded.consumed, hold.consumed + recorded.consumed
            self.holds[owner] = replace(hold, open=left, consumed=picked)
            self.consumed[owner] = self.consumed.get(owner, 0) + recorded.consumed


async def _record(
    tx: AsyncConnection, wishes: Sequence[Wish], now: datetime, new_id: IdMaker
) -> list[tuple[Wish, inventory_pb2.LedgerEntry | Fault]]:
    """Decides the wishes in their order, each on the stock that the one before it left."""
    if not wishes:
        return []
    book = await _open_book(tx, wishes)
    answers: list[tuple[Wish, inventory_pb2.LedgerEntry | Fault]] = []
    for wish in wishes:
        movement = wish.movement
        if _eats_into_holds(book.stocks[movement.key], movement):
            book = await _make_room(tx, book, wishes, movement, now, new_id)
        hold = book.own_hold(movement)
        decision = domain.decide(book.stocks[movement.key], movement, hold.open if hold else 0, now)
        if isinstance(decision, Fault):
            answers.append((wish, decision))
            continue
        entry_id = new_id("inv")
        book.note(entry_id, decision, hold)
        entry = events.entry_message(entry_id, decision.entry)
        book.news.append(events.inventory_updated(movement.key.tenant_id, entry, new_id))
        answers.append((wish, entry))
    await _flush(tx, book)
    return answers


async def _open_book(tx: AsyncConnection, wishes: Sequence[Wish]) -> _Book:
    stocks = await store.lock_stocks(tx, [wish.movement.key for wish in wishes])
    picks = {
        (wish.movement.reference, wish.movement.key)
        for wish in wishes
        if wish.movement.reason is Reason.PICK and wish.movement.reference
    }
    return _Book(stocks, await store.open_holds(tx, sorted(picks)))


async def _flush(tx: AsyncConnection, book: _Book) -> None:
    moved = {entry.key for entry in book.entries.values()}
    await store.add_entries(tx, book.entries)
    await store.save_stocks(tx, [book.stocks[key] for key in sorted(moved)])
    await store.save_holds(tx, [book.holds[owner] for owner in sorted(book.consumed)])
    await store.consume_lines(tx, book.consumed)
    await outbox.add(tx, book.news)


def _eats_into_holds(stock: Stock, movement: Movement) -> bool:
    after = stock.on_hand + movement.qty
    return movement.reason is Reason.ADJUSTMENT and 0 <= after < stock.held


async def _make_room(
    tx: AsyncConnection, book: _Book, wishes: Sequence[Wish], movement: Movement, now: datetime, new_id: IdMaker
) -> _Book:
    """Sends the youngest holds back to waiting, so that the adjustment can state its fact. Rare, so it reads anew."""
    await _flush(tx, book)
    on_hand = book.stocks[movement.key].on_hand + movement.qty
    await outbox.add(tx, await allocating.send_back(tx, movement.key, on_hand, now, new_id))
    return await _open_book(tx, wishes)
