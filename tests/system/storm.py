"""Callers without a pause and blows at random, and all that must be true when both are over."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from tests.builders import Tenant, open_tenant
from tests.running import RunningStack
from tests.system.aftermath import at_rest, faults_after
from tests.system.books import faults_of_events, read_books
from tests.system.faults import kill
from tests.system.flood import Flood, flooding
from tests.system.subscriber import SECRET, Subscriber, subscriber
from tests.system.wiretap import overhearing

Capture = pytest.CaptureFixture[str]

KILLED = ("inventory", "postgres", "gateway")
BLOWS, BACK_WITHIN_S = 20, 40
LULL_MAX = 2_000
"""Answers between the proof that movements are recorded again and the next blow."""
ANSWERS = 2_000
"""Of a flood without blows: a few seconds."""


@dataclass
class Storm:
    """A flood of one tenant, and beside it a trickle of another that has a subscriber: each entry is an event of its
    own there, and these are delivered one by one."""

    stack: RunningStack
    seed: int
    tenant: Tenant
    heard: Tenant
    subscriber: Subscriber
    published: list[bytes]
    flood: Flood = field(default_factory=Flood)
    trickle: Flood = field(default_factory=Flood)
    began: float = field(default_factory=time.monotonic)
    blows: list[tuple[str, float]] = field(default_factory=list)

    async def rage(self, blows: int) -> None:
        chance = random.Random(self.seed)
        for _ in range(blows):
            await self.flood.goes_on(chance.randrange(LULL_MAX))
            # Where another door still opens, the last one that was killed may not have been started again.
            await self.strike(chance.choice([n for n in KILLED if self.stack.system.children[n].is_running()]))

    async def strike(self, name: str) -> None:
        struck = time.monotonic()
        kill(self.stack, name)
        self.blows.append((name, await self.flood.success_after(struck, BACK_WITHIN_S) - struck))

    async def faults(self) -> list[str]:
        stack = self.stack.system.stack
        await at_rest(stack)
        books = await read_books(stack, self.heard.id)
        await self.subscriber.events_until(lambda events: len(events) >= len(books.announced), within_s=60)
        return [
            *await faults_after(stack, self.tenant.id, self.flood, self.published),
            *await faults_after(stack, self.heard.id, self.trickle, self.published),
            *faults_of_events(books, self.subscriber.events()),
        ]

    def table(self, seconds: float) -> str:
        counts: Counter[str] = self.flood.counts + self.trickle.counts
        lines = [f"{'killed':<12}{'back after':>12}    seed {self.seed}"] if self.blows else []
        lines += [f"{name:<12}{back_s:>10.1f} s" for name, back_s in self.blows]
        moved = len(self.flood.answered) + len(self.trickle.answered)
        lines.append(f"{moved} movements in {seconds:.1f} s: {moved / seconds:.0f}/s; {len(self.blows)} blows")
        lines.append(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
        lines.append(f"{len(self.subscriber.events())} events in {len(self.subscriber.deliveries)} deliveries")
        return "\n\n" + "\n".join(lines) + "\n"


@asynccontextmanager
async def storm(
    stack: RunningStack, session: aiohttp.ClientSession, capture: Capture, doors: Sequence[str] = ()
) -> AsyncIterator[Storm]:
    """A flood through the doors (base URLs) inside the block; behind it everything was answered, and is as it must."""
    seed = random.randrange(2**32)
    doors = doors or [stack.base_url]
    async with subscriber(SECRET) as receiver, overhearing(stack.system.stack.nats_url) as published:
        tenant, heard = await open_tenant(stack, session), await open_tenant(stack, session)
        await heard.subscribe(receiver.url, "*", secret=SECRET)
        weather = Storm(stack, seed, tenant, heard, receiver, published)
        async with (
            flooding(doors, tenant.api.key, seed=seed, callers=63) as weather.flood,
            flooding(doors, heard.api.key, seed=seed + 1, callers=1) as weather.trickle,
        ):
            yield weather
        seconds = time.monotonic() - weather.began
        try:
            assert await weather.faults() == []
        finally:
            with capture.disabled():
                sys.stdout.write(weather.table(seconds))
