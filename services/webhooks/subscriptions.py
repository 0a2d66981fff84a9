"""What is remembered of subscriptions: queries only, no rules. Their deliveries are in store.py.

A deleted one keeps its row for as long as deliveries name it, disabled and found by nobody.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.webhooks.domain import Asking, Subscription, patterns_matching
from services.webhooks.store import RETENTION, Query

_ADD = text("""
    INSERT INTO subscription (tenant_id, id, url, events, status, description, secret, created_at)
    VALUES (:tenant_id, :id, :url, CAST(:events AS text[]), 'active', :description, :secret, :created_at)
""")

_LISTED = """
    SELECT tenant_id, id, url, events, status = 'active' AS is_active, description, created_at
    FROM subscription WHERE tenant_id = :tenant_id AND deleted_at IS NULL
"""
_FIND = text(f"{_LISTED} AND id = :id")
# Not FOR UPDATE: a delivery that names it is written without waiting.
_LOCK = text(f"{_LISTED} AND id = :id FOR NO KEY UPDATE")
_FIRST_PAGE = text(f"{_LISTED} ORDER BY id DESC LIMIT :limit")
_NEXT_PAGE = text(f"{_LISTED} AND id < :after_id ORDER BY id DESC LIMIT :limit")

_QUEUE_UP = text("SELECT pg_advisory_xact_lock(hashtextextended(:tenant_id, 0))")

_COUNT_ACTIVE = text("SELECT count(*) FROM subscription WHERE tenant_id = :tenant_id AND status = 'active'")

_LISTENING = text("""
    SELECT s.tenant_id FROM unnest(CAST(:tenant_ids AS text[])) AS wanted (tenant_id) CROSS JOIN LATERAL (
        SELECT tenant_id FROM subscription s WHERE s.tenant_id = wanted.tenant_id AND s.deleted_at IS NULL LIMIT 1
    ) s
""")

_ASKING = text("""
    SELECT tenant_id, id, events, created_at FROM subscription
    WHERE tenant_id = ANY(CAST(:tenant_ids AS text[])) AND status = 'active' AND events && CAST(:patterns AS text[])
""")

_SAVE = text("""
    UPDATE subscription SET url = :url, events = CAST(:events AS text[]), description = :description,
        status = CASE WHEN :is_active THEN 'active' ELSE 'disabled' END
    WHERE tenant_id = :tenant_id AND id = :id
""")

_DISABLE = text("""
    UPDATE subscription SET status = 'disabled' WHERE tenant_id = :tenant_id AND id = :id AND url = :url
""")

_DELETE = text("""
    UPDATE subscription SET status = 'disabled', deleted_at = :now
    WHERE tenant_id = :tenant_id AND id = :id AND deleted_at IS NULL RETURNING 1
""")

_PURGE = text("""
    DELETE FROM subscription WHERE (tenant_id, id) IN (
        SELECT s.tenant_id, s.id FROM subscription s
        WHERE s.deleted_at < CAST(:before AS timestamptz)
          AND NOT EXISTS (SELECT 1 FROM delivery d WHERE (d.tenant_id, d.subscription_id) = (s.tenant_id, s.id))
        LIMIT :limit
    )
""")


async def add(tx: AsyncConnection, subscription: Subscription, secret: bytes) -> None:
    await tx.execute(_ADD, _row(subscription) | {"secret": secret, "created_at": subscription.created_at})


async def find(tx: AsyncConnection, tenant_id: str, subscription_id: str) -> Subscription | None:
    row = (await tx.execute(_FIND, {"tenant_id": tenant_id, "id": subscription_id})).first()
    return _subscription(row) if row is not None else None


async def lock(tx: AsyncConnection, tenant_id: str, subscription_id: str) -> Subscription | None:
    """As `find`; nobody else changes it before the transaction ends."""
    row = (await tx.execute(_LOCK, {"tenant_id": tenant_id, "id": subscription_id})).first()
    return _subscription(row) if row is not None else None


async def page(tx: AsyncConnection, tenant_id: str, *, after_id: str | None, limit: int) -> list[Subscription]:
    """The newest first, by an index: a page costs the same however deep it lies. `after_id` need not exist."""
    given: dict[str, object] = {"tenant_id": tenant_id, "limit": limit}
    if after_id is None:
        rows = await tx.execute(_FIRST_PAGE, given)
    else:
        rows = await tx.execute(_NEXT_PAGE, given | {"after_id": after_id})
    return [_subscription(row) for row in rows]


async def queue_up(tx: AsyncConnection, tenant_id: str) -> None:
    """Lets the transactions that add to one tenant's active subscriptions pass one after the other."""
    await tx.execute(_QUEUE_UP, {"tenant_id": tenant_id})


async def count_active(tx: AsyncConnection, tenant_id: str) -> int:
    return int((await tx.execute(_COUNT_ACTIVE, {"tenant_id": tenant_id})).scalar_one())


def listening(tenant_ids: Iterable[str]) -> Query:
    """Those of the tenants that have a subscription, active or not."""
    return _LISTENING, {"tenant_ids": sorted(tenant_ids)}


def asking(announced: Collection[tuple[str, str]]) -> Query:
    """Who wants to hear of any of (tenant, event type); `asked_by` takes its rows."""
    patterns = {pattern for _, event_type in announced for pattern in patterns_matching(event_type)}
    return _ASKING, {"tenant_ids": sorted({tenant_id for tenant_id, _ in announced}), "patterns": sorted(patterns)}


def asked_by(rows: Iterable[Any], announced: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Sequence[Asking]]:
    """Who wants to hear of each (tenant, event type): active subscriptions."""
    active = [(row.tenant_id, Asking(row.id, row.created_at), set(row.events)) for row in rows]
    return {
        (tenant_id, event_type): [
            subscription
            for owner, subscription, wanted in active
            if owner == tenant_id and not wanted.isdisjoint(patterns_matching(event_type))
        ]
        for tenant_id, event_type in announced
    }


async def save(tx: AsyncConnection, subscription: Subscription) -> None:
    """Writes what may change of a subscription that is locked."""
    await tx.execute(_SAVE, _row(subscription) | {"is_active": subscription.is_active})


async def disable(tx: AsyncConnection, tenant_id: str, subscription_id: str, *, url: str) -> None:
    """No change where it has another URL by now."""
    await tx.execute(_DISABLE, {"tenant_id": tenant_id, "id": subscription_id, "url": url})


async def delete(tx: AsyncConnection, tenant_id: str, subscription_id: str, now: datetime) -> bool:
    """False, and no change, where there is none."""
    return (await tx.execute(_DELETE, {"tenant_id": tenant_id, "id": subscription_id, "now": now})).first() is not None


async def purge(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Forgets those that were deleted long ago and have no delivery left; returns how many."""
    return (await tx.execute(_PURGE, {"before": now - RETENTION, "limit": limit})).rowcount


def _row(subscription: Subscription) -> dict[str, object]:
    return {
        "tenant_id": subscription.tenant_id,
        "id": subscription.id,
        "url": subscription.url,
        "events": list(subscription.events),
        "description": subscription.description,
    }


def _subscription(row: Row) -> Subscription:  # type: ignore[type-arg]
    return Subscription(**{**row._mapping, "events": tuple(row.events)})
