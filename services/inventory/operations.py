"""What the ledger does: record movements, tell balances. Holds are in allocating.py.

Operations receive the transaction and never commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import trace, wire
from chassis.clock import Clock
from chassis.errors import Fault, FieldFault
from chassis.idempotency import KEY_WAIT_MS, BatchKeys, Claim, StoredAnswer
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from chassis.trace import Trace
from services.inventory import domain, events, store, trail
from services.inventory.book import Book, open_book
from services.inventory.domain import Movement, StockKey
from skutrail.v1 import events_pb2, inventory_pb2


class Wish(NamedTuple):
    """A movement, the key it runs under, and the request that wants it; without a key, what contains it answers."""

    movement: Movement
    claim: Claim | None
    cause: Trace


class Outcome(NamedTuple):
    """What a wish came to: the entry or the refusal, and whether an earlier request with the key was told it."""

    answer: inventory_pb2.LedgerEntry | Fault
    replayed: bool = False


async def record_movements(pipeline: Pipeline, wishes: Sequence[Wish], clock: Clock, new_id: IdMaker) -> list[Outcome]:
    """Records each wish under its key, or refuses it, or replays what its key was told; one outcome per wish.

    What is decided is told to the pipeline: it is true once that is committed.
    """
    outcomes = await record_all(pipeline, wishes, clock, new_id)
    return [outcome for outcome in outcomes if outcome is not None]


async def record_all(
    pipeline: Pipeline,
    wishes: Sequence[Wish],
    clock: Clock,
    new_id: IdMaker,
    *,
    waits: bool = True,
    key_wait_ms: int = KEY_WAIT_MS,
) -> list[Outcome | None]:
    """The same for the wishes of many. Without `waits`, None for a wish whose stock another transaction has locked:
    nothing was decided of it. For a key that still runs elsewhere the commit waits `key_wait_ms`."""
    invalid = {index: fault for index, wish in enumerate(wishes) if (fault := _invalid(wish.movement))}
    valid = [wish for index, wish in enumerate(wishes) if index not in invalid]
    if not valid:
        return [Outcome(fault) for fault in invalid.values()]
    keys = BatchKeys((wish.claim for wish in valid if wish.claim), clock(), key_wait_ms)
    book = await open_book(pipeline, [wish.movement for wish in valid], keys, clock, new_id, waits=waits)
    recording = _Recording(book, clock(), new_id)  # read under the locks: whoever waited for them comes later in time
    decided = iter([await recording.decide(wish, keys) for wish in valid])
    keys.tell(pipeline, recording.answers)
    await book.write(recording.news, recording.now)
    return [Outcome(invalid[index]) if index in invalid else next(decided) for index in range(len(wishes))]


async def record_batch(
    pipeline: Pipeline, wishes: Sequence[Wish], *, atomic: bool, clock: Clock, new_id: IdMaker
) -> list[Outcome]:
    """Records a batch under one key. Atomic: raises the fault of the first refused line, naming every refused line."""
    outcomes = await record_movements(pipeline, wishes, clock, new_id)
    refused = {index: o.answer for index, o in enumerate(outcomes) if isinstance(o.answer, Fault)}
    if atomic and refused:
        fields = [FieldFault(f"/movements/{index}", fault.code, fault.detail) for index, fault in refused.items()]
        detail = f"{len(refused)} of {len(wishes)} movements are refused; nothing was recorded."
        raise Fault(next(iter(refused.values())).code, detail, fields=fields)
    return outcomes


async def record_transfer(
    pipeline: Pipeline, out: Movement, into: StockKey, clock: Clock, new_id: IdMaker
) -> inventory_pb2.RecordTransferReply:
    """Takes `-out.qty` units out and puts them in elsewhere: two entries or none. Raises the Fault that refuses it."""
    faults = domain.transfer_faults(-out.qty, out.key.warehouse, into.warehouse)
    if faults:
        raise Fault("validation_failed", "The transfer is not valid.", fields=faults)
    legs = [out, out._replace(key=into, qty=-out.qty)]
    outcomes = await record_movements(pipeline, [Wish(leg, None, trace.current()) for leg in legs], clock, new_id)
    entries = []
    for outcome in outcomes:
        if isinstance(outcome.answer, Fault):
            raise outcome.answer
        entries.append(outcome.answer)
    return inventory_pb2.RecordTransferReply(id=new_id("trf"), entries=entries)


@dataclass
class _Recording:
    """Wishes being decided, one after the other."""

    book: Book
    now: datetime
    new_id: IdMaker

    def __post_init__(self) -> None:
        self.answers: dict[Claim, inventory_pb2.LedgerEntry | Fault] = {}
        self.news: list[events_pb2.Event] = []

    async def decide(self, wish: Wish, keys: BatchKeys) -> Outcome | None:
        if wish.claim is not None and (told := keys.told(wish.claim)) is not None:
            return _replay(told)
        if not self.book.is_open(wish.movement.key):
            return None
        if wish.claim is None:
            return Outcome(await self._record(wish))
        if wish.claim in self.answers:  # a twin in the same batch
            return Outcome(self.answers[wish.claim], replayed=True)
        self.answers[wish.claim] = answer = await self._record(wish)
        if isinstance(answer, Fault):
            answer.request_id = wish.claim.request_id  # a twin, in this batch too, is told of this request
        return Outcome(answer)

    async def _record(self, wish: Wish) -> inventory_pb2.LedgerEntry | Fault:
        decision = await self.book.decide(wish.movement, self.now)
        if isinstance(decision, Fault):
            return decision
        entry = events.entry_message(decision)
        self.news.append(events.inventory_updated(decision, entry, wish.cause, self.new_id))
        return entry


def _invalid(movement: Movement) -> Fault | None:
    faults = domain.movement_faults(movement)
    return Fault("validation_failed", "The movement is not valid.", fields=faults) if faults else None


def _replay(told: StoredAnswer | Fault) -> Outcome:
    if isinstance(told, Fault):
        return Outcome(told)
    return Outcome(told.fault or inventory_pb2.LedgerEntry.FromString(told.reply or b""), replayed=True)


async def read_balance(
    tx: AsyncConnection, key: StockKey, now: datetime, as_of: datetime | None = None
) -> inventory_pb2.Balance:
    """The units on hand, now or at an earlier instant, and when that was true. A SKU that never moved has 0."""
    if as_of is not None and as_of < now:
        balance = await trail.balance_at(tx, key, as_of)
        return inventory_pb2.Balance(sku=key.sku, warehouse=key.warehouse, balance=balance, as_of=wire.timestamp(as_of))
    return _balance(await store.read_stock(tx, key), now)


async def read_balances(pipeline: Pipeline, keys: Sequence[StockKey], now: datetime) -> list[inventory_pb2.Balance]:
    """The units on hand now, one balance per key, all of one instant."""
    [rows] = await pipeline.ask(store.reading(keys))
    stocks = store.stocks_of(rows)
    return [_balance(stocks.get(key) or domain.Stock(key), now) for key in keys]


def _balance(stock: domain.Stock, now: datetime) -> inventory_pb2.Balance:
    as_of = max(now, stock.updated_at or now)
    sku, warehouse = stock.key.sku, stock.key.warehouse
    return inventory_pb2.Balance(sku=sku, warehouse=warehouse, balance=stock.on_hand, as_of=wire.timestamp(as_of))


async def read_entry(tx: AsyncConnection, tenant_id: str, entry_id: str) -> inventory_pb2.LedgerEntry:
    """Raises Fault `not_found`: unknown, or another tenant's."""
    entry = await trail.find_entry(tx, tenant_id, entry_id)
    if entry is None:
        raise Fault("not_found", "There is no such entry.")
    return events.entry_message(entry)


async def list_entries(
    tx: AsyncConnection, tenant_id: str, filters: trail.Filters, *, after_id: str | None, limit: int
) -> inventory_pb2.ListEntriesReply:
    entries = await trail.list_entries(tx, tenant_id, filters, after_id=after_id, limit=limit + 1)
    messages = [events.entry_message(entry) for entry in entries]
    return inventory_pb2.ListEntriesReply(entries=messages[:limit], has_more=len(messages) > limit)


async def list_levels(
    tx: AsyncConnection,
    tenant_id: str,
    *,
    sku: str | None,
    warehouse: str | None,
    after: tuple[str, str] | None,
    limit: int,
    now: datetime,
) -> inventory_pb2.ListLevelsReply:
    levels = await trail.list_levels(tx, tenant_id, sku=sku, warehouse=warehouse, after=after, limit=limit + 1, now=now)
    messages = [inventory_pb2.Level(**vars(level), available=level.on_hand - level.held) for level in levels]
    return inventory_pb2.ListLevelsReply(levels=messages[:limit], has_more=len(messages) > limit)
