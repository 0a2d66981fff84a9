"""What was announced, read again: an outbox keeps its events for a while after they were published.

A projection is built again from it. What is older is gone: whoever reads must not take its absence for news.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.outbox import events_in
from skutrail.v1 import events_pb2

BATCH_MAX = 200  # rows at once: one takes up to 1 MiB

# Published or not: what still waits is as true.
_NEXT = text("""
    SELECT id, event_id, payload FROM outbox
    WHERE id > :after AND starts_with(subject, :prefix) ORDER BY id LIMIT :limit
""")
_LAST = text("""
    SELECT DISTINCT ON (key) key, event_id, payload FROM outbox
    WHERE subject = :subject AND key = ANY(CAST(:keys AS text[])) ORDER BY key, id DESC
""")


async def kept(database: Database, family: str) -> AsyncIterator[Sequence[events_pb2.Event]]:
    """Every event of a family, such as `shipment`, that the outbox still has: in order of its rows, batch by batch.

    Of one key that is the order of its commits. Each batch is a short transaction of its own. Raises ValueError for a
    row that cannot be read.
    """
    after = 0
    while True:
        rows = await database.run(partial(_behind, after=after, prefix=f"skutrail.{family}."))
        if not rows:
            return
        yield [event for row in rows for event in _events_in(row)]
        after = rows[-1].id


async def last_told(
    tx: AsyncConnection, event_type: str, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], events_pb2.Event]:
    """The newest event that the outbox still has of each (tenant id, key), for those that it has one of.

    The outbox is read as a whole.
    """
    named = {f"{tenant_id}/{key}": (tenant_id, key) for tenant_id, key in keys}
    rows = await tx.execute(_LAST, {"subject": f"skutrail.{event_type}", "keys": list(named)})
    return {named[row.key]: _events_in(row)[-1] for row in rows}


async def _behind(tx: AsyncConnection, *, after: int, prefix: str) -> Sequence[Row[Any]]:
    return (await tx.execute(_NEXT, {"after": after, "prefix": prefix, "limit": BATCH_MAX})).all()


def _events_in(row: Row[Any]) -> Sequence[events_pb2.Event]:
    try:
        return events_in(row.payload)
    except DecodeError as error:
        raise ValueError(f"What is kept as {row.event_id} is no event.") from error
