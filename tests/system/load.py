"""Work for a system under fire: writers and shippers that repeat under the same key until they are answered.

What a caller may conclude is logged as in Jepsen's histories: OK and REFUSED are answers; UNKNOWN is a try that may or
may not have had its effect. An operation ends with its answer, so that afterwards all that happened is known.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from uuid import uuid4

import aiohttp

from tests.builders import Body, Tenant, eventually, movement, shipment
from tests.gateway.asking import Answer

SKUS = ("SKU-A", "SKU-B", "SKU-C")
WAREHOUSES = ("EAST", "WEST")
SCARCE = "SKU-SCARCE"
"""There is less of it than is asked for: some shipments of it wait for ever."""
STOCK, STOCK_OF_SCARCE = 500, 6
PAUSE_S = 0.1
"""Between two operations of a worker: the load is to be steady, not the heaviest possible."""
AGAIN_S, ANSWERED_WITHIN_S = 0.2, 60


class Outcome(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    WRITE = "ledger write"
    SHIP = "shipment request"
    ORDER = "order read"


@dataclass(frozen=True)
class Try:
    kind: Kind
    outcome: Outcome
    began: float
    ended: float
    """Seconds of time.monotonic()."""


@dataclass(frozen=True)
class Done:
    """A keyed operation and its answer."""

    kind: Kind
    key: str
    sent: Body
    answer: Answer
    began: float
    """When it was first tried."""


@dataclass
class Load:
    tenant: Tenant
    seed: int
    tries: list[Try] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    is_ending: bool = False

    def entries(self) -> dict[str, Body]:
        """The acknowledged entries, by id."""
        answers = (done.answer for done in self.done if done.kind is Kind.WRITE)
        return {answer.json["id"]: answer.json for answer in answers if answer.status == 200}

    def entries_since(self, instant: float) -> set[str]:
        """The ids of the acknowledged entries that were first tried later."""
        recent = (done.answer for done in self.done if done.kind is Kind.WRITE and done.began > instant)
        return {answer.json["id"] for answer in recent if answer.status == 200}

    def shipments(self) -> set[str]:
        """The ids of the acknowledged shipments."""
        return {done.answer.json["id"] for done in self.done if done.kind is Kind.SHIP}

    def first_ok_after(self, kind: Kind, instant: float) -> float | None:
        """When the first try that began later had succeeded."""
        ended = (t.ended for t in self.tries if t.kind is kind and t.outcome is Outcome.OK and t.began > instant)
        return min(ended, default=None)

    def counts_between(self, began: float, ended: float) -> Counter[Outcome]:
        return Counter(t.outcome for t in self.tries if began <= t.ended < ended)

    async def goes_on(self, answers: int = 40, within_s: float = 30) -> None:
        """Waits until so many more operations were answered."""
        wanted = len(self.done) + answers

        async def answered() -> int:
            return len(self.done)

        await eventually(answered, lambda count: count >= wanted, within_s=within_s, poll_s=0.1)

    async def write(self, chance: random.Random) -> None:
        while not self.is_ending:
            await self.perform(Kind.WRITE, "/v1/inventory/ledger", _any_movement(chance))
            await asyncio.sleep(PAUSE_S)

    async def ship(self, name: str, chance: random.Random) -> None:
        """Two shipments per order, and each is asked for at once."""
        for number in count():
            if self.is_ending:
                return
            order_id = f"ord_{name}_{number // 2}"
            sku = SCARCE if chance.random() < 0.3 else chance.choice(SKUS)
            wanted = shipment(chance.randint(1, 2), sku, order_id=order_id)
            await self.perform(Kind.SHIP, "/v1/shipments", wanted)
            await self._try(Kind.ORDER, self.tenant.api.get(f"/v1/orders/{wanted['order_id']}"))
            await asyncio.sleep(3 * PAUSE_S)

    async def perform(self, kind: Kind, path: str, sent: Body) -> None:
        """Tries under one key until there is an answer."""
        key, began = str(uuid4()), time.monotonic()

        async def once() -> Answer | None:
            return await self._try(kind, self.tenant.api.post(path, sent, idempotency_key=key))

        answer = await eventually(once, lambda answer: answer is not None, within_s=ANSWERED_WITHIN_S, poll_s=AGAIN_S)
        assert answer is not None
        self.done.append(Done(kind, key, sent, answer, began))

    async def _try(self, kind: Kind, question: Awaitable[Answer]) -> Answer | None:
        """The answer; None where the outcome is unknown."""
        began = time.monotonic()
        try:
            answer = await question
        except (aiohttp.ClientError, TimeoutError, OSError):
            answer = None
        outcome = outcome_of(answer)
        self.tries.append(Try(kind, outcome, began, time.monotonic()))
        return None if outcome is Outcome.UNKNOWN else answer


def outcome_of(answer: Answer | None) -> Outcome:
    """What a caller may conclude; of no answer as of one that says nothing."""
    if answer is None or answer.status in (429, 500, 503, 504) or answer.code == "idempotency_key_in_use":
        return Outcome.UNKNOWN
    return Outcome.OK if answer.status < 300 else Outcome.REFUSED


def _any_movement(chance: random.Random) -> Body:
    sku, warehouse = chance.choice(SKUS), chance.choice(WAREHOUSES)
    reason, lowest, highest = chance.choice(
        [("receipt", 1, 5), ("receipt", 1, 5), ("pick", 1, 8), ("adjustment", 1, 3), ("transfer", -4, -1)]
    )
    if chance.random() < 0.05:
        reason, lowest, highest = "pick", 1_000_000, 1_000_001  # refused: the refusal must be the last word, too
    return movement(chance.randint(lowest, highest), sku, reason=reason, warehouse=warehouse)


@asynccontextmanager
async def under_load(tenant: Tenant, *, seed: int, writers: int, shippers: int) -> AsyncIterator[Load]:
    """Stock first, then work inside the block; behind it every operation has been answered."""
    load = Load(tenant, seed)
    for sku in SKUS:
        for warehouse in WAREHOUSES:
            await load.perform(Kind.WRITE, "/v1/inventory/ledger", movement(STOCK, sku, warehouse=warehouse))
    await load.perform(Kind.WRITE, "/v1/inventory/ledger", movement(STOCK_OF_SCARCE, SCARCE, warehouse="EAST"))
    async with asyncio.TaskGroup() as workers:
        for number in range(writers):
            workers.create_task(load.write(random.Random(f"{seed} writer {number}")))
        for number in range(shippers):
            workers.create_task(load.ship(f"{number}", random.Random(f"{seed} shipper {number}")))
        try:
            yield load
        finally:
            load.is_ending = True
