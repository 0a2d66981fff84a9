"""An event has its effect once: the claim of its id commits together with the effect.

JetStream's own deduplication forgets after minutes; this table is the guarantee.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

RETENTION = timedelta(days=14)  # longer than the streams keep a message

_CLAIM = text("""
    INSERT INTO inbox (consumer, event_id) SELECT CAST(:consumer AS text), * FROM unnest(CAST(:event_ids AS text[]))
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
    return (await tx.execute(*claiming(consumer, [event_id]))).first() is not None


def claiming(consumer: str, event_ids: Iterable[str]) -> tuple[TextClause, Mapping[str, Any]]:
    """The statement whose rows are those of the events that this consumer sees for the first time."""
    # In one order for all: two that claim the same events must not deadlock.
    return _CLAIM, {"consumer": consumer, "event_ids": sorted(event_ids)}


async def purge(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Deletes at most `limit` rows that have served their time; returns how many went."""
    return (await tx.execute(_PURGE, {"now": now, "retention": RETENTION, "limit": limit})).rowcount
