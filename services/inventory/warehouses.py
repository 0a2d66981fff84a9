"""Warehouses, as their owners describe them: name, place, priority. One that was never described works all the same.

What is asked of them in sourcing is read with the stock (request_store.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from unicodedata import category

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.errors import Fault, FieldFault
from services.inventory.domain import name_faults
from services.inventory.request_store import place_of
from services.inventory.requests import PRIORITY_MAX
from services.inventory.sourcing import Coordinates

NAME_LENGTH_MAX = 100

_PUT = text("""
    INSERT INTO warehouse AS w (tenant_id, code, name, address, latitude, longitude, priority, active, created_at,
        updated_at)
    VALUES (:tenant_id, :code, :name, CAST(:address AS jsonb), :latitude, :longitude, :priority, :active, :now, :now)
    ON CONFLICT (tenant_id, code) DO UPDATE
        SET name = excluded.name, address = excluded.address, latitude = excluded.latitude,
            longitude = excluded.longitude, priority = excluded.priority, active = excluded.active,
            updated_at = CASE
                WHEN (w.name, w.address, w.latitude, w.longitude, w.priority, w.active) IS DISTINCT FROM
                    (excluded.name, excluded.address, excluded.latitude, excluded.longitude, excluded.priority,
                     excluded.active)
                THEN greatest(excluded.updated_at, w.updated_at) ELSE w.updated_at END
    RETURNING *
""")
_FIND = text("SELECT * FROM warehouse WHERE tenant_id = :tenant_id AND code = :code")
_LIST = text("""
    SELECT * FROM warehouse WHERE tenant_id = :tenant_id AND code > :after_code ORDER BY code LIMIT :limit
""")


@dataclass(frozen=True)
class PostalAddress:
    line1: str
    line2: str | None
    city: str
    state: str | None
    postal: str
    country: str
    """ISO 3166-1 alpha-2."""


@dataclass(frozen=True)
class Warehouse:
    tenant_id: str
    code: str
    name: str | None = None
    address: PostalAddress | None = None
    coordinates: Coordinates | None = None
    priority: int = 0
    """0-100: the higher is taken from first."""
    active: bool = True
    """False: nothing new is held in it."""


@dataclass(frozen=True)
class Described:
    """A warehouse as it is remembered."""

    warehouse: Warehouse
    created_at: datetime
    updated_at: datetime


async def put(tx: AsyncConnection, warehouse: Warehouse, now: datetime) -> Described:
    """Describes a warehouse wholly anew. Raises Fault `validation_failed`."""
    if faults := faults_of(warehouse):
        raise Fault("validation_failed", "The warehouse is not valid.", fields=faults)
    place = warehouse.coordinates
    row = {
        **{name: getattr(warehouse, name) for name in ("tenant_id", "code", "name", "priority", "active")},
        "address": json.dumps(asdict(warehouse.address)) if warehouse.address else None,
        "latitude": place.latitude if place else None,
        "longitude": place.longitude if place else None,
        "now": now,
    }
    return _described((await tx.execute(_PUT, row)).one())


async def get(tx: AsyncConnection, tenant_id: str, code: str) -> Described:
    """Raises Fault `not_found` for one that was never described."""
    row = (await tx.execute(_FIND, {"tenant_id": tenant_id, "code": code})).first()
    if row is None:
        raise Fault("not_found", "There is no such warehouse.")
    return _described(row)


async def list_by_code(tx: AsyncConnection, tenant_id: str, *, after_code: str, limit: int) -> list[Described]:
    """In the order of their codes, byte by byte; the empty code stands before all."""
    rows = await tx.execute(_LIST, {"tenant_id": tenant_id, "after_code": after_code, "limit": limit})
    return [_described(row) for row in rows]


def faults_of(warehouse: Warehouse) -> list[FieldFault]:
    """Everything that is wrong with a description. How name and address are written is checked at the door they come
    through."""
    faults = name_faults("/code", warehouse.code)
    if warehouse.name is not None and not 1 <= len(warehouse.name) <= NAME_LENGTH_MAX:
        faults.append(FieldFault("/name", "wrong_length", f"Must have 1 to {NAME_LENGTH_MAX} characters."))
    elif any(category(character) == "Cc" for character in warehouse.name or ""):
        faults.append(FieldFault("/name", "bad_characters", "Must not have control characters."))
    if not 0 <= warehouse.priority <= PRIORITY_MAX:
        faults.append(FieldFault("/priority", "out_of_range", f"0 to {PRIORITY_MAX}."))
    if warehouse.coordinates is not None and not warehouse.coordinates.is_on_earth:
        faults.append(FieldFault("/coordinates", "out_of_range", "Latitude -90 to 90, longitude -180 to 180."))
    return faults


def _described(row: Any) -> Described:
    warehouse = Warehouse(
        row.tenant_id,
        row.code,
        row.name,
        PostalAddress(**row.address) if row.address is not None else None,
        place_of(row),
        row.priority,
        row.active,
    )
    return Described(warehouse, row.created_at, row.updated_at)
