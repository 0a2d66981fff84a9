"""What is written down of labels before the carrier is asked, and of what it answers: for many shipments at once.

Each function is a transaction of its own (operations.py says why), with one question and one answer to the database
however many shipments there are. What is allowed stands in purchasing.py and voiding.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from chassis import outbox
from chassis.clock import Clock
from chassis.consumer import RetryLater
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from services.shipments import purchasing, store, voiding
from services.shipments.carriers.port import CarrierFailure, CarrierRefused, Label, OutcomeUnknown
from services.shipments.domain import (
    Decision,
    Failure,
    LabelFact,
    LabelStatus,
    Parcel,
    Shipment,
    ShipmentEvent,
)
from services.shipments.events import Announcer
from services.shipments.store import BoughtLabel, ShipmentKey


@dataclass(frozen=True)
class LabelTask:
    """A label to buy, to look for or to give back: written down and leased to whoever holds this."""

    shipment: Shipment
    parcel: Parcel
    try_id: str
    sent_at: datetime | None
    """When an earlier try may have bought it already; None where none can have."""

    @property
    def key(self) -> ShipmentKey:
        return self.shipment.tenant_id, self.shipment.id

    @property
    def is_void(self) -> bool:
        return self.parcel.label_status is LabelStatus.VOIDING


@dataclass(frozen=True)
class Begun:
    """What is to be done for shipments: at most one label of each at a time."""

    tasks: Sequence[LabelTask]
    leased: Sequence[ShipmentKey]
    """Somebody else is at their labels."""
    resting: Sequence[ShipmentKey] = ()
    """The carrier was asked for their labels in vain, a short while ago."""


@dataclass(frozen=True)
class Ended:
    """How a try ended: with a label, a failure, or nothing (taken back; or not found, and never bought)."""

    task: LabelTask
    outcome: Label | CarrierFailure | None


@dataclass(frozen=True)
class Settled:
    """A shipment after one of its tries was written down."""

    shipment: Shipment
    counted: bool
    """False where there was nothing left to settle."""


async def begin_purchases(
    pipeline: Pipeline,
    keys: Sequence[ShipmentKey],
    *,
    new_id: IdMaker,
    lease: timedelta,
    announcer: Announcer,
    clock: Clock,
) -> Begun:
    """Takes the next label to buy of each, under an attempt that is stored before the carrier hears of it."""
    desk = await _Desk.open(pipeline, keys, clock)
    tasks, leased, resting = [], [], []
    for key, shipment in desk.shipments():
        parcel = purchasing.next_parcel(shipment)
        if parcel is None:
            # Stock may have come back to where every label already is.
            desk.decide(key, purchasing.finish_labels(shipment, desk.now))
        elif _is_leased(parcel, desk.now):
            leased.append(key)
        elif purchasing.is_resting(parcel, desk.now):
            resting.append(key)
        else:
            try_id, sent_at = new_id("att"), parcel.attempt.sent_at if parcel.attempt else None
            begun = purchasing.begin_purchase(
                shipment, parcel.number, try_id=try_id, leased_until=desk.now + lease, now=desk.now
            )
            desk.decide(key, (begun, []))
            tasks.append(LabelTask(begun, begun.parcel(parcel.number), try_id, sent_at))
    desk.close(announcer)
    return Begun(tasks, leased, resting)


async def begin_voids(
    pipeline: Pipeline,
    keys: Sequence[ShipmentKey],
    *,
    new_id: IdMaker,
    lease: timedelta,
    announcer: Announcer,
    clock: Clock,
) -> Begun:
    """Takes the next label of each that is to be given back, or looked for before it can be."""
    desk = await _Desk.open(pipeline, keys, clock)
    tasks, leased = [], []
    for key, shipment in desk.shipments():
        parcel = voiding.next_parcel(shipment)
        if parcel is not None and _is_leased(parcel, desk.now):
            leased.append(key)
        elif parcel is not None:
            try_id = new_id("att")
            begin = voiding.begin_void if parcel.tracking_number is not None else voiding.begin_search
            begun = begin(shipment, parcel.number, try_id=try_id, leased_until=desk.now + lease, now=desk.now)
            desk.decide(key, (begun, []))
            taken = begun.parcel(parcel.number)
            tasks.append(LabelTask(begun, taken, try_id, taken.attempt.sent_at if taken.attempt else None))
    desk.close(announcer)
    return Begun(tasks, leased)


async def send_again(pipeline: Pipeline, task: LabelTask, clock: Clock) -> None:
    """Notes that the carrier is told to sell again: it knows of no label. Raises RetryLater if the lease was lost."""
    shipment = (await store.lock(pipeline, [task.key]))[task.key]
    if not purchasing.is_latest_try(shipment, task.parcel.number, task.try_id):
        raise RetryLater("somebody else is at the label")
    store.tell_changes(pipeline, [(shipment, purchasing.send_again(shipment, task.parcel.number, clock()))])


async def settle_purchases(
    pipeline: Pipeline, ended: Sequence[Ended], *, sells_within: timedelta, announcer: Announcer, clock: Clock
) -> Sequence[Settled]:
    """Writes down how purchases ended, in their order.

    A label is kept whoever brings it, unless there is one: it is paid for. A failure counts from the latest try alone,
    and does not say that nothing was bought while an earlier one may still sell: for `sells_within` after it was sent.
    """
    return await _settle(pipeline, ended, partial(_settle_purchase, sells_within), announcer, clock)


async def settle_voids(
    pipeline: Pipeline, ended: Sequence[Ended], *, announcer: Announcer, clock: Clock
) -> Sequence[Settled]:
    """Writes down how labels were given back, or looked for, in their order.

    What the carrier took back is back whoever tells it, and a label that was found is kept. All else counts from the
    latest try alone.
    """
    return await _settle(pipeline, ended, _settle_void, announcer, clock)


class _Desk:
    """Locked shipments, what becomes of them, and what is to be told of it."""

    def __init__(self, pipeline: Pipeline, found: dict[ShipmentKey, Shipment], now: datetime) -> None:
        self.now = now
        self._pipeline = pipeline
        self._before = found
        self._after = dict(found)
        self._announced: list[ShipmentEvent] = []
        self._bought: list[BoughtLabel] = []

    @classmethod
    async def open(cls, pipeline: Pipeline, keys: Sequence[ShipmentKey], clock: Clock) -> _Desk:
        found = await store.lock(pipeline, keys)
        return cls(pipeline, found, clock())  # read under the locks: what waits for them has not begun

    def shipments(self) -> Iterator[tuple[ShipmentKey, Shipment]]:
        yield from list(self._after.items())

    def __getitem__(self, key: ShipmentKey) -> Shipment:
        return self._after[key]

    def decide(self, key: ShipmentKey, decision: Decision) -> None:
        self._after[key], announced = decision
        self._announced += announced

    def keep(self, label: BoughtLabel) -> None:
        self._bought.append(label)

    def close(self, announcer: Announcer) -> None:
        """Sends it all with the commit."""
        changes = [(self._before[key], after) for key, after in self._after.items() if after != self._before[key]]
        store.tell_changes(self._pipeline, changes)
        store.tell_labels(self._pipeline, self._bought)
        outbox.tell(self._pipeline, announcer.events(self._announced))


_SettleOne = Callable[[_Desk, Ended], bool]


async def _settle(
    pipeline: Pipeline, ended: Sequence[Ended], settle_one: _SettleOne, announcer: Announcer, clock: Clock
) -> Sequence[Settled]:
    desk = await _Desk.open(pipeline, [one.task.key for one in ended], clock)
    counted = [settle_one(desk, one) for one in ended]
    desk.close(announcer)
    return [Settled(desk[one.task.key], counts) for one, counts in zip(ended, counted, strict=True)]


def _settle_purchase(sells_within: timedelta, desk: _Desk, ended: Ended) -> bool:
    task, outcome = ended.task, ended.outcome
    if isinstance(outcome, Label):
        return _keep_label(desk, task, outcome)
    assert outcome is not None
    if not purchasing.is_latest_try(desk[task.key], task.parcel.number, task.try_id):
        return False
    is_unclear = isinstance(outcome, OutcomeUnknown) or _may_still_be_sold(task, sells_within)
    fact = LabelFact.UNCLEAR if is_unclear else LabelFact.NOT_BOUGHT
    give_up_or_put_off = purchasing.fail if isinstance(outcome, CarrierRefused) else purchasing.put_off_purchase
    error = Failure(outcome.code, outcome.message)
    desk.decide(task.key, give_up_or_put_off(desk[task.key], task.parcel.number, error, fact, desk.now))
    return True


def _may_still_be_sold(task: LabelTask, sells_within: timedelta) -> bool:
    """Whether an earlier try was under way when this one looked for its label, and found none."""
    assert task.parcel.attempt is not None
    return task.sent_at is not None and task.parcel.attempt.tried_at < task.sent_at + sells_within


def _settle_void(desk: _Desk, ended: Ended) -> bool:
    task, outcome = ended.task, ended.outcome
    shipment, number = desk[task.key], task.parcel.number
    if isinstance(outcome, Label):
        return _keep_label(desk, task, outcome)
    if task.is_void and shipment.parcel(number).label_status is not LabelStatus.VOIDING:
        return False
    if not (task.is_void and outcome is None) and not purchasing.is_latest_try(shipment, number, task.try_id):
        return False
    if outcome is None:
        settle = voiding.close_void if task.is_void else voiding.close_search
    else:
        settle = voiding.refuse_void if task.is_void and isinstance(outcome, CarrierRefused) else voiding.put_off
    desk.decide(task.key, (settle(shipment, number, desk.now), []))
    return True


def _keep_label(desk: _Desk, task: LabelTask, label: Label) -> bool:
    shipment, number = desk[task.key], task.parcel.number
    if shipment.parcel(number).label_status in purchasing.HAS_OR_HAD_LABEL:
        return False
    sold_by = {"carrier": label.carrier, "service": label.service}
    desk.decide(
        task.key,
        purchasing.keep_label(shipment, number, tracking_number=label.tracking_number, **sold_by, now=desk.now),
    )
    desk.keep(BoughtLabel(*task.key, number, label.content, **sold_by, bought_at=desk.now))
    return True


def _is_leased(parcel: Parcel, now: datetime) -> bool:
    return parcel.attempt is not None and parcel.attempt.leased_until > now
