"""kill -9 of one process after another, in the middle of work: nothing acknowledged is lost, nothing happens twice.

The processes are started again by what starts them again in `skutrail up`. Behind the last blow the system is given a
minute to come to rest; then all that callers and the subscriber were told is held against the databases.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from tests.builders import Tenant, eventually
from tests.running import RunningStack
from tests.system.books import (
    Books,
    faults_of_events,
    faults_of_labels,
    faults_of_shipments,
    faults_of_the_ledger,
    read_books,
)
from tests.system.faults import kept_running, kill
from tests.system.load import Kind, Load, Outcome, under_load
from tests.system.subscriber import SECRET, Subscriber, subscriber

Capture = pytest.CaptureFixture[str]

EVENT = "delivery"
# What proves that a process works again: the first success of an operation that began after it was killed.
PROOFS = {
    "inventory": Kind.WRITE,
    "shipments": Kind.SHIP,
    "orders": Kind.ORDER,
    "webhooks": EVENT,
    "gateway": Kind.WRITE,
    "postgres": Kind.WRITE,
    "nats": EVENT,
}
# A sender of webhooks that was killed leaves leases of 25 s behind; whatever else is back within seconds.
BACK_WITHIN_S, AT_REST_WITHIN_S = 40, 60


@dataclass(frozen=True)
class Blow:
    """One kill, and what it cost."""

    name: str
    seconds: float
    tries: Counter[Outcome]
    """Of all operations, until the proof."""


@dataclass(frozen=True)
class Storm:
    stack: RunningStack
    load: Load
    subscriber: Subscriber
    blows: list[Blow]

    async def strike(self, name: str) -> None:
        await self.load.goes_on()
        struck = time.monotonic()
        kill(self.stack, name)
        proven = await eventually(lambda: self.proof(name, struck), bool, within_s=BACK_WITHIN_S, poll_s=0.1)
        assert proven is not None
        self.blows.append(Blow(name, proven - struck, self.load.counts_between(struck, proven)))

    async def proof(self, name: str, struck: float) -> float | None:
        """The instant of the first success after a blow."""
        kind = PROOFS[name]
        if isinstance(kind, Kind):
            return self.load.first_ok_after(kind, struck)
        told = {event["data"]["id"] for event in self.subscriber.events().values()}
        return time.monotonic() if self.load.entries_since(struck) & told else None

    async def faults(self) -> list[str]:
        """All that is not as it must be, a few of each kind at most."""
        tenant = self.load.tenant
        books = await read_books(self.stack.system.stack, tenant.id)
        return [
            *_some(faults_of_the_ledger(books, self.load.entries())),
            *_some(faults_of_shipments(books, self.load.shipments())),
            *_some(faults_of_labels(books)),
            *_some(faults_of_events(books, self.subscriber.events())),
            *_some(await faults_of_orders(tenant, books)),
        ]

    async def faults_of_repetition(self) -> list[str]:
        """Every key sent once more: the same answer, to the byte."""
        slots = asyncio.Semaphore(8)

        async def repeat(number: int) -> str | None:
            done = self.load.done[number]
            path = "/v1/inventory/ledger" if done.kind is Kind.WRITE else "/v1/shipments"
            async with slots:
                again = await self.load.tenant.api.post(path, done.sent, idempotency_key=done.key)
            is_same = (again.status, again.body) == (done.answer.status, done.answer.body)
            return None if is_same else f"{done} was repeated with {again}"

        return [fault for fault in await asyncio.gather(*map(repeat, range(len(self.load.done)))) if fault]


async def weather(stack: RunningStack, tenant: Tenant, names: Iterable[str], capture: Capture) -> None:
    """Kills the processes in turn, under load, and holds what is left against what was told."""
    async with subscriber(SECRET) as receiver, kept_running(stack):
        await tenant.subscribe(receiver.url, "*", secret=SECRET)
        async with under_load(tenant, seed=random.randrange(2**32), writers=4, shippers=2) as load:
            storm = Storm(stack, load, receiver, [])
            for name in names:
                await storm.strike(name)
        await check(storm, capture)


async def check(storm: Storm, capture: Capture) -> None:
    began = time.monotonic()
    try:
        await eventually(storm.faults, lambda faults: not faults, within_s=AT_REST_WITHIN_S, poll_s=0.5)
    finally:
        with capture.disabled():
            sys.stdout.write(table(storm, time.monotonic() - began))
    refusals = {(done.kind, done.answer.code) for done in storm.load.done if done.answer.status >= 300}
    assert refusals <= {(Kind.WRITE, "insufficient_stock")}
    assert not [t for t in storm.load.tries if t.kind is Kind.ORDER and t.outcome is Outcome.REFUSED]
    assert await storm.faults_of_repetition() == []
    assert await storm.faults() == [], "the repetitions had an effect"


async def faults_of_orders(tenant: Tenant, books: Books) -> list[str]:
    """An order is what its shipments make it."""
    faults = []
    for order_id in sorted({shipment.order_id for shipment in books.shipments}):
        own = [shipment for shipment in books.shipments if shipment.order_id == order_id]
        held = [s for s in own if s.status == "label_ready"]
        status = "backordered" if not held else "allocated" if held == own else "partially_allocated"
        rows = {(line["warehouse"], shipment.id): line["qty"] for shipment in held for line in shipment.allocations}
        order = (await tenant.api.get(f"/v1/orders/{order_id}")).json
        told = {(row["warehouse"], row["shipment_id"]): row["qty"] for row in order.get("allocations", [])}
        if (order.get("status"), told) != (status, rows):
            faults.append(f"order {order} of {own}")
    return faults


def _some(faults: Iterable[str]) -> list[str]:
    return list(faults)[:5]


def table(storm: Storm, at_rest_s: float) -> str:
    """What was killed, how long it was missed, and how the tries of that time ended."""
    load, events = storm.load, storm.subscriber
    lines = [f"{'killed':<12}{'proof':<18}{'back after':>10}{'ok':>9}{'refused':>9}{'unknown':>9}    seed {load.seed}"]
    for blow in storm.blows:
        counts = "".join(f"{blow.tries[outcome]:>9}" for outcome in Outcome)
        lines.append(f"{blow.name:<12}{PROOFS[blow.name]:<18}{blow.seconds:>8.1f} s{counts}")
    tries = Counter(t.outcome for t in load.tries)
    counts = "".join(f"{tries[outcome]:>9}" for outcome in Outcome)
    lines.append(f"{'all':<30}{at_rest_s:>8.1f} s{counts}    to rest, after the last")
    lines.append(
        f"{len(load.entries())} entries, {len(load.shipments())} shipments, "
        f"{len(events.events())} events in {len(events.deliveries)} deliveries"
    )
    return "\n\n" + "\n".join(lines) + "\n"


async def test_nothing_is_lost_or_doubled_when_the_parts_of_a_write_are_killed(
    stack: RunningStack, tenant: Tenant, capfd: Capture
) -> None:
    await weather(stack, tenant, ("inventory", "postgres", "gateway"), capfd)


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_nothing_is_lost_or_doubled_when_every_part_is_killed_in_turn(
    stack: RunningStack, tenant: Tenant, capfd: Capture
) -> None:
    await weather(stack, tenant, PROOFS, capfd)
