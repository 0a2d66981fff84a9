"""The outside world: a carrier that does what a test tells it, and remembers what it sold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

from services.shipments.carriers.port import (
    CarrierRefused,
    CarrierUnavailable,
    Label,
    OutcomeUnknown,
    Purchase,
    Sold,
    Tracking,
)

Answer = Callable[["ScriptedCarrier", Purchase], Label]


class ScriptedCarrier:
    """Sells at once, unless `script` holds an answer for the next purchase, or `faults` one for this parcel.

    `sold` counts purchases per reference, and `voided` what was taken back.
    """

    name = "scripted"
    answers_within = timedelta(seconds=1)
    settles_after = timedelta(0)
    takes_keys = False

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.sold: Counter[str] = Counter()
        self.asked: list[Purchase] = []
        self.was_asked = asyncio.Event()
        self.faults: dict[str, Exception] = {}
        self.finds_nothing = False
        self.is_unreachable = False
        self.gate: asyncio.Event | None = None
        self._labels: dict[str, Label] = {}
        self.voided: Counter[str] = Counter()
        self.asked_to_void: list[Sold] = []
        self.void_script: list[Exception] = []
        self.void_gate: asyncio.Event | None = None
        self.was_asked_to_void = asyncio.Event()
        self.scans: dict[str, Tracking] = {}
        self.silent: set[str] = set()
        self.track_gate = asyncio.Event()
        self.tracking: set[str] = set()

    def choose_service(self, carrier_hint: str | None) -> str:
        return f"scripted_{carrier_hint}"

    async def buy(self, purchase: Purchase) -> Label:
        self.asked.append(purchase)
        self.was_asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if purchase.reference in self.faults:
            raise self.faults[purchase.reference]
        return self.script.pop(0)(self, purchase) if self.script else self.sell(purchase)

    async def find_by_reference(self, reference: str) -> Label | None:
        if self.is_unreachable:
            raise CarrierUnavailable("no route")
        return None if self.finds_nothing else self._labels.get(reference)

    async def void(self, sold: Sold) -> None:
        """Takes a label back, unless `void_script` holds a failure: if the outcome is unknown, it was lost."""
        self.asked_to_void.append(sold)
        self.was_asked_to_void.set()
        if self.void_gate is not None:
            await self.void_gate.wait()
        failure = self.void_script.pop(0) if self.void_script else None
        if not isinstance(failure, CarrierRefused | CarrierUnavailable):
            self.voided[sold.tracking_number] = 1
        if failure is not None:
            raise failure

    async def track(self, sold: Sold) -> Tracking:
        """Of what is `silent` it says nothing until `track_gate` opens. `tracking` is asked for, and not answered."""
        if self.is_unreachable:
            raise CarrierUnavailable("no route")
        if sold.tracking_number in self.silent:
            self.tracking.add(sold.tracking_number)
            await self.track_gate.wait()
            self.tracking.discard(sold.tracking_number)
        return self.scans.get(sold.tracking_number, Tracking.PRE_TRANSIT)

    def sell(self, purchase: Purchase) -> Label:
        self.sold[purchase.reference] += 1
        number = f"T-{purchase.reference}-{self.sold[purchase.reference]}"
        label = Label(number, f"%PDF {number}".encode(), self.name, purchase.service)
        self._labels[purchase.reference] = label
        return label


class Dawdler(ScriptedCarrier):
    """Things happen while its answer about a label is on its way."""

    meanwhile: Callable[[], Awaitable[object]]

    async def find_by_reference(self, reference: str) -> Label | None:
        found = await super().find_by_reference(reference)
        await self.meanwhile()
        return found


def fails(failure: Exception) -> Answer:
    """The purchase fails, and nothing is sold."""

    def answer(_: ScriptedCarrier, __: Purchase) -> Label:
        raise failure

    return answer


def sells_and_loses_the_answer(carrier: ScriptedCarrier, purchase: Purchase) -> Label:
    carrier.sell(purchase)
    raise OutcomeUnknown("connection reset")
