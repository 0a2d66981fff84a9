"""What is remembered: events, deliveries, attempts. Queries only, no rules. Subscriptions are in subscriptions.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.webhooks.domain import Answer, Status, Verdict

# A statement and its parameters, for the one that sends it along with others (chassis/pipeline.py).
Query = tuple[TextClause, Mapping[str, Any]]

_ADD_EVENTS = text("""
    INSERT INTO event (tenant_id, id, type, body, occurred_at)
    SELECT * FROM unnest(CAST(:tenant_ids AS text[]), CAST(:ids AS text[]), CAST(:types AS text[]),
                         CAST(:bodies AS bytea[]), CAST(:times AS timestamptz[]))
    ON CONFLICT DO NOTHING
""")

_ADD_DELIVERIES = text("""
    INSERT INTO delivery (tenant_id, id, subscription_id, event_id, due_at, created_at)
    SELECT *, CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM unnest(CAST(:tenant_ids AS text[]), CAST(:ids AS text[]), CAST(:subscription_ids AS text[]),
                CAST(:event_ids AS text[]))
    ON CONFLICT (tenant_id, subscription_id, event_id) DO NOTHING
""")

# in_flight: what the workers hold, few rows.
# tenant:    every tenant that has pending deliveries, found by hopping from one to the next in the index: the cost
#            follows the number of tenants, not the length of anyone's backlog. A full one is looked into no further.
# lane:      every subscription of those that has pending deliveries, and when its next is due, found in the same way.
# turn:      the lanes in which something is due, of each tenant as many as it has slots left: first come those with the
#            fewest in flight, and of these the oldest.
# ranked:    the next ones of these lanes, each with the place it would take among those of its lane, and then of its
#            tenant, that are in flight. A free slot goes to the tenant that occupies the fewest, and within a tenant to
#            the subscription that does: neither slow receivers nor many of them can crowd out the rest.
# locked:    skips what another worker is taking, and asks again whether it is due: that worker may have committed.
#            Not `status = 'pending'` as well, which is implied: it would lead the planner to the index of the backlog.
_CLAIM_DUE = text("""
    WITH RECURSIVE in_flight AS (
        SELECT tenant_id, subscription_id, count(*) AS count FROM delivery
        WHERE claim IS NOT NULL AND due_at > :now GROUP BY tenant_id, subscription_id
    ), tenant AS (
        SELECT '' AS tenant_id
        UNION ALL
        SELECT following.tenant_id FROM tenant CROSS JOIN LATERAL (
            SELECT d.tenant_id FROM delivery d
            WHERE d.status = 'pending' AND d.tenant_id > tenant.tenant_id ORDER BY d.tenant_id LIMIT 1
        ) following
    ), lane AS (
        SELECT tenant.tenant_id, occupied.count AS occupied, '' AS subscription_id, CAST(NULL AS timestamptz) AS due_at
        FROM tenant CROSS JOIN LATERAL (
            SELECT coalesce(sum(f.count), 0) AS count FROM in_flight f WHERE f.tenant_id = tenant.tenant_id
        ) occupied
        WHERE occupied.count < :per_tenant_max
        UNION ALL
        SELECT lane.tenant_id, lane.occupied, following.* FROM lane CROSS JOIN LATERAL (
            SELECT d.subscription_id, d.due_at FROM delivery d
            WHERE d.status = 'pending' AND d.tenant_id = lane.tenant_id AND d.subscription_id > lane.subscription_id
            ORDER BY d.subscription_id, d.due_at LIMIT 1
        ) following
    ), turn AS (
        SELECT tenant_id, subscription_id, lane.occupied, coalesce(f.count, 0) AS in_flight,
               row_number() OVER (PARTITION BY tenant_id ORDER BY coalesce(f.count, 0), lane.due_at) AS number
        FROM lane LEFT JOIN in_flight f USING (tenant_id, subscription_id)
        WHERE lane.due_at <= :now AND coalesce(f.count, 0) < :per_subscription_max
    ), ranked AS (
        SELECT turn.tenant_id, next.id, next.due_at, turn.occupied
               + row_number() OVER (PARTITION BY turn.tenant_id ORDER BY next.place, next.due_at) AS place
        FROM turn CROSS JOIN LATERAL (
            SELECT d.id, d.due_at, turn.in_flight + row_number() OVER (ORDER BY d.due_at) AS place
            FROM delivery d
            WHERE d.status = 'pending' AND d.tenant_id = turn.tenant_id AND d.subscription_id = turn.subscription_id
              AND d.due_at <= :now
            ORDER BY d.due_at LIMIT :per_subscription_max - turn.in_flight
        ) next
        WHERE turn.number <= least(:per_tenant_max - turn.occupied, :limit)
    ), due AS (
        SELECT tenant_id, id FROM ranked WHERE place <= :per_tenant_max ORDER BY place, due_at LIMIT :limit
    ), locked AS (
        SELECT d.tenant_id, d.id FROM delivery d JOIN due USING (tenant_id, id)
        WHERE d.due_at <= :now
        FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE delivery d SET claim = :claim, due_at = :lease_until
    FROM locked, subscription s, event e
    WHERE (d.tenant_id, d.id) = (locked.tenant_id, locked.id)
      AND (s.tenant_id, s.id) = (d.tenant_id, d.subscription_id)
      AND (e.tenant_id, e.id) = (d.tenant_id, d.event_id)
    RETURNING d.tenant_id, d.id, d.subscription_id, d.event_id, d.attempts_made, d.claim,
              s.status = 'active' AS is_active, s.url, s.secret, e.body
""")

_SETTLE = text("""
    UPDATE delivery
    SET status = :status, attempts_made = :attempts_made, due_at = :due_at, ended_at = :ended_at, claim = NULL
    WHERE tenant_id = :tenant_id AND id = :id AND claim = :claim RETURNING 1
""")

_ADD_ATTEMPT = text("""
    INSERT INTO attempt (tenant_id, delivery_id, number, at, status_code, error, duration_ms)
    VALUES (:tenant_id, :delivery_id, :number, :at, :status_code, :error, :duration_ms)
""")

_PURGE_DELIVERIES = text("""
    WITH old AS (
        SELECT tenant_id, id FROM delivery WHERE ended_at < CAST(:before AS timestamptz) LIMIT :limit
    ), attempts AS (
        DELETE FROM attempt a USING old WHERE (a.tenant_id, a.delivery_id) = (old.tenant_id, old.id)
    )
    DELETE FROM delivery d USING old WHERE (d.tenant_id, d.id) = (old.tenant_id, old.id)
""")

_PURGE_EVENTS = text("""
    DELETE FROM event WHERE (tenant_id, id) IN (
        SELECT e.tenant_id, e.id FROM event e
        WHERE e.occurred_at < CAST(:before AS timestamptz)
          AND NOT EXISTS (SELECT 1 FROM delivery d WHERE (d.tenant_id, d.event_id) = (e.tenant_id, e.id))
        LIMIT :limit
    )
""")

RETENTION = timedelta(days=30)  # of deliveries that have ended, with their attempts, events and deleted subscriptions


@dataclass(frozen=True)
class Claimed:
    """A delivery that one worker holds until its lease ends, with all that an attempt needs."""

    tenant_id: str
    id: str
    subscription_id: str
    event_id: str
    attempts_made: int
    claim: str
    is_active: bool
    url: str
    secret: bytes
    body: bytes


@dataclass(frozen=True)
class Attempt:
    number: int
    at: datetime
    answer: Answer
    duration_ms: int


class StoredEvent(NamedTuple):
    """An event that somebody asked for, and its body as it is sent."""

    tenant_id: str
    id: str
    type: str
    body: bytes
    occurred_at: datetime


class Delivery(NamedTuple):
    """An event on its way to a subscription."""

    tenant_id: str
    id: str
    subscription_id: str
    event_id: str


def adding_events(events: Sequence[StoredEvent]) -> Query:
    """Adds events; one that exists is left alone."""
    columns = ("tenant_ids", "ids", "types", "bodies", "times")
    return _ADD_EVENTS, dict(zip(columns, map(list, zip(*events, strict=True)), strict=True))


def adding_deliveries(deliveries: Sequence[Delivery], *, now: datetime) -> Query:
    """Adds pending deliveries; one that exists is left alone."""
    columns = ("tenant_ids", "ids", "subscription_ids", "event_ids")
    values = dict(zip(columns, map(list, zip(*deliveries, strict=True)), strict=True))
    return _ADD_DELIVERIES, {**values, "now": now}


async def claim_due(
    tx: AsyncConnection,
    *,
    claim: str,
    now: datetime,
    lease_until: datetime,
    limit: int,
    per_tenant_max: int,
    per_subscription_max: int,
) -> list[Claimed]:
    """Takes at most `limit` due deliveries. What all workers hold of one tenant and of one subscription is bounded."""
    row = {
        "claim": claim,
        "now": now,
        "lease_until": lease_until,
        "limit": limit,
        "per_tenant_max": per_tenant_max,
        "per_subscription_max": per_subscription_max,
    }
    return [Claimed(**found._mapping) for found in await tx.execute(_CLAIM_DUE, row)]


async def settle(tx: AsyncConnection, claimed: Claimed, verdict: Verdict, *, attempts_made: int, now: datetime) -> bool:
    """Writes what became of a claimed delivery and gives it back. False, and no change, where the lease was lost."""
    row = {
        "tenant_id": claimed.tenant_id,
        "id": claimed.id,
        "claim": claimed.claim,
        "status": verdict.status,
        "attempts_made": attempts_made,
        "due_at": verdict.next_attempt_at,
        "ended_at": None if verdict.status is Status.PENDING else now,
    }
    return (await tx.execute(_SETTLE, row)).first() is not None


async def add_attempt(tx: AsyncConnection, claimed: Claimed, attempt: Attempt) -> None:
    row = {
        "tenant_id": claimed.tenant_id,
        "delivery_id": claimed.id,
        "number": attempt.number,
        "at": attempt.at,
        "status_code": attempt.answer.status_code,
        "error": attempt.answer.error,
        "duration_ms": attempt.duration_ms,
    }
    await tx.execute(_ADD_ATTEMPT, row)


async def purge_deliveries(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Forgets deliveries that ended long ago; returns how many."""
    return (await tx.execute(_PURGE_DELIVERIES, {"before": now - RETENTION, "limit": limit})).rowcount


async def purge_events(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Forgets events that are as old and have no delivery left; returns how many."""
    return (await tx.execute(_PURGE_EVENTS, {"before": now - RETENTION, "limit": limit})).rowcount
