"""An event has its effect once: the claim of its id commits together with the effect.

JetStream's own deduplication forgets after minutes; this table is the guarantee.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

RETENTION = timedelta(days=14)  # longer than the streams keep a message

_CLAIM = text("""
    INSERT INTO inbox (consumer, event_id) SELECT :consumer, * FROM unnest(CAST(:event_ids AS text[]))
    ON CONFLICT DO NOTHING RETURNING event_id
""")

_PURGE = text("""
    DELETE FROM inbox WHERE ctid IN (
        SELECT ctid FROM inbox WHERE received_at < CAST(:now AS timestamptz) - CAST(:retention AS interval)
        LIMIT :limit FOR UPDATE SKIP LOCKED
    )
""")


async def claim(tx: AsyncConnection, consumer: str, event_id: str) -> bool:
    """True the first time this consumer sees the event."""
    return event_id in await claim_many(tx, consumer, [event_id])


async def claim_many(tx: AsyncConnection, consumer: str, event_ids: Iterable[str]) -> set[str]:
    """Those of the events that this consumer sees for the first time."""
    # In one order for all: two that claim the same events must not deadlock.
    rows = await tx.execute(_CLAIM, {"consumer": consumer, "event_ids": sorted(event_ids)})
    return {row.event_id for row in rows}


async def purge(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Deletes at most `limit` rows that have served their time; returns how many went."""
    return (await tx.execute(_PURGE, {"now": now, "retention": RETENTION, "limit": limit})).rowcount
