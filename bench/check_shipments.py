"""Compares shipments with what was accepted, with the stock that inventory holds for them, and with what was told.

It looks into two databases: whoever calls it waits first until all is at rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg.rows import TupleRow

from bench.check import Connection
from bench.lines import Findings
from bench.milestones import ALLOCATED, CREATED, LABEL_READY

HELD = 2  # AllocationStatus of the contract
TOLD_ONCE = (CREATED, ALLOCATED, LABEL_READY)

# A range and not LIKE, which would not use the index in every collation.
_SHIPMENTS = """
    SELECT s.id, s.order_id, s.status, ordered.units, held.units, held.warehouses, parcels.labelled, parcels.numbers
    FROM shipment s CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(sku, units) AS units FROM (
            SELECT l ->> 'sku' AS sku, sum(CAST(l ->> 'qty' AS bigint)) AS units
            FROM jsonb_array_elements(s.line_items) l GROUP BY 1
        ) l
    ) ordered CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(sku, units) AS units,
            ARRAY(SELECT DISTINCT a ->> 'warehouse' FROM jsonb_array_elements(s.allocations) a ORDER BY 1) AS warehouses
        FROM (
            SELECT a ->> 'sku' AS sku, sum(CAST(a ->> 'qty' AS bigint)) AS units
            FROM jsonb_array_elements(s.allocations) a GROUP BY 1
        ) a
    ) held CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(p.warehouse ORDER BY p.warehouse) FILTER (WHERE p.label_status = 'ready'), '{}')
            AS labelled, coalesce(array_agg(p.tracking_number), '{}') AS numbers
        FROM parcel p WHERE p.tenant_id = s.tenant_id AND p.shipment_id = s.id
    ) parcels
    WHERE s.tenant_id = %(tenant)s AND s.order_id >= %(first)s AND s.order_id < %(last)s
"""

# Of all loads: what is held for nobody shows as well.
_GIVEN = """
    SELECT s.id, a ->> 'sku', a ->> 'warehouse', CAST(a ->> 'qty' AS bigint)
    FROM shipment s CROSS JOIN jsonb_array_elements(s.allocations) a WHERE s.tenant_id = %(tenant)s
"""
_HOLDS = "SELECT request_id, sku, warehouse, open FROM hold WHERE tenant_id = %(tenant)s AND open > 0"
_BALANCES = "SELECT sku, warehouse, on_hand, held FROM balance WHERE tenant_id = %(tenant)s"
_NOT_HELD = """
    SELECT count(*) FROM unnest(CAST(%(ids)s AS text[])) AS wanted (id)
    LEFT JOIN allocation a ON a.tenant_id = %(tenant)s AND a.request_id = wanted.id
    WHERE a.status IS DISTINCT FROM %(held)s
"""

Told = Mapping[str, Counter[str]]
"""By type of event: how often of which shipment."""
Share = tuple[str, str, str]
"""Shipment, SKU, warehouse."""
Place = tuple[str, str]
"""SKU, warehouse."""


class ShipmentChecker:
    """Of one tenant, over a connection to the database of shipments and one to that of inventory."""

    def __init__(self, *, shipments: Connection, inventory: Connection, tenant: str) -> None:
        self._shipments = shipments
        self._inventory = inventory
        self._tenant = tenant

    async def check(self, *, accepted: int, sent: int, tag: str, told: Told) -> Findings:
        """All stock, and the shipments of a load whose order ids all begin with `tag-`; `told` since that load began.

        What was refused or never answered may be there or not: so much is allowed between `accepted` and `sent`.
        """
        # The character after "-" closes the range of order ids that begin with it.
        rows = await self._rows(self._shipments, _SHIPMENTS, first=f"{tag}-", last=f"{tag}.")
        made = [_Made(*row) for row in rows]
        ids = {one.id for one in made}
        faults = {
            f"{accepted:,} of {sent:,} accepted, {{}} shipments": 0 if accepted <= len(made) <= sent else len(made),
            **_faults_of_shipments(made),
            "{} shipments are not held at inventory": await self._not_held(ids),
            **_faults_of_stock(await self._stock()),
            **_faults_of_events(ids, told),
        }
        return Findings(len(made), [fault.format(f"{count:,}") for fault, count in faults.items() if count])

    async def _not_held(self, ids: set[str]) -> int:
        ((count,),) = await self._rows(self._inventory, _NOT_HELD, ids=list(ids), held=HELD)
        return int(count)

    async def _stock(self) -> _Stock:
        balances = await self._rows(self._inventory, _BALANCES)
        return _Stock(
            given=_summed(await self._rows(self._shipments, _GIVEN)),
            holds=_summed(await self._rows(self._inventory, _HOLDS)),
            on_hand=Counter({(sku, warehouse): on_hand for sku, warehouse, on_hand, _ in balances}),
            held=Counter({(sku, warehouse): held for sku, warehouse, _, held in balances}),
        )

    async def _rows(self, database: Connection, query: LiteralString, **given: Any) -> list[TupleRow]:
        return await (await database.execute(query, {"tenant": self._tenant, **given})).fetchall()


@dataclass(frozen=True)
class _Made:
    """A shipment as it is."""

    id: str
    order_id: str
    status: str
    ordered: Mapping[str, int]
    """Units by SKU."""
    held: Mapping[str, int] | None
    warehouses: Sequence[str]
    """It draws from."""
    labelled: Sequence[str]
    """The warehouse of each label that is ready."""
    numbers: Sequence[str | None]
    """The tracking number of each parcel."""


@dataclass(frozen=True)
class _Stock:
    """All of the tenant: what shipments were given, what inventory holds for them, and what there is."""

    given: Counter[Share]
    holds: Counter[Share]
    on_hand: Counter[Place]
    held: Counter[Place]


def _faults_of_shipments(made: Sequence[_Made]) -> Mapping[str, int]:
    numbers = [number for one in made for number in one.numbers if number is not None]
    return {
        "{} orders have a second shipment": len(made) - len({one.order_id for one in made}),
        "{} shipments are not label_ready": sum(one.status != "label_ready" for one in made),
        "{} shipments hold not what was ordered": sum(one.held != one.ordered for one in made),
        "{} shipments have not one parcel and label per warehouse": sum(
            one.warehouses != one.labelled or len(one.numbers) != len(one.labelled) for one in made
        ),
        "{} labels have the number of another": len(numbers) - len(set(numbers)),
    }


def _faults_of_stock(stock: _Stock) -> Mapping[str, int]:
    given, holds = _by_place(stock.given), _by_place(stock.holds)
    return {
        "{} balances OVERSOLD: more is given away than is there": sum(
            units > stock.on_hand[place] for place, units in given.items()
        ),
        "{} balances OVERSOLD: more is held than is there": sum(
            units > stock.on_hand[place] for place, units in stock.held.items()
        ),
        "{} balances hold not the sum of their open holds": len(_differing(stock.held, holds)),
        "{} shares of shipments are not what inventory holds for them": len(_differing(stock.given, stock.holds)),
    }


def _faults_of_events(ids: set[str], told: Told) -> Mapping[str, int]:
    once = Counter(ids)
    untrue = {f"{{}} shipments are not told once as {kind}": kind for kind in TOLD_ONCE}
    others = {f"{{}} events of {kind}": times.total() for kind, times in told.items() if kind not in TOLD_ONCE}
    return {fault: len(_differing(once, told.get(kind, Counter()))) for fault, kind in untrue.items()} | others


def _differing(one: Counter[Any], other: Counter[Any]) -> Sequence[Any]:
    """The keys that do not count the same in both; what is not there counts nothing."""
    return [key for key in one.keys() | other.keys() if one[key] != other[key]]


def _summed(rows: Sequence[TupleRow]) -> Counter[Share]:
    units: Counter[Share] = Counter()
    for shipment_id, sku, warehouse, qty in rows:
        units[shipment_id, sku, warehouse] += qty
    return units


def _by_place(shares: Counter[Share]) -> Counter[Place]:
    units: Counter[Place] = Counter()
    for (_, sku, warehouse), qty in shares.items():
        units[sku, warehouse] += qty
    return units
