"""Reading what was recorded: single entries, pages of the trail, balances of old, levels. Queries only, no rules.

Every page is found by an index and a position: it costs the same however deep it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.ids import earliest_id
from services.inventory import store
from services.inventory.domain import Entry, Reason, StockKey

_OF_CHAIN = "tenant_id = :tenant_id AND sku = :sku AND warehouse = :warehouse"


def _last_seq(is_so_far: str) -> str:
    """SQL for the seq of a chain's last entry of which the condition on its time still holds; 0 where none is.

    Time never runs backwards within a chain, so it is found by halving the seqs: some 20 looks for a million entries,
    and no index on time.
    """
    return f"""(
        WITH RECURSIVE search (lowest, highest) AS (
            SELECT CAST(0 AS bigint), seq FROM balance WHERE {_OF_CHAIN}
            UNION ALL
            SELECT CASE WHEN e.{is_so_far} THEN e.seq ELSE s.lowest END,
                   CASE WHEN e.{is_so_far} THEN s.highest ELSE e.seq - 1 END
            FROM search s CROSS JOIN LATERAL (
                SELECT seq, created_at FROM ledger_entry WHERE {_OF_CHAIN} AND seq = (s.lowest + s.highest + 1) / 2
            ) e
            WHERE s.lowest < s.highest
        )
        SELECT lowest FROM search WHERE lowest = highest
    )"""  # noqa: S608 - constants


_BALANCE_AT = text(
    f"SELECT balance FROM ledger_entry WHERE {_OF_CHAIN} AND seq = {_last_seq('created_at <= :as_of')}"  # noqa: S608 - constants
)

_COLUMNS = "tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at"
_ENTRY = text(f"SELECT {_COLUMNS} FROM ledger_entry WHERE tenant_id = :tenant_id AND id = :id")  # noqa: S608 - constants

# One condition per filter that is given. The names are ours; values are only ever bound.
_CONDITIONS = {
    "sku": "sku = :sku",
    "warehouse": "warehouse = :warehouse",
    "reason": "reason = :reason",
    "reference": "reference = :reference",
    # No index knows the time of an entry, but its id was born with it.
    "created_after": "created_at > :created_after AND id > :born_after",
    "created_before": "created_at < :created_before AND id < :born_before",
}
_CONDITIONS_OF_CHAIN = _CONDITIONS | {
    "created_after": f"seq > {_last_seq('created_at <= :created_after')}",
    "created_before": f"seq <= {_last_seq('created_at < :created_before')}",
}
_BEHIND_SEQ = "seq < (SELECT seq FROM ledger_entry WHERE tenant_id = :tenant_id AND id = :after_id)"
_BEHIND_ID = "id < :after_id"

# An entry's id is born right after its time was read, by the same clock. Only where the clock of another machine was
# ahead, the entries behind it carry that clock's time (time never runs backwards), and ids that seem too early for it.
CLOCKS_APART_MAX = timedelta(minutes=1)

# Those that wait are few beside those that ever did, and so is what has expired and was not ended yet: each is found by
# an index of its own.
_LEVELS = """
    WITH page AS (
        SELECT tenant_id, sku, warehouse, on_hand, held FROM balance
        WHERE {conditions} ORDER BY sku, warehouse LIMIT :limit
    ), waited_for AS MATERIALIZED (
        SELECT p.sku, CAST(w.units AS bigint) AS units
        FROM (SELECT DISTINCT tenant_id, sku FROM page) p CROSS JOIN LATERAL (
            SELECT coalesce(sum(l.missing), 0) AS units
            FROM allocation_line l JOIN allocation a USING (tenant_id, request_id)
            WHERE l.tenant_id = p.tenant_id AND l.sku = p.sku AND l.missing > 0 AND a.status = 1
              AND (a.expires_at IS NULL OR a.expires_at > :now)
        ) w
    )
    SELECT sku, warehouse, on_hand,
        CAST(held - (
            SELECT coalesce(sum(h.open), 0) FROM hold h
            WHERE h.tenant_id = page.tenant_id AND h.sku = page.sku AND h.warehouse = page.warehouse AND h.open > 0
              AND h.expires_at <= :now
        ) AS bigint) AS held,
        waited_for.units AS waiting
    FROM page JOIN waited_for USING (sku) ORDER BY sku, warehouse
"""


@dataclass(frozen=True)
class Filters:
    """Which entries; None stands for all."""

    sku: str | None = None
    warehouse: str | None = None
    reason: Reason | None = None
    reference: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    @property
    def is_of_one_chain(self) -> bool:
        return self.sku is not None and self.warehouse is not None


@dataclass(frozen=True)
class Level:
    sku: str
    warehouse: str
    on_hand: int
    held: int
    waiting: int


async def balance_at(tx: AsyncConnection, key: StockKey, as_of: datetime) -> int:
    """Units on hand right after the last entry at or before the instant; 0 before the first."""
    row = (await tx.execute(_BALANCE_AT, {**key._asdict(), "as_of": as_of})).first()
    return int(row.balance) if row is not None else 0


async def find_entry(tx: AsyncConnection, tenant_id: str, entry_id: str) -> Entry | None:
    row = (await tx.execute(_ENTRY, {"tenant_id": tenant_id, "id": entry_id})).first()
    return _entry(row) if row is not None else None


async def list_entries(
    tx: AsyncConnection, tenant_id: str, filters: Filters, *, after_id: str | None, limit: int
) -> list[Entry]:
    """Entries, newest first; those of one chain by seq, highest first."""
    is_chain = filters.is_of_one_chain
    known = _CONDITIONS_OF_CHAIN if is_chain else _CONDITIONS
    given = {name: value for name, value in vars(filters).items() if value is not None}
    conditions = ["tenant_id = :tenant_id", *(known[name] for name in given)]
    if after_id is not None:
        conditions.append(_BEHIND_SEQ if is_chain else _BEHIND_ID)
        given["after_id"] = after_id
    order = "seq" if is_chain else "id"
    query = f"SELECT {_COLUMNS} FROM ledger_entry WHERE {' AND '.join(conditions)} ORDER BY {order} DESC LIMIT :limit"  # noqa: S608 - constants
    given |= {} if is_chain else _births(filters)
    rows = await tx.execute(text(query), {"tenant_id": tenant_id, **given, "limit": limit})
    return [_entry(row) for row in rows]


def _births(filters: Filters) -> dict[str, str]:
    """Between which ids the entries of a window of time lie."""
    born = {}
    if filters.created_after is not None:
        born["born_after"] = earliest_id("inv", filters.created_after, -CLOCKS_APART_MAX)
    if filters.created_before is not None:
        born["born_before"] = earliest_id("inv", filters.created_before, CLOCKS_APART_MAX)
    return born


async def list_levels(
    tx: AsyncConnection,
    tenant_id: str,
    *,
    sku: str | None,
    warehouse: str | None,
    after: tuple[str, str] | None,
    limit: int,
    now: datetime,
) -> list[Level]:
    """Stock per SKU and warehouse that ever moved, in that order, without the holds that have expired."""
    given = {name: value for name, value in (("sku", sku), ("warehouse", warehouse)) if value is not None}
    conditions = ["tenant_id = :tenant_id", store.HAS_MOVED, *(_CONDITIONS[name] for name in given)]
    if after is not None:
        conditions.append("(sku, warehouse) > (:after_sku, :after_warehouse)")
        given |= {"after_sku": after[0], "after_warehouse": after[1]}
    query = text(_LEVELS.format(conditions=" AND ".join(conditions)))
    bound = {"tenant_id": tenant_id, **given, "limit": limit, "now": now}
    return [Level(**row._mapping) for row in await tx.execute(query, bound)]


def _entry(row: Row) -> Entry:  # type: ignore[type-arg]
    key = StockKey(row.tenant_id, row.sku, row.warehouse)
    return Entry(row.id, key, row.seq, row.qty, row.balance, Reason(row.reason), row.reference, row.created_at)
