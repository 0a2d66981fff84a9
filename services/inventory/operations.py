"""What the ledger does: record movements, tell balances. Holds are in allocating.py.

Operations receive the transaction and never commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import idempotency, outbox, trace, wire
from chassis.clock import Clock
from chassis.errors import Fault, FieldFault
from chassis.idempotency import Claim, StoredAnswer
from chassis.ids import IdMaker
from chassis.trace import Trace
from services.inventory import allocating, domain, events, store, trail
from services.inventory.domain import Entry, Hold, Movement, Reason, Recorded, Stock, StockKey
from skutrail.v1 import events_pb2, inventory_pb2

# What a key was told by an earlier request; None: nothing, it is ours.
Told = StoredAnswer | Fault | None


@dataclass(frozen=True)
class Wish:
    """A movement and the key it runs under; None where the key of what contains it answers for it."""

    movement: Movement
    claim: Claim | None
    cause: Trace = field(default_factory=trace.current, compare=False)


@dataclass(frozen=True)
class Outcome:
    """What a wish came to: the entry or the refusal, and whether an earlier request with the key was told it."""

    answer: inventory_pb2.LedgerEntry | Fault
    replayed: bool = False


async def record_movements(tx: AsyncConnection, wishes: Sequence[Wish], clock: Clock, new_id: IdMaker) -> list[Outcome]:
    """Records each wish under its key, or refuses it, or replays what its key was told; one outcome per wish.

    Raises Fault `idempotency_key_in_use` when the first request with one of the keys still runs elsewhere.
    """
    outcomes = {index: invalid for index, wish in enumerate(wishes) if (invalid := _invalid(wish.movement))}
    valid = [index for index in range(len(wishes)) if index not in outcomes]
    told = await _take_keys(tx, [claim for index in valid if (claim := wishes[index].claim)], clock())
    firsts: dict[Claim, int] = {}
    for index in valid:
        if (claim := wishes[index].claim) is not None:
            firsts.setdefault(claim, index)
    ours = [i for i in valid if (c := wishes[i].claim) is None or (told[c] is None and firsts[c] == i)]
    answers = dict(zip(ours, await _record(tx, [wishes[index] for index in ours], clock, new_id), strict=True))
    await idempotency.keep_many(tx, {c: answers[i] for i in ours if (c := wishes[i].claim)})
    for index in valid:
        if index in answers:
            outcomes[index] = Outcome(answers[index])
        elif (claim := wishes[index].claim) is not None:
            outcomes[index] = _replay(told[claim], answers.get(firsts[claim]))
    return [outcomes[index] for index in range(len(wishes))]


async def record_batch(
    tx: AsyncConnection, wishes: Sequence[Wish], *, atomic: bool, clock: Clock, new_id: IdMaker
) -> list[Outcome]:
    """Records a batch under one key. Atomic: raises the fault of the first refused line, naming every refused line."""
    outcomes = await record_movements(tx, wishes, clock, new_id)
    refused = {index: o.answer for index, o in enumerate(outcomes) if isinstance(o.answer, Fault)}
    if atomic and refused:
        fields = [FieldFault(f"/movements/{index}", fault.code, fault.detail) for index, fault in refused.items()]
        detail = f"{len(refused)} of {len(wishes)} movements are refused; nothing was recorded."
        raise Fault(next(iter(refused.values())).code, detail, fields=fields)
    return outcomes


async def record_transfer(
    tx: AsyncConnection, out: Movement, into: StockKey, clock: Clock, new_id: IdMaker
) -> inventory_pb2.RecordTransferReply:
    """Takes `-out.qty` units out and puts them in elsewhere: two entries or none. Raises the Fault that refuses it."""
    faults = domain.transfer_faults(-out.qty, out.key.warehouse, into.warehouse)
    if faults:
        raise Fault("validation_failed", "The transfer is not valid.", fields=faults)
    movements = [out, replace(out, key=into, qty=-out.qty)]
    for movement in movements:
        if invalid := _invalid(movement):
            assert isinstance(invalid.answer, Fault)
            raise invalid.answer
    entries = []
    for answer in await _record(tx, [Wish(movement, None) for movement in movements], clock, new_id):
        if isinstance(answer, Fault):
            raise answer
        entries.append(answer)
    return inventory_pb2.RecordTransferReply(id=new_id("trf"), entries=entries)


def _invalid(movement: Movement) -> Outcome | None:
    faults = domain.movement_faults(movement)
    return Outcome(Fault("validation_failed", "The movement is not valid.", fields=faults)) if faults else None


async def _take_keys(tx: AsyncConnection, wanted: Sequence[Claim], now: datetime) -> dict[Claim, Told]:
    """What each key was told before; None where it is ours now. Of claims that share a key the first one takes it."""
    firsts: dict[tuple[str, str], Claim] = {}
    for claim in wanted:
        firsts.setdefault(claim.scope, claim)
    taken = await idempotency.claim_many(tx, list(firsts.values()), now)
    return {
        claim: taken[claim.scope]
        if claim == firsts[claim.scope]
        else await _look_up_again(tx, claim, taken[claim.scope], now)
        for claim in wanted
    }


async def _look_up_again(tx: AsyncConnection, claim: Claim, first_told: Told, now: datetime) -> Told:
    """For another request under a key that the batch has met: it was told something only if the key is its own."""
    if first_told is None:
        return Fault("idempotency_key_reused", "This Idempotency-Key was used for another request.")
    try:
        return await idempotency.look_up(tx, claim, now)
    except Fault as fault:
        return fault


def _replay(told: Told, in_this_batch: inventory_pb2.LedgerEntry | Fault | None) -> Outcome:
    """What a key was told: by an earlier request, or by a wish before this one in the same batch."""
    if isinstance(told, Fault):
        return Outcome(told)
    if told is not None:
        return Outcome(told.fault or inventory_pb2.LedgerEntry.FromString(told.reply or b""), replayed=True)
    assert in_this_batch is not None, "a key that is ours has a first wish that was decided"
    return Outcome(in_this_batch, replayed=True)


async def read_balance(
    tx: AsyncConnection, key: StockKey, now: datetime, as_of: datetime | None = None
) -> inventory_pb2.Balance:
    """The units on hand, now or at an earlier instant, and when that was true. A SKU that never moved has 0."""
    if as_of is not None and as_of < now:
        balance = await trail.balance_at(tx, key, as_of)
        return inventory_pb2.Balance(sku=key.sku, warehouse=key.warehouse, balance=balance, as_of=wire.timestamp(as_of))
    stock = await store.read_stock(tx, key)
    as_of = max(now, stock.updated_at or now)
    return inventory_pb2.Balance(
        sku=key.sku, warehouse=key.warehouse, balance=stock.on_hand, as_of=wire.timestamp(as_of)
    )


async def read_entry(tx: AsyncConnection, tenant_id: str, entry_id: str) -> inventory_pb2.LedgerEntry:
    """Raises Fault `not_found`: unknown, or another tenant's."""
    entry = await trail.find_entry(tx, tenant_id, entry_id)
    if entry is None:
        raise Fault("not_found", "There is no such entry.")
    return events.entry_message(entry_id, entry)


async def list_entries(
    tx: AsyncConnection, tenant_id: str, filters: trail.Filters, *, after_id: str | None, limit: int
) -> inventory_pb2.ListEntriesReply:
    entries = await trail.list_entries(tx, tenant_id, filters, after_id=after_id, limit=limit + 1)
    messages = [events.entry_message(entry_id, entry) for entry_id, entry in entries.items()]
    return inventory_pb2.ListEntriesReply(entries=messages[:limit], has_more=len(messages) > limit)


async def list_levels(
    tx: AsyncConnection,
    tenant_id: str,
    *,
    sku: str | None,
    warehouse: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> inventory_pb2.ListLevelsReply:
    levels = await trail.list_levels(tx, tenant_id, sku=sku, warehouse=warehouse, after=after, limit=limit + 1)
    messages = [inventory_pb2.Level(**vars(level), available=level.on_hand - level.held) for level in levels]
    return inventory_pb2.ListLevelsReply(levels=messages[:limit], has_more=len(messages) > limit)


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
    tx: AsyncConnection, wishes: Sequence[Wish], clock: Clock, new_id: IdMaker
) -> list[inventory_pb2.LedgerEntry | Fault]:
    """Decides the wishes in their order, each on the stock that the one before it left; writes what was decided."""
    if not wishes:
        return []
    movements = [wish.movement for wish in wishes]
    book = await _open_book(tx, movements)
    now = clock()  # read under the locks: whoever waited for them comes later in time, too
    answers: list[inventory_pb2.LedgerEntry | Fault] = []
    for movement, cause in zip(movements, (wish.cause for wish in wishes), strict=True):
        if _eats_into_holds(book.stocks[movement.key], movement):
            book = await _make_room(tx, book, movements, movement, now, new_id)
        hold = book.own_hold(movement)
        decision = domain.decide(book.stocks[movement.key], movement, hold.open if hold else 0, now)
        if isinstance(decision, Fault):
            answers.append(decision)
            continue
        entry_id = new_id("inv")
        book.note(entry_id, decision, hold)
        entry = events.entry_message(entry_id, decision.entry)
        with trace.resume(cause):
            book.news.append(events.inventory_updated(movement.key.tenant_id, entry, new_id))
        answers.append(entry)
    await _flush(tx, book)
    return answers


async def _open_book(tx: AsyncConnection, movements: Sequence[Movement]) -> _Book:
    stocks = await store.lock_stocks(tx, [movement.key for movement in movements])
    picks = {(m.reference, m.key) for m in movements if m.reason is Reason.PICK and m.reference}
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
    tx: AsyncConnection,
    book: _Book,
    movements: Sequence[Movement],
    movement: Movement,
    now: datetime,
    new_id: IdMaker,
) -> _Book:
    """Sends the youngest holds back to waiting, so that the adjustment can state its fact. Rare, so it reads anew."""
    await _flush(tx, book)
    on_hand = book.stocks[movement.key].on_hand + movement.qty
    await outbox.add(tx, await allocating.send_back(tx, movement.key, on_hand, now, new_id))
    return await _open_book(tx, movements)
