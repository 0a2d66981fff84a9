"""Events that do not leave, and events that nobody could take."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from sqlalchemy import text

from chassis import parking
from cli.diagnosis.check import FOUND_MAX, Check, Finding, Sources

SERVICES = ("inventory", "shipments", "orders", "webhooks")
UNPUBLISHED_MAX = timedelta(seconds=60)

# What an operator has told again waits since then.
_UNPUBLISHED = text("""
    SELECT event_id, subject, extract(epoch FROM now() - coalesce(retold_at, created_at))::bigint AS seconds
    FROM outbox WHERE published_at IS NULL AND coalesce(retold_at, created_at) < now() - CAST(:age AS interval)
    ORDER BY id LIMIT :limit
""")


async def unpublished(service: str, sources: Sources) -> Sequence[Finding]:
    async with sources.read(service) as tx:
        rows = await tx.execute(_UNPUBLISHED, {"age": UNPUBLISHED_MAX, "limit": FOUND_MAX})
        return [
            Finding(
                row.event_id,
                f"{row.subject} waits to be published for {row.seconds} s",
                f"Look for events.not_published and nats.away in the log of {service}",
            )
            for row in rows
        ]


async def parked(service: str, sources: Sources) -> Sequence[Finding]:
    async with sources.read(service) as tx:
        return [
            Finding(
                event.event_id,
                f"{event.consumer} could not take {event.subject}: {repr(event.error[:100])[1:-1]}",
                f"Mend the cause, then skutrail parked release {service} {event.event_id}",
            )
            for event in await parking.waiting(tx, FOUND_MAX)
        ]


CHECKS = (
    *(Check(f"{service}: unpublished", partial(unpublished, service)) for service in SERVICES),
    *(Check(f"{service}: parked", partial(parked, service)) for service in SERVICES),
)
