"""Shipments and labels that stay where they should only pass through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, TextClause, text

from cli.diagnosis.check import FOUND_MAX, Check, Finding, Sources

QUEUED_MAX = timedelta(minutes=5)
ALLOCATED_MAX = timedelta(minutes=30)
LABEL_MAX = timedelta(minutes=30)
GIVEN_BACK_WITHIN = timedelta(minutes=5)
CANCELED_WITHIN = timedelta(minutes=5)
VOIDED_WITHIN = timedelta(minutes=30)
DELIVERED_WITHIN = timedelta(days=14)
REFUSAL_TOLD_FOR = timedelta(days=7)

# A purchase that is tried again and again changes its shipment each time: it counts from its first try, whatever became
# of the latest. Where stock comes back to, that is a new one; where it no longer is, no label is bought.
_STUCK = text("""
    SELECT tenant_id, id, status, (extract(epoch FROM now() - since) / 60)::bigint AS minutes
    FROM (
        SELECT s.tenant_id, s.id, s.status, least(s.updated_at, (
            SELECT min(began_at) FROM parcel p
            WHERE p.tenant_id = s.tenant_id AND p.shipment_id = s.id AND s.status = 'allocated'
                AND p.label_status IN ('none', 'purchasing', 'unknown')
                AND s.allocations @> jsonb_build_array(jsonb_build_object('warehouse', p.warehouse))
        )) AS since
        FROM shipment s WHERE s.status IN ('queued', 'allocated')
    ) s
    WHERE since < now() - CASE status WHEN 'queued' THEN CAST(:queued AS interval) ELSE CAST(:allocated AS interval) END
    ORDER BY since LIMIT :limit
""")

_LABELS = text("""
    SELECT p.tenant_id, p.reference, p.label_status,
        (extract(epoch FROM now() - coalesce(p.began_at, s.updated_at)) / 60)::bigint AS minutes
    FROM parcel p JOIN shipment s ON s.tenant_id = p.tenant_id AND s.id = p.shipment_id
    WHERE p.label_status IN ('purchasing', 'unknown', 'voiding')
        AND coalesce(p.began_at, s.updated_at) < now() - CAST(:age AS interval)
    ORDER BY coalesce(p.began_at, s.updated_at) LIMIT :limit
""")

_NOT_GIVEN_BACK = text("""
    SELECT tenant_id, id, status, (extract(epoch FROM now() - updated_at) / 60)::bigint AS minutes
    FROM shipment
    WHERE status IN ('canceled', 'failed') AND NOT stock_given_back AND updated_at < now() - CAST(:age AS interval)
    ORDER BY updated_at LIMIT :limit
""")

_NOT_CANCELED = text("""
    SELECT tenant_id, id, status, (extract(epoch FROM now() - cancel_asked_at) / 60)::bigint AS minutes
    FROM shipment
    WHERE cancel_asked_at < now() - CAST(:age AS interval)
    ORDER BY cancel_asked_at LIMIT :limit
""")

# Each try changes the shipment. Those that were tried, and are not done, are told as labels under way.
_NOT_VOIDED = text("""
    SELECT s.tenant_id, s.id, (extract(epoch FROM now() - s.updated_at) / 60)::bigint AS minutes
    FROM shipment s
    WHERE s.voids_looked_at IS NOT NULL AND s.updated_at < now() - CAST(:age AS interval) AND NOT EXISTS (
        SELECT FROM parcel p WHERE p.tenant_id = s.tenant_id AND p.shipment_id = s.id
            AND p.label_status IN ('purchasing', 'unknown', 'voiding'))
    ORDER BY s.updated_at LIMIT :limit
""")

# Such a label serves nobody, and nothing will change that: it is told for a while, and not for ever.
_NOT_TAKEN_BACK = text("""
    SELECT tenant_id, reference, tracking_number
    FROM parcel WHERE void_refused_at > now() - CAST(:age AS interval)
    ORDER BY void_refused_at DESC LIMIT :limit
""")

# The first conditions are those of an index.
_NOT_DELIVERED = text("""
    SELECT tenant_id, id, extract(day FROM now() - updated_at)::bigint AS days
    FROM shipment
    WHERE status = 'shipped' AND NOT stock_given_back AND cancel_asked_at IS NULL
        AND updated_at < now() - CAST(:age AS interval)
    ORDER BY updated_at LIMIT :limit
""")

_SEE_INVENTORY = "See whether inventory answers; then shipment.left in the log of shipments"
_WHAT_TO_DO = {
    "queued": "See whether inventory answers; then shipment.left and event.failed in the log of shipments",
    "allocated": "See carrier trouble in the log of shipments: label.purchase_ended, shipment.left",
}


def _check(name: str, query: TextClause, tell: Callable[[Row[Any]], Finding], **asked: timedelta) -> Check:
    async def look(sources: Sources) -> Sequence[Finding]:
        async with sources.read("shipments") as tx:
            return [tell(row) for row in await tx.execute(query, {**asked, "limit": FOUND_MAX})]

    return Check(f"shipments: {name}", look)


def _stuck(row: Row[Any]) -> Finding:
    return Finding(row.id, f"{row.status} for {row.minutes} min ({row.tenant_id})", _WHAT_TO_DO[row.status])


def _label(row: Row[Any]) -> Finding:
    return Finding(
        row.reference,
        f"its label is {row.label_status} for {row.minutes} min ({row.tenant_id})",
        "Ask the carrier for this reference; shipments asks by itself as long as it runs",
    )


def _not_given_back(row: Row[Any]) -> Finding:
    return Finding(
        row.id,
        f"{row.status} for {row.minutes} min, and its stock is not given back ({row.tenant_id})",
        _SEE_INVENTORY,
    )


def _not_canceled(row: Row[Any]) -> Finding:
    return Finding(
        row.id,
        f"to be canceled for {row.minutes} min, and still {row.status} ({row.tenant_id})",
        _SEE_INVENTORY,
    )


def _not_voided(row: Row[Any]) -> Finding:
    return Finding(
        row.id,
        f"has a label that serves nobody, and for {row.minutes} min nobody gave it back ({row.tenant_id})",
        "See whether shipments runs; then shipment.left and sweep.postponed in its log",
    )


def _not_taken_back(row: Row[Any]) -> Finding:
    return Finding(
        row.reference,
        f"label {row.tracking_number} serves nobody, and the carrier did not take it back ({row.tenant_id})",
        "It is paid for: settle it with the carrier. See label.not_taken_back in the log of shipments",
    )


def _not_delivered(row: Row[Any]) -> Finding:
    return Finding(
        row.id,
        f"shipped {row.days} days ago, and never delivered ({row.tenant_id})",
        "Ask the carrier for its tracking numbers. What left without labels is never heard of",
    )


CHECKS = (
    _check("stuck", _STUCK, _stuck, queued=QUEUED_MAX, allocated=ALLOCATED_MAX),
    _check("labels", _LABELS, _label, age=LABEL_MAX),
    _check("not given back", _NOT_GIVEN_BACK, _not_given_back, age=GIVEN_BACK_WITHIN),
    _check("not canceled", _NOT_CANCELED, _not_canceled, age=CANCELED_WITHIN),
    _check("not voided", _NOT_VOIDED, _not_voided, age=VOIDED_WITHIN),
    _check("not taken back", _NOT_TAKEN_BACK, _not_taken_back, age=REFUSAL_TOLD_FOR),
    _check("not delivered", _NOT_DELIVERED, _not_delivered, age=DELIVERED_WITHIN),
)
