"""What a pick needs to know of holds, and what it leaves on the lines and on the request. Queries only, no rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import text

from services.inventory.domain import StockKey
from services.inventory.request_store import RequestKey
from services.inventory.requests import AllocationStatus
from services.inventory.store import Query, key_columns

# What a pick may use of the hold that it names: nothing once that has expired.
_OPEN_HOLDS_AT = text("""
    SELECT h.* FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:skus AS text[]),
                           CAST(:warehouses AS text[])) AS w (tenant_id, request_id, sku, warehouse)
    CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, sku, warehouse, open, consumed FROM hold h
        WHERE h.tenant_id = w.tenant_id AND h.request_id = w.request_id AND h.sku = w.sku
          AND h.warehouse = w.warehouse AND h.open > 0 AND (h.expires_at IS NULL OR h.expires_at > :now) LIMIT 1
    ) h
""")

_NOTE_PICKED = text("""
    INSERT INTO allocation_line AS l (tenant_id, request_id, sku, qty, consumed)
    SELECT known.*, n.units
    FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[]), CAST(:skus AS text[]), CAST(:units AS bigint[]))
        AS n (tenant_id, request_id, sku, units)
    CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, sku, qty FROM allocation_line k
        WHERE k.tenant_id = n.tenant_id AND k.request_id = n.request_id AND k.sku = n.sku LIMIT 1
    ) known
    ON CONFLICT (tenant_id, request_id, sku) DO UPDATE SET consumed = l.consumed + excluded.consumed
""")

_CLOSE_PICKED = text("""
    INSERT INTO allocation AS a (tenant_id, request_id, position, created_at, status) OVERRIDING SYSTEM VALUE
    SELECT known.*, :consumed
    FROM unnest(CAST(:tenants AS text[]), CAST(:requests AS text[])) AS wanted (tenant_id, request_id)
    CROSS JOIN LATERAL (
        SELECT tenant_id, request_id, position, created_at FROM allocation k
        WHERE k.tenant_id = wanted.tenant_id AND k.request_id = wanted.request_id AND k.status = :held LIMIT 1
    ) known
    WHERE (
        SELECT count(*) FROM allocation_line l
        WHERE l.tenant_id = known.tenant_id AND l.request_id = known.request_id AND l.consumed < l.qty
    ) = 0
    ON CONFLICT (tenant_id, request_id) DO UPDATE SET status = excluded.status, version = a.version + 1
""")


def open_holds_at(wanted: Sequence[tuple[str, StockKey]], now: datetime) -> Query:
    """The open holds of requests at keys that have not expired; `request_store.holds_of` takes its rows."""
    requests = [request for request, _ in wanted]
    return _OPEN_HOLDS_AT, {**key_columns([key for _, key in wanted]), "requests": requests, "now": now}


def noting_picked(picked: Mapping[tuple[str, str, str], int]) -> Query:
    """Units by (tenant, request, SKU)."""
    lines = sorted(picked)
    return _NOTE_PICKED, {
        "tenants": [tenant_id for tenant_id, _, _ in lines],
        "requests": [request_id for _, request_id, _ in lines],
        "skus": [sku for _, _, sku in lines],
        "units": [picked[line] for line in lines],
    }


def closing_picked(requests: Iterable[RequestKey]) -> Query:
    """Those of the requests that are held and of which all was picked become consumed."""
    keys = sorted(set(requests))
    return _CLOSE_PICKED, {
        "tenants": [tenant_id for tenant_id, _ in keys],
        "requests": [request_id for _, request_id in keys],
        "consumed": int(AllocationStatus.CONSUMED),
        "held": int(AllocationStatus.HELD),
    }
