"""What is remembered: shipments, their parcels, the labels that were bought. Queries only, no rules.

A shipment and its parcels change only under the lock of the shipment's row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.pipeline import Pipeline
from services.shipments import voiding
from services.shipments.domain import (
    Address,
    Attempt,
    Coordinates,
    Failure,
    HeldLine,
    LabelStatus,
    Line,
    Parcel,
    Policy,
    Shipment,
    Status,
)

ShipmentKey = tuple[str, str]  # tenant, id
Change = tuple[Shipment, Shipment]  # before and after
Query = tuple[TextClause, Mapping[str, Any]]
"""A statement and its parameters, for whoever sends it along with others (chassis/pipeline.py)."""

TAKEN_MAX = 50  # by the sweeper, at once

# What a shipment is created with, and of what type.
_CREATED_WITH = {
    "tenant_id": "text",
    "id": "text",
    "order_id": "text",
    "status": "text",
    "ship_to": "jsonb",
    "line_items": "jsonb",
    "carrier_hint": "text",
    "policy": "text",
    "priority": "smallint",
    "hold_expires_at": "timestamptz",
    "carrier": "text",
    "service": "text",
    "allocations": "jsonb",
    "error_code": "text",
    "error_message": "text",
    "version": "bigint",
    "allocation_version": "bigint",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
_INSERT = text(f"""
    INSERT INTO shipment ({", ".join(_CREATED_WITH)}, looked_at)
    SELECT *, created_at
    FROM unnest({", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _CREATED_WITH.items())})
        AS n ({", ".join(_CREATED_WITH)})
""")  # noqa: S608 - constants

# An upsert of rows that are there, for they are locked: found by the primary key, whatever the planner thinks of the
# table. Only what stands behind SET changes; what is given for other columns is never stored. (WHERE true: without it
# ON would begin the condition of a join.)
_UPDATE = text("""
    INSERT INTO shipment AS s (tenant_id, id, order_id, ship_to, line_items, created_at, looked_at, status, carrier,
        service, allocations, error_code, error_message, version, allocation_version, updated_at, cancel_asked_at,
        voids_looked_at)
    SELECT tenant_id, id, '', '{}', '[0]', updated_at, updated_at, status, carrier, service,
        CAST(allocations AS jsonb), error_code, error_message, version, allocation_version, updated_at, cancel_asked_at,
        CASE WHEN has_labels_to_void THEN updated_at END
    FROM unnest(CAST(:tenant_id AS text[]), CAST(:id AS text[]), CAST(:status AS text[]), CAST(:carrier AS text[]),
        CAST(:service AS text[]), CAST(:allocations AS text[]), CAST(:error_code AS text[]),
        CAST(:error_message AS text[]), CAST(:version AS bigint[]), CAST(:allocation_version AS bigint[]),
        CAST(:updated_at AS timestamptz[]), CAST(:cancel_asked_at AS timestamptz[]),
        CAST(:has_labels_to_void AS boolean[]))
        AS n (tenant_id, id, status, carrier, service, allocations, error_code, error_message, version,
            allocation_version, updated_at, cancel_asked_at, has_labels_to_void)
    WHERE true
    ON CONFLICT (tenant_id, id) DO UPDATE SET
        status = excluded.status, carrier = excluded.carrier, service = excluded.service,
        allocations = excluded.allocations, error_code = excluded.error_code, error_message = excluded.error_message,
        version = excluded.version, allocation_version = excluded.allocation_version,
        updated_at = excluded.updated_at, cancel_asked_at = excluded.cancel_asked_at,
        voids_looked_at = CASE WHEN excluded.voids_looked_at IS NOT NULL
            THEN coalesce(s.voids_looked_at, excluded.voids_looked_at) END
""")

_SAVE_PARCELS = text("""
    INSERT INTO parcel (tenant_id, shipment_id, number, warehouse, reference, label_status, tracking_number,
        attempt_key, try_id, began_at, tried_at, leased_until, sent_at, void_refused_at)
    SELECT * FROM unnest(CAST(:tenant_id AS text[]), CAST(:shipment_id AS text[]), CAST(:number AS smallint[]),
        CAST(:warehouse AS text[]), CAST(:reference AS text[]), CAST(:label_status AS text[]),
        CAST(:tracking_number AS text[]), CAST(:attempt_key AS text[]), CAST(:try_id AS text[]),
        CAST(:began_at AS timestamptz[]), CAST(:tried_at AS timestamptz[]), CAST(:leased_until AS timestamptz[]),
        CAST(:sent_at AS timestamptz[]), CAST(:void_refused_at AS timestamptz[]))
    ON CONFLICT (tenant_id, shipment_id, number) DO UPDATE SET
        label_status = excluded.label_status, tracking_number = excluded.tracking_number,
        attempt_key = excluded.attempt_key, try_id = excluded.try_id, began_at = excluded.began_at,
        tried_at = excluded.tried_at, leased_until = excluded.leased_until, sent_at = excluded.sent_at,
        void_refused_at = excluded.void_refused_at
""")

# LATERAL with LIMIT: one look-up by primary key per wanted row, however little the planner knows about the table.
_WANTED = "unnest(CAST(:tenants AS text[]), CAST(:ids AS text[])) AS wanted (tenant_id, id)"
_LOCK = text(f"""
    SELECT 1 FROM {_WANTED} CROSS JOIN LATERAL (
        SELECT 1 FROM shipment s WHERE s.tenant_id = wanted.tenant_id AND s.id = wanted.id LIMIT 1 FOR UPDATE
    ) s
""")  # noqa: S608 - constants

_LOCK_WAIT = text("SELECT set_config('lock_timeout', :wait, true)")

# One statement for shipments and their parcels: two would see two moments. Conditions are ours; values are only bound.
_SHIPMENTS = """
    SELECT s.*, (
        SELECT jsonb_agg(to_jsonb(p) ORDER BY p.number) FROM parcel p
        WHERE p.tenant_id = s.tenant_id AND p.shipment_id = s.id
    ) AS parcels
    FROM {shipments} s WHERE {conditions}
"""
_OF_KEYS = f"""{_WANTED} CROSS JOIN LATERAL (
    SELECT * FROM shipment s WHERE s.tenant_id = wanted.tenant_id AND s.id = wanted.id LIMIT 1
)"""  # noqa: S608 - constants
_FIND = text(_SHIPMENTS.format(shipments=_OF_KEYS, conditions="true"))

# The look is stamped as it is taken: what stays in trouble goes to the end of the queue, and what another replica has
# under its hands is passed over. The first conditions are the index's; `looked` is the time that is stamped, by an
# upsert as above. MATERIALIZED: the rows are taken once, whatever the planner makes of it. A number, which no plan must
# guess.
_TAKE = """
    WITH taken AS MATERIALIZED (
        SELECT tenant_id, id, order_id, ship_to, line_items, status, allocations, error_code, version,
            allocation_version, created_at, updated_at, looked_at
        FROM shipment
        WHERE {conditions} AND {looked} < :before AND updated_at < :before
        ORDER BY {looked} LIMIT {limit} FOR UPDATE SKIP LOCKED
    )
    INSERT INTO shipment AS s (tenant_id, id, order_id, ship_to, line_items, status, allocations, error_code, version,
        allocation_version, created_at, updated_at, looked_at)
    SELECT * FROM taken WHERE true
    ON CONFLICT (tenant_id, id) DO UPDATE SET {looked} = :now
    RETURNING s.tenant_id, s.id
"""
_TAKE_UNATTENDED = text(
    _TAKE.format(
        looked="looked_at",
        limit=TAKEN_MAX,
        conditions="status <> 'delivered' AND NOT stock_given_back AND cancel_asked_at IS NULL AND status = :status",
    )
)
_TAKE_ASKED_TO_CANCEL = text(
    _TAKE.format(looked="looked_at", limit=TAKEN_MAX, conditions="cancel_asked_at IS NOT NULL")
)
_TAKE_WITH_LABELS_TO_VOID = text(
    _TAKE.format(looked="voids_looked_at", limit=TAKEN_MAX, conditions="voids_looked_at IS NOT NULL")
)

_MARK_STOCK_GIVEN_BACK = text("""
    UPDATE shipment SET stock_given_back = true
    WHERE tenant_id = :tenant_id AND id = :id AND status IN ('canceled', 'failed')
""")

_ADD_LABELS = text("""
    INSERT INTO label (tenant_id, shipment_id, number, content, carrier, service, created_at)
    SELECT * FROM unnest(CAST(:tenant_id AS text[]), CAST(:shipment_id AS text[]), CAST(:number AS smallint[]),
        CAST(:content AS bytea[]), CAST(:carrier AS text[]), CAST(:service AS text[]),
        CAST(:bought_at AS timestamptz[]))
""")

_LABELS = text("SELECT number, content FROM label WHERE tenant_id = :tenant_id AND shipment_id = :shipment_id")


@dataclass(frozen=True)
class BoughtLabel:
    """A label of a parcel, as it was sold."""

    tenant_id: str
    shipment_id: str
    number: int
    content: bytes
    carrier: str
    service: str
    bought_at: datetime


def inserting(shipments: Sequence[Shipment]) -> Query:
    """Adds new shipments."""
    rows = [_columns(shipment) for shipment in shipments]
    return _INSERT, {name: [row[name] for row in rows] for name in _CREATED_WITH}


def tell_changes(pipeline: Pipeline, changes: Sequence[Change]) -> None:
    """Saves what has changed of shipments that `lock` gave: before and after."""
    for query in saving(changes):
        pipeline.tell(*query)


def saving(changes: Sequence[Change]) -> Iterator[Query]:
    """One statement for the shipments and one for their parcels, however many they are."""
    if changes:
        yield _UPDATE, _by_column([_changing_columns(after) for _, after in changes])
    parcels = [
        _parcel_columns(after, parcel)
        for before, after in changes
        # Each against its own: parcels keep their places, new ones come behind.
        for parcel, was in zip_longest(after.opened_parcels, before.opened_parcels)
        if parcel != was
    ]
    if parcels:
        yield _SAVE_PARCELS, _by_column(parcels)


def tell_labels(pipeline: Pipeline, bought: Sequence[BoughtLabel]) -> None:
    """Keeps labels of parcels that have none."""
    if bought:
        pipeline.tell(*adding_labels(bought))


def adding_labels(bought: Sequence[BoughtLabel]) -> Query:
    return _ADD_LABELS, _by_column([vars(label) for label in bought])


async def lock(pipeline: Pipeline, keys: Iterable[ShipmentKey]) -> dict[ShipmentKey, Shipment]:
    """Those of the shipments that there are, locked in the order of their keys until the transaction ends."""
    ordered = sorted(set(keys))
    # Locked first and read then: a statement that waits for a lock sees the parcels of before its waiting.
    _, rows = await pipeline.ask(locking(ordered), finding(ordered))
    return _by_key(rows)


async def wait_for_locks(pipeline: Pipeline, at_most_ms: int) -> None:
    """For so long may each lock be waited for until the transaction ends."""
    await pipeline.ask((_LOCK_WAIT, {"wait": f"{at_most_ms}ms"}))


def locking(keys: Iterable[ShipmentKey]) -> Query:
    return _LOCK, _key_columns(keys)


def finding(keys: Iterable[ShipmentKey]) -> Query:
    return _FIND, _key_columns(keys)


async def find_all(pipeline: Pipeline, keys: Iterable[ShipmentKey]) -> dict[ShipmentKey, Shipment]:
    """Those of the shipments that there are."""
    [rows] = await pipeline.ask(finding(keys))
    return _by_key(rows)


async def find(tx: AsyncConnection, tenant_id: str, shipment_id: str) -> Shipment | None:
    row = (await tx.execute(*finding([(tenant_id, shipment_id)]))).one_or_none()
    return _shipment(row) if row else None


async def list_shipments(
    tx: AsyncConnection,
    tenant_id: str,
    *,
    order_id: str | None,
    status: Status | None,
    after_id: str | None,
    limit: int,
) -> list[Shipment]:
    """Newest first, by an index: ids sort by their time of birth, and a page costs the same however deep it lies."""
    wanted = {"s.order_id = :order_id": order_id, "s.status = :status": status, "s.id < :after_id": after_id}
    conditions = ["s.tenant_id = :tenant_id", *(name for name, value in wanted.items() if value is not None)]
    query = (
        _SHIPMENTS.format(shipments="shipment", conditions=" AND ".join(conditions))
        + " ORDER BY s.id DESC LIMIT :limit"
    )
    asked = {"order_id": order_id, "status": status, "after_id": after_id}
    given = {name: value for name, value in asked.items() if value is not None}
    rows = await tx.execute(text(query), {"tenant_id": tenant_id, "limit": limit, **given})
    return [_shipment(row) for row in rows]


async def take_unattended(
    tx: AsyncConnection, *, status: Status, before: datetime, now: datetime
) -> Sequence[ShipmentKey]:
    """The shipments of a status that were looked at longest ago, if nothing moved them since `before`: TAKEN_MAX."""
    return await _take(tx, _TAKE_UNATTENDED, {"status": status, "before": before, "now": now})


async def take_asked_to_cancel(tx: AsyncConnection, *, before: datetime, now: datetime) -> Sequence[ShipmentKey]:
    """The same of those that somebody wants canceled, and inventory has not decided on."""
    return await _take(tx, _TAKE_ASKED_TO_CANCEL, {"before": before, "now": now})


async def take_with_labels_to_void(tx: AsyncConnection, *, before: datetime, now: datetime) -> Sequence[ShipmentKey]:
    """The same of those that have a label which serves nobody."""
    return await _take(tx, _TAKE_WITH_LABELS_TO_VOID, {"before": before, "now": now})


async def mark_stock_given_back(tx: AsyncConnection, tenant_id: str, shipment_id: str) -> None:
    """Inventory has answered that a shipment that has ended holds nothing any more."""
    await tx.execute(_MARK_STOCK_GIVEN_BACK, {"tenant_id": tenant_id, "id": shipment_id})


async def find_labels(tx: AsyncConnection, shipment: Shipment) -> Mapping[int, bytes]:
    """The labels that were bought, by the number of their parcel."""
    rows = await tx.execute(_LABELS, {"tenant_id": shipment.tenant_id, "shipment_id": shipment.id})
    return {row.number: row.content for row in rows}


def _key_columns(keys: Iterable[ShipmentKey]) -> dict[str, list[str]]:
    keys = list(keys)
    return {"tenants": [tenant_id for tenant_id, _ in keys], "ids": [shipment_id for _, shipment_id in keys]}


async def _take(tx: AsyncConnection, query: TextClause, asked: Mapping[str, Any]) -> Sequence[ShipmentKey]:
    return [(row.tenant_id, row.id) for row in await tx.execute(query, asked)]


def _by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _columns(shipment: Shipment) -> dict[str, Any]:
    error = shipment.error
    return {
        "tenant_id": shipment.tenant_id,
        "id": shipment.id,
        "order_id": shipment.order_id,
        "status": shipment.status,
        "ship_to": json.dumps(asdict(shipment.ship_to)),
        "line_items": json.dumps([asdict(line) for line in shipment.line_items]),
        "carrier_hint": shipment.carrier_hint,
        "policy": shipment.policy,
        "priority": shipment.priority,
        "hold_expires_at": shipment.hold_expires_at,
        "carrier": shipment.carrier,
        "service": shipment.service,
        "allocations": json.dumps([asdict(line) for line in shipment.allocations]),
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "version": shipment.version,
        "allocation_version": shipment.allocation_version,
        "created_at": shipment.created_at,
        "updated_at": shipment.updated_at,
    }


def _changing_columns(shipment: Shipment) -> dict[str, Any]:
    error = shipment.error
    return {
        "tenant_id": shipment.tenant_id,
        "id": shipment.id,
        "status": str(shipment.status),
        "carrier": shipment.carrier,
        "service": shipment.service,
        "allocations": json.dumps([vars(line) for line in shipment.allocations]),
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "version": shipment.version,
        "allocation_version": shipment.allocation_version,
        "updated_at": shipment.updated_at,
        "cancel_asked_at": shipment.cancel_asked_at,
        "has_labels_to_void": voiding.next_parcel(shipment) is not None,
    }


def _parcel_columns(shipment: Shipment, parcel: Parcel) -> dict[str, Any]:
    attempt = parcel.attempt
    return {
        "tenant_id": shipment.tenant_id,
        "shipment_id": shipment.id,
        "number": parcel.number,
        "warehouse": parcel.warehouse,
        "reference": parcel.reference,
        "label_status": str(parcel.label_status),
        "tracking_number": parcel.tracking_number,
        "attempt_key": attempt.key if attempt else None,
        "try_id": attempt.try_id if attempt else None,
        "began_at": attempt.began_at if attempt else None,
        "tried_at": attempt.tried_at if attempt else None,
        "leased_until": attempt.leased_until if attempt else None,
        "sent_at": attempt.sent_at if attempt else None,
        "void_refused_at": parcel.void_refused_at,
    }


def _by_key(rows: Iterable[Any]) -> dict[ShipmentKey, Shipment]:
    return {(row.tenant_id, row.id): _shipment(row) for row in rows}


def _shipment(row: Any) -> Shipment:
    return Shipment(
        tenant_id=row.tenant_id,
        id=row.id,
        order_id=row.order_id,
        status=Status(row.status),
        ship_to=_address(row.ship_to),
        line_items=tuple(Line(**line) for line in row.line_items),
        carrier_hint=row.carrier_hint,
        policy=Policy(row.policy),
        priority=row.priority,
        hold_expires_at=row.hold_expires_at,
        carrier=row.carrier,
        service=row.service,
        allocations=tuple(HeldLine(**line) for line in row.allocations),
        opened_parcels=tuple(_parcel(parcel) for parcel in row.parcels or ()),
        error=Failure(row.error_code, row.error_message) if row.error_code else None,
        version=row.version,
        allocation_version=row.allocation_version,
        cancel_asked_at=row.cancel_asked_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _address(stored: Mapping[str, Any]) -> Address:
    place = stored.get("coordinates")
    return Address(**{**stored, "coordinates": Coordinates(**place) if place else None})


def _parcel(row: Mapping[str, Any]) -> Parcel:
    return Parcel(
        number=row["number"],
        warehouse=row["warehouse"],
        reference=row["reference"],
        label_status=LabelStatus(row["label_status"]),
        tracking_number=row["tracking_number"],
        attempt=_attempt(row) if row["attempt_key"] else None,
        void_refused_at=_moment(row["void_refused_at"]),
    )


def _attempt(row: Mapping[str, Any]) -> Attempt:
    return Attempt(
        key=row["attempt_key"],
        try_id=row["try_id"],
        began_at=datetime.fromisoformat(row["began_at"]),
        tried_at=datetime.fromisoformat(row["tried_at"]),
        leased_until=datetime.fromisoformat(row["leased_until"]),
        sent_at=_moment(row["sent_at"]),
    )


def _moment(stored: str | None) -> datetime | None:
    return datetime.fromisoformat(stored) if stored else None
