"""Labels are bought, given back and tracked: what takes a carrier. Why repetition is harmless: steps.py.

Many shipments go through at once: written down together before the carrier is asked, asked for side by side, and
settled together. Whatever becomes of one of them, the others go on, and nobody waits long for it (stragglers.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from chassis import failpoints
from chassis.clock import Clock
from chassis.consumer import RetryLater, Trouble
from chassis.database import Database
from chassis.errors import Fault
from chassis.ids import IdMaker
from chassis.logs import log
from chassis.pipeline import Pipeline
from services.shipments import labeling, purchasing, store, voiding
from services.shipments.carriers.port import (
    Carrier,
    CarrierFailure,
    CarrierRefused,
    Label,
    OutcomeUnknown,
    Purchase,
    Sold,
    Tracking,
)
from services.shipments.domain import Line, Parcel, Shipment
from services.shipments.events import Announcer
from services.shipments.labeling import Begun, Ended, LabelTask, Settled
from services.shipments.one_by_one import Do, do_for_all
from services.shipments.store import ShipmentKey
from services.shipments.stragglers import LATE_AFTER_S, Stragglers

T = TypeVar("T")

# What a lease lasts longer than the carrier may take: time to write the outcome down, and for clocks to differ.
LEASE_MARGIN = timedelta(seconds=5)
# Labels under way at once, of one taker. All are asked for as soon as they are begun, or their leases would run out.
AT_ONCE_MAX = 64
# Whoever has an answer waits no longer for those who have none.
SETTLE_EVERY_S = 0.1
# What has not begun by then comes again. With a carrier's time, and a commit before it and after it, it must stay below
# what a consumer lets (80 % of its ack_wait).
BEGIN_WITHIN_S = 1.5
# No trouble at all: whoever has many parcels gets on with each go.
MORE_TO_BEGIN = Trouble("more than fits in one go", delay_s=0.1)
HELD_UP = Trouble("somebody holds the shipment")

Left = Mapping[ShipmentKey, Trouble]
"""The shipments that must be taken up again, why, and when."""


@dataclass(frozen=True)
class LabelSteps:
    database: Database
    carrier: Carrier
    announcer: Announcer
    clock: Clock
    new_id: IdMaker
    nudge: Callable[[], None]
    late_purchases: Stragglers
    late_voids: Stragglers

    async def buy_all(self, keys: Sequence[ShipmentKey]) -> Left:
        """Buys what labels of shipments are missing, one after the other of each."""
        purchases = _Work(
            self.database, self._begin_purchases, self._find_or_buy, self._settle_purchases, purchasing.next_parcel
        )
        return await _Round(purchases, keys, self.late_purchases).run()

    async def void_all(self, keys: Sequence[ShipmentKey]) -> Left:
        """Gives back the labels of shipments that serve nobody, one after the other of each."""
        voids = _Work(self.database, self._begin_voids, self._void_or_find, self._settle_voids, voiding.next_parcel)
        return await _Round(voids, keys, self.late_voids).run()

    async def track(self, parcel: Parcel) -> Tracking:
        """Raises RetryLater when the carrier cannot tell."""
        outcome = await _answer(self.carrier.track(_sold(parcel)), self._ends_at_s())
        if isinstance(outcome, CarrierFailure):
            raise RetryLater(outcome.code)
        return outcome

    def purchase_of(self, task: LabelTask) -> Purchase:
        """What the carrier is asked for."""
        shipment, parcel = task.shipment, task.parcel
        assert parcel.attempt is not None
        return Purchase(
            attempt_key=parcel.attempt.key,
            reference=parcel.reference,
            order_id=shipment.order_id,
            ship_from=parcel.warehouse,
            ship_to=shipment.ship_to,
            service=self.carrier.choose_service(shipment.carrier_hint),
            lines=[Line(held.sku, held.qty) for held in shipment.allocations if held.warehouse == parcel.warehouse],
        )

    async def _begin_purchases(self, keys: Sequence[ShipmentKey], lock_wait_ms: int | None) -> Begun:
        begun = await self._begin(labeling.begin_purchases, keys, lock_wait_ms)
        if begun.tasks:
            failpoints.reach("shipments.purchase_begun")
        return begun

    async def _begin_voids(self, keys: Sequence[ShipmentKey], lock_wait_ms: int | None) -> Begun:
        return await self._begin(labeling.begin_voids, keys, lock_wait_ms)

    async def _begin(
        self, begin: Callable[..., Awaitable[Begun]], keys: Sequence[ShipmentKey], lock_wait_ms: int | None
    ) -> Begun:
        lease = self.carrier.answers_within + LEASE_MARGIN
        return await self._commit(
            lambda p: begin(p, keys, new_id=self.new_id, lease=lease, announcer=self.announcer, clock=self.clock),
            lock_wait_ms,
        )

    async def _find_or_buy(self, task: LabelTask) -> Label | CarrierFailure:
        """Asks for the label where it may have been bought, and buys it where it was not."""
        ends_at_s = self._ends_at_s()
        if task.sent_at is not None:
            # Under a key of the carrier's a label is sold once, however early it is asked for again.
            shows_within = self.carrier.answers_within if self.carrier.takes_keys else self._sells_within
            found = await _answer(self._find(task, task.sent_at + shows_within), ends_at_s)
            if found is not None:
                return found
            await self._commit(lambda p: labeling.send_again(p, task, self.clock))
            failpoints.reach("shipments.sent_again")
        return await _answer(self._buy(task), ends_at_s)

    async def _buy(self, task: LabelTask) -> Label:
        label = await self.carrier.buy(self.purchase_of(task))
        failpoints.reach("shipments.label_sold")
        return label

    async def _void_or_find(self, task: LabelTask) -> Label | CarrierFailure | None:
        if task.is_void:
            failpoints.reach("shipments.void_begun")
            voided = await _answer(self.carrier.void(_sold(task.parcel)), self._ends_at_s())
            failpoints.reach("shipments.void_answered")
            return voided
        assert task.sent_at is not None
        failpoints.reach("shipments.search_begun")
        found = await _answer(self._find(task, task.sent_at + self._sells_within), self._ends_at_s())
        failpoints.reach("shipments.search_answered")
        return found

    async def _find(self, task: LabelTask, shows_until: datetime) -> Label | None:
        """A label that is not found is not known to be none, where it was asked for before `shows_until`."""
        asked_at = self.clock()  # the answer may be as old
        try:
            found = await self.carrier.find_by_reference(task.parcel.reference)
        except CarrierFailure as trouble:  # not asked is not the same as not bought
            raise OutcomeUnknown(trouble.message) from trouble
        if found is None and asked_at < shows_until:
            raise OutcomeUnknown("The carrier does not know the label yet.")
        return found

    async def _settle_purchases(self, ended: Sequence[Ended], lock_wait_ms: int | None) -> Sequence[Settled]:
        settled = await self._commit(
            lambda p: labeling.settle_purchases(
                p, ended, sells_within=self._sells_within, announcer=self.announcer, clock=self.clock
            ),
            lock_wait_ms,
        )
        failpoints.reach("shipments.purchase_settled")
        for one, left in zip(ended, settled, strict=True):
            reference, stands = one.task.parcel.reference, left.shipment.parcel(one.task.parcel.number).tracking_number
            if isinstance(one.outcome, Label) and one.outcome.tracking_number != stands:
                log.error("label.surplus", reference=reference, tracking_number=one.outcome.tracking_number)
            log.info("label.purchase_ended", reference=reference, code=_code(one.outcome), status=left.shipment.status)
        return settled

    async def _settle_voids(self, ended: Sequence[Ended], lock_wait_ms: int | None) -> Sequence[Settled]:
        settled = await self._commit(
            lambda p: labeling.settle_voids(p, ended, announcer=self.announcer, clock=self.clock), lock_wait_ms
        )
        if any(one.task.is_void for one in ended):
            failpoints.reach("shipments.void_settled")
        else:
            failpoints.reach("shipments.search_settled")
        for one, left in zip(ended, settled, strict=True):
            reference = one.task.parcel.reference
            log.info("label.void_ended", reference=reference, code=_code(one.outcome))
            if isinstance(one.outcome, CarrierRefused) and left.counted:
                log.error("label.not_taken_back", reference=reference, cause=str(one.outcome))
        return settled

    @property
    def _sells_within(self) -> timedelta:
        """For so long after it was sent a purchase may still become a label that nobody has seen."""
        return self.carrier.answers_within + self.carrier.settles_after

    def _ends_at_s(self) -> float:
        return asyncio.get_running_loop().time() + self.carrier.answers_within.total_seconds()

    async def _commit(self, operation: Callable[[Pipeline], Awaitable[T]], lock_wait_ms: int | None = None) -> T:
        async def run(pipeline: Pipeline) -> T:
            if lock_wait_ms is not None:
                await store.wait_for_locks(pipeline, lock_wait_ms)
            return await operation(pipeline)

        result = await self.database.run_pipelined(run)
        self.nudge()
        return result


@dataclass(frozen=True)
class _Work:
    """What is done with labels: the three parts of a round, and what of a shipment is left to do."""

    database: Database
    begin: Callable[[Sequence[ShipmentKey], int | None], Awaitable[Begun]]
    ask: Callable[[LabelTask], Coroutine[Any, Any, Label | CarrierFailure | None]]
    settle: Callable[[Sequence[Ended], int | None], Awaitable[Sequence[Settled]]]
    next_parcel: Callable[[Shipment], Parcel | None]


_Answer = asyncio.Task[Label | CarrierFailure | None]


class _Round:
    """Shipments on their way: begun, asked for, settled, and begun again while there is more to do."""

    def __init__(self, work: _Work, keys: Sequence[ShipmentKey], stragglers: Stragglers) -> None:
        self._work = work
        self._stragglers = stragglers
        self._wanted = list(dict.fromkeys(keys))
        self._asked: dict[_Answer, LabelTask] = {}
        self._late_at_s: dict[_Answer, float] = {}
        self._left: dict[ShipmentKey, Trouble] = {}
        self._broken: list[Exception] = []
        self._begins_until_s = asyncio.get_running_loop().time() + BEGIN_WITHIN_S

    async def run(self) -> Left:
        """Raises what broke on the way, after all others went through."""
        try:
            while self._wanted or self._asked:
                await self._begin_some()
                await self._settle_some()
                self._leave_late_ones()
        finally:
            for asked in self._asked:  # a round that is given up: nobody is left to hear an answer
                asked.cancel()
            await asyncio.gather(*self._asked, return_exceptions=True)
        if self._broken:
            raise self._broken[0]
        return self._left

    async def _begin_some(self) -> None:
        free = AT_ONCE_MAX - len(self._asked)
        some, self._wanted = self._wanted[:free], self._wanted[free:]
        if not some:
            return
        if asyncio.get_running_loop().time() > self._begins_until_s:
            self._left.update(dict.fromkeys([*some, *self._wanted], MORE_TO_BEGIN))
            self._wanted = []
            return
        await self._do_for_all(self._begin, some, lambda key: key)

    async def _begin(self, keys: Sequence[ShipmentKey], lock_wait_ms: int | None) -> None:
        begun = await self._work.begin(keys, lock_wait_ms)
        self._left.update(dict.fromkeys(begun.leased, Trouble("somebody is at the label")))
        self._left.update(dict.fromkeys(begun.resting, Trouble("the carrier was asked a short while ago")))
        asked = {asyncio.create_task(self._work.ask(task)): task for task in begun.tasks}
        self._asked.update(asked)
        self._late_at_s.update(dict.fromkeys(asked, asyncio.get_running_loop().time() + LATE_AFTER_S))

    async def _settle_some(self) -> None:
        """Those that have their answer: all, or those who are quick."""
        if not self._asked:
            return
        answered, _ = await asyncio.wait(self._asked, timeout=SETTLE_EVERY_S)
        ended = []
        for asked in answered:
            task = self._asked.pop(asked)
            try:
                ended.append(Ended(task, asked.result()))
            except RetryLater as later:
                self._left[task.key] = later.trouble
            except Exception as error:  # noqa: BLE001 - its neighbours go on
                self._broken.append(error)
        if ended:
            await self._do_for_all(self._write_down, ended, lambda one: one.task.key)

    def _leave_late_ones(self) -> None:
        """Waits no longer for whom the carrier lets wait, as long as others can take them over."""
        now_s = asyncio.get_running_loop().time()
        for asked, task in list(self._asked.items()):
            if self._late_at_s[asked] <= now_s and not asked.done() and self._stragglers.has_room:
                del self._asked[asked]
                self._left[task.key] = Trouble("the carrier takes its time")
                self._stragglers.take(_see_through(self._work, task, asked, self._stragglers))

    async def _write_down(self, ended: Sequence[Ended], lock_wait_ms: int | None) -> None:
        settled = await self._work.settle(ended, lock_wait_ms)
        for one, left in zip(ended, settled, strict=True):
            self._go_on(one, left.shipment)

    async def _do_for_all(self, do: Do[T], items: Sequence[T], key_of: Callable[[T], ShipmentKey]) -> None:
        try:
            undone = await do_for_all(do, items, self._work.database)
        except Fault as away:
            self._broken.append(away)
            self._wanted = []
        else:
            self._broken += undone.broken
            self._left.update({key_of(item): HELD_UP for item in undone.held_up})

    def _go_on(self, ended: Ended, shipment: Shipment) -> None:
        if self._work.next_parcel(shipment) is None:
            return
        if _is_trouble(ended.outcome):
            self._left[ended.task.key] = Trouble(_code(ended.outcome))
        else:
            self._wanted.append(ended.task.key)


async def _see_through(work: _Work, task: LabelTask, asked: _Answer, stragglers: Stragglers) -> None:
    """Writes a straggler down when its answer comes, and goes on with its shipment."""
    try:
        ended = Ended(task, await asked)
        [settled] = await work.settle([ended], None)
        has_more = work.next_parcel(settled.shipment) is not None
        if has_more and not _is_trouble(ended.outcome) and not stragglers.is_stopping:
            await _Round(work, [task.key], stragglers).run()
    except RetryLater as trouble:
        log.info("label.left", reference=task.parcel.reference, cause=str(trouble))
    except Exception:  # noqa: BLE001 - nobody waits for it: it is taken up again when its lease is over
        log.exception("label.left", reference=task.parcel.reference)


def _is_trouble(outcome: Label | CarrierFailure | None) -> bool:
    """Whether it must be tried again, later."""
    return isinstance(outcome, CarrierFailure) and not isinstance(outcome, CarrierRefused)


async def _answer(asked: Awaitable[T], ends_at_s: float) -> T | CarrierFailure:
    """What the carrier says until then, in seconds of the event loop's clock."""
    try:
        async with asyncio.timeout_at(ends_at_s):
            return await asked
    except TimeoutError:
        return OutcomeUnknown("The carrier did not answer in time.")
    except CarrierFailure as failure:
        return failure
    except Exception:  # noqa: BLE001 - a defect of the adapter must end as any trouble does: tried again, then failed
        log.exception("carrier.broke_off")
        return OutcomeUnknown("The carrier's answer could not be read.")


def _sold(parcel: Parcel) -> Sold:
    assert parcel.tracking_number is not None
    return Sold(parcel.reference, parcel.tracking_number)


def _code(outcome: Label | CarrierFailure | None) -> str:
    return outcome.code if isinstance(outcome, CarrierFailure) else "ok"
