"""What the inventory publishes, as whoever consumes its stream is sent it: every entry, and each chain in its order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import nats
from nats.aio.msg import Msg

from chassis.outbox import events_in
from tests.system.books import Entry, Place

SUBJECT = "skutrail.inventory.updated"


@asynccontextmanager
async def overhearing(nats_url: str) -> AsyncIterator[list[bytes]]:
    """Messages as they are published, repetitions too."""
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    client = await nats.connect(nats_url)
    try:
        await client.subscribe(SUBJECT, cb=hear)
        yield heard
    finally:
        await client.close()


def faults_of_what_was_published(heard: Iterable[bytes], tenant_id: str, entries: Iterable[Entry]) -> Iterator[str]:
    """A message may come again, with the ids of its events: only their first coming counts."""
    own = (event for payload in heard for event in events_in(payload) if event.tenant_id == tenant_id)
    once = {event.id: event.entry for event in own}  # at the place of the first, where one came again
    told: dict[Place, list[int]] = defaultdict(list)
    for message in once.values():
        told[message.sku, message.warehouse].append(message.seq)
    recorded: dict[Place, list[int]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.seq):
        recorded[entry.place].append(entry.seq)
    for place in told.keys() | recorded.keys():
        if told[place] != recorded[place]:
            yield f"{place}: {len(recorded[place])} entries in order, published as {told[place][:100]}"
