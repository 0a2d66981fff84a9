"""What a batch of movements works on: the locked stocks, the open holds, and what was decided so far.

Opened in one round trip, together with the keys of the batch; written in one more, together with the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from chassis import outbox
from chassis.errors import Fault
from chassis.idempotency import BatchKeys
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from services.inventory import allocating, domain, store
from services.inventory.domain import Entry, Hold, Movement, Reason, Stock, StockKey
from skutrail.v1 import events_pb2

# For a balance that another transaction is just making. As with locks, many do not wait long for one.
MAKING_WAIT_MS, MAKING_WAIT_SHORT_MS = 1_500, 50


class Book:
    """Made by `open_book`."""

    def __init__(self, pipeline: Pipeline, movements: Sequence[Movement], *, waits: bool) -> None:
        self._pipeline = pipeline
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
        self._holds = store.holds_by_owner(answers[1]) if self._picks else {}

    def _questions(self) -> list[store.Query]:
        locking = store.locking if self._waits else store.locking_free
        # The holds behind the locks: what is held by now is seen.
        return [locking(self._keys), *([store.finding_open_holds(self._picks)] if self._picks else [])]

    def is_open(self, key: StockKey) -> bool:
        """False for a stock that another transaction has locked, and that was not to be waited for."""
        return key in self._stocks

    async def decide(self, movement: Movement, now: datetime, new_id: IdMaker) -> Entry | Fault:
        """Records or refuses a movement on the stock that the one before it left."""
        stock = self._stocks[movement.key]
        if _eats_into_holds(stock, movement) and domain.conflict(stock, movement) is None:
            await self._make_room(movement, now, new_id)
        hold = self._own_hold(movement)
        decision = domain.decide(self._stocks[movement.key], movement, hold.open if hold else 0, now, new_id("inv"))
        if isinstance(decision, Fault):
            return decision
        entry, self._stocks[movement.key], consumed = decision
        self._entries.append(entry)
        self._hashes.append(decision.stock.head)
        if hold is not None and consumed:
            self._consume(hold, consumed)
        return entry

    async def write(self, news: Sequence[events_pb2.Event]) -> None:
        """Tells the pipeline what was decided, and its news."""
        if self._entries:
            moved = sorted({entry.key for entry in self._entries})
            self._pipeline.tell(*store.adding_entries(self._entries, self._hashes))
            self._pipeline.tell(*store.saving_stocks([self._stocks[key] for key in moved]))
        if self._consumed:
            await store.save_holds(self._pipeline.tx, [self._holds[owner] for owner in sorted(self._consumed)])
            await store.consume_lines(self._pipeline.tx, self._consumed)
        outbox.tell_together(self._pipeline, news)
        self._forget_decisions()

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

    async def _make_room(self, movement: Movement, now: datetime, new_id: IdMaker) -> None:
        """Sends the youngest holds back to waiting, so that the adjustment can state its fact. Rare: it reads anew."""
        on_hand = self._stocks[movement.key].on_hand + movement.qty
        await self.write([])
        await self._pipeline.flush()
        tx = self._pipeline.tx
        await outbox.add(tx, await allocating.send_back(tx, movement.key, on_hand, now, new_id))
        await self.read()


async def open_book(pipeline: Pipeline, movements: Sequence[Movement], keys: BatchKeys, *, waits: bool = True) -> Book:
    """`waits`: for stocks that others have locked; else they stay closed."""
    book = Book(pipeline, movements, waits=waits)
    await book.read(keys)
    return book


def _eats_into_holds(stock: Stock, movement: Movement) -> bool:
    after = stock.on_hand + movement.qty
    return movement.reason is Reason.ADJUSTMENT and 0 <= after < stock.held
