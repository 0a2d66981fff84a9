"""What a batch of movements works on: the locked stocks, the open holds, and what was decided so far.

Opened in one round trip, together with the keys of the batch; written in one more, together with the commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from chassis import outbox
from chassis.clock import Clock
from chassis.errors import Fault
from chassis.idempotency import BatchKeys
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from services.inventory import allocating, domain, pick_store, request_store, store
from services.inventory.domain import Entry, Movement, Reason, Stock, StockKey
from services.inventory.requests import Hold, HoldChange, HoldFact
from skutrail.v1 import events_pb2

# For a balance that another transaction is just making. As with locks, many do not wait long for one.
MAKING_WAIT_MS, MAKING_WAIT_SHORT_MS = 1_500, 50


class Book:
    """Made by `open_book`."""

    def __init__(
        self, pipeline: Pipeline, movements: Sequence[Movement], clock: Clock, new_id: IdMaker, *, waits: bool
    ) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._new_id = new_id
        self._keys = {movement.key for movement in movements}
        self._picks = sorted({(m.reference, m.key) for m in movements if m.reason is Reason.PICK and m.reference})
        self._waits = waits
        self._stocks: dict[StockKey, Stock] = {}
        self._holds: dict[tuple[str, StockKey], Hold] = {}
        self._forget_decisions()

    async def read(self, keys: BatchKeys | None = None) -> None:
        """Locks the stocks and reads what they are; the keys learn what they were told."""
        questions = self._questions()
        if keys is not None:
            questions.append(keys.looking())
        answers = await self._pipeline.ask(*questions)
        if keys is not None:
            await keys.learn(answers[-1], self._pipeline)
        if len(answers[0]) < len(self._keys):
            self._pipeline.tell(*store.making(self._keys, MAKING_WAIT_MS if self._waits else MAKING_WAIT_SHORT_MS))
            answers = await self._pipeline.ask(*self._questions())
        self._stocks = store.stocks_of(answers[0])
        holds = request_store.holds_of(answers[1]) if self._picks else []
        self._holds = {(hold.request_id, hold.key): hold for hold in holds}

    def _questions(self) -> list[store.Query]:
        locking = store.locking if self._waits else store.locking_free
        # The holds behind the locks: what is held by now is seen.
        held = [pick_store.open_holds_at(self._picks, self._clock())] if self._picks else []
        return [locking(self._keys), *held]

    def is_open(self, key: StockKey) -> bool:
        """False for a stock that another transaction has locked, and that was not to be waited for."""
        return key in self._stocks

    async def decide(self, movement: Movement, now: datetime) -> Entry | Fault:
        """Records or refuses a movement on the stock that the one before it left."""
        stock, hold = self._stocks[movement.key], self._own_hold(movement)
        own = hold.open if hold else 0
        if _needs_what_is_held(stock, movement, own) and domain.conflict(stock, movement) is None:
            await self._make_room(movement, now)
            hold = self._own_hold(movement)
        entry_id = self._new_id("inv")
        decision = domain.decide(self._stocks[movement.key], movement, hold.open if hold else 0, now, entry_id)
        if isinstance(decision, Fault):
            return decision
        entry, self._stocks[movement.key], consumed = decision
        self._entries.append(entry)
        self._hashes.append(decision.stock.head)
        if hold is not None and consumed:
            self._consume(hold, consumed)
        return entry

    async def write(self, news: Sequence[events_pb2.Event], now: datetime) -> None:
        """Tells the pipeline what was decided, and its news."""
        if self._consumed:
            await self._tell_consumed(now)
        if self._entries:
            moved = sorted({entry.key for entry in self._entries})
            self._pipeline.tell(*store.adding_entries(self._entries, self._hashes))
            self._pipeline.tell(*store.saving_stocks([self._stocks[key] for key in moved]))
        outbox.tell_together(self._pipeline, news)
        self._forget_decisions()

    async def _tell_consumed(self, now: datetime) -> None:
        """Notes what was picked on the holds and the lines, and closes the requests that have all of theirs."""
        changes, lines = [], Counter[tuple[str, str, str]]()
        for (request_id, key), units in sorted(self._consumed.items()):
            changes.append(HoldChange(key, request_id, HoldFact.CONSUMED, units))
            lines[key.tenant_id, request_id, key.sku] += units
        requests = {(tenant_id, request_id) for tenant_id, request_id, _ in lines}
        # Two picks of one request's last lines must see each other, or neither would close it.
        await self._pipeline.ask(request_store.locking(requests))
        self._pipeline.tell(*request_store.ending_holds(changes))
        self._pipeline.tell(*request_store.adding_facts(changes, now))
        self._pipeline.tell(*pick_store.noting_picked(lines))
        await self._pipeline.flush()
        self._pipeline.tell(*pick_store.closing_picked(requests))

    def _own_hold(self, movement: Movement) -> Hold | None:
        if movement.reason is not Reason.PICK or not movement.reference:
            return None
        return self._holds.get((movement.reference, movement.key))

    def _forget_decisions(self) -> None:
        self._entries: list[Entry] = []
        self._hashes: list[bytes] = []
        self._consumed: dict[tuple[str, StockKey], int] = {}

    def _consume(self, hold: Hold, units: int) -> None:
        owner = hold.request_id, hold.key
        self._holds[owner] = hold._replace(open=hold.open - units, consumed=hold.consumed + units)
        self._consumed[owner] = self._consumed.get(owner, 0) + units

    async def _make_room(self, movement: Movement, now: datetime) -> None:
        """What has expired holds nothing; and an adjustment that states its fact sends the youngest holds back to
        waiting. Rare: it reads anew."""
        key = movement.key
        await self.write([], now)
        expired = await allocating.expire_at(self._pipeline, key, self._clock, self._new_id)
        if expired:
            await self.read()
        stock = self._stocks[key]
        on_hand = stock.on_hand + movement.qty
        if _eats_into_holds(stock, movement):
            news = await allocating.send_back(self._pipeline, key, on_hand, now, self._new_id)
            await outbox.add(self._pipeline.tx, news)
            await self.read()


async def open_book(
    pipeline: Pipeline,
    movements: Sequence[Movement],
    keys: BatchKeys,
    clock: Clock,
    new_id: IdMaker,
    *,
    waits: bool = True,
) -> Book:
    """`waits`: for stocks that others have locked; else they stay closed."""
    book = Book(pipeline, movements, clock, new_id, waits=waits)
    await book.read(keys)
    return book


def _needs_what_is_held(stock: Stock, movement: Movement, own: int) -> bool:
    """Whether the movement takes more than nobody else holds: then it matters whether all that is held still is."""
    return stock.held > 0 and -domain.signed_qty(movement.reason, movement.qty) > stock.available + own


def _eats_into_holds(stock: Stock, movement: Movement) -> bool:
    after = stock.on_hand + movement.qty
    return movement.reason is Reason.ADJUSTMENT and 0 <= after < stock.held
