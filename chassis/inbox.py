"""An event has its effect once: the claim of its id commits together with the effect.

JetStream's own deduplication forgets after minutes; this table is the guarantee.
"""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

RETENTION = timedelta(days=14)  # longer than the streams keep a message

_CLAIM = text("""
    INSERT INTO inbox (consumer, event_id) VALUES (:consumer, :event_id)
    ON CONFLICT DO NOTHING RETURNING 1
""")

_PURGE = text("""
    DELETE FROM inbox WHERE ctid IN (
        SELECT ctid FROM inbox WHERE received_at < CAST(:now AS timestamptz) - CAST(:retention AS interval)
        LIMIT :limit FOR UPDATE SKIP LOCKED
    )
""")


async def claim(tx: AsyncConnection, consumer: str, event_id: str) -> bool:
    """True the first time this consumer sees the event."""
    return (await tx.execute(_CLAIM, {"consumer": consumer, "event_id": event_id})).first() is not None


async def purge(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Deletes at most `limit` rows that have served their time; returns how many went."""
    return (await tx.execute(_PURGE, {"now": now, "retention": RETENTION, "limit": limit})).rowcount
