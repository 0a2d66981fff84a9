"""Every POST of the gateway as tests of its keys need it: a request, another one, what it writes, what refuses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from cli.local.stack import Stack
from tests.builders import SKU, Body, Tenant, movement, shipment
from tests.system.outboxes import announced

Written = Mapping[str, int]
"""How many rows, units and events of each kind; what is not named is none."""

SCARCE = "SKU-SCARCE"
"""Of it there is nothing until `relieve`; of the other SKUs there is plenty."""


NOBODY = f"shp_{'0' * 26}"
"""The id of nothing, for a path that leads nowhere."""

Maker = Callable[[Tenant], Awaitable[str]]
"""Makes what the `{id}` of a path names, and returns its id."""


@dataclass(frozen=True)
class Refused:
    """What there is not until `relieve` is asked for: by this body, or of what this makes."""

    body: Body
    makes: Maker | None = None
    code: str = "insufficient_stock"


@dataclass(frozen=True)
class Operation:
    # As the table of routes has it.
    path: str
    # The service that owns the write and keeps its answers.
    owner: str
    body: Body
    other: Body
    writes: Written
    # What it acts on, where the path has an {id}: each intent has one of its own.
    makes: Maker | None = None
    # None where business refuses nothing.
    refused: Refused | None = None


@dataclass(frozen=True)
class Intent:
    """One thing that somebody means to do, under one key, on what was made for it."""

    operation: Operation
    key: str
    path: str


async def intend(operation: Operation, tenant: Tenant, makes: Maker | None = None) -> Intent:
    made = makes or operation.makes
    path = operation.path.format(id=await made(tenant)) if made else operation.path
    return Intent(operation, str(uuid4()), path)


def _transfer(qty: int, sku: str = "SKU-1") -> Body:
    return {"sku": sku, "from_warehouse": "SEA-1", "to_warehouse": "NYC-1", "qty": qty}


def _batch(*movements: Body, atomic: bool) -> Body:
    return {"atomic": atomic, "movements": list(movements)}


_PICK = movement(1, SCARCE, reason="pick")


async def _shipment_that_is(status: str, sku: str, tenant: Tenant) -> str:
    shipment_id = await tenant.ship(1, sku)
    await tenant.shipment_that_is(shipment_id, status)
    return shipment_id


_ready = partial(_shipment_that_is, "label_ready", SKU)
_backordered = partial(_shipment_that_is, "backordered", SCARCE)

OPERATIONS = {
    "ledger": Operation(
        path="/v1/inventory/ledger",
        owner="inventory",
        body=movement(5),
        other=movement(6),
        writes={"entries": 1, "units": 5, "inventory.updated": 1},
        refused=Refused(_PICK),
    ),
    "atomic batch": Operation(
        path="/v1/inventory/ledger/batch",
        owner="inventory",
        body=_batch(movement(5), movement(-2, reason="adjustment"), atomic=True),
        other=_batch(movement(5), atomic=True),
        writes={"entries": 2, "units": 3, "inventory.updated": 2},
        refused=Refused(_batch(movement(5), _PICK, atomic=True)),
    ),
    "batch by lines": Operation(
        path="/v1/inventory/ledger/batch",
        owner="inventory",
        # The answer tells an entry and a refusal, which names the request that was refused.
        body=_batch(movement(5), movement(10**9, reason="pick"), atomic=False),
        other=_batch(movement(5), atomic=False),
        writes={"entries": 1, "units": 5, "inventory.updated": 1},
        refused=Refused(_batch(_PICK, atomic=False)),
    ),
    "transfer": Operation(
        path="/v1/inventory/transfers",
        owner="inventory",
        body=_transfer(2),
        other=_transfer(3),
        writes={"entries": 2, "inventory.updated": 2},
        refused=Refused(_transfer(1, SCARCE)),
    ),
    "shipment": Operation(
        path="/v1/shipments",
        owner="shipments",
        body=shipment(1, SCARCE, order_id="ord_1"),
        other=shipment(2, SCARCE, order_id="ord_1"),
        writes={"shipments": 1, "shipment.created": 1},
    ),
    # No other body is valid: that of a key's own request is told apart before that matters.
    "cancel": Operation(
        path="/v1/shipments/{id}/cancel",
        owner="shipments",
        body={},
        other={"reason": "changed mind"},
        writes={"shipment.canceled": 1},
        makes=_ready,
    ),
    "dispatch": Operation(
        path="/v1/shipments/{id}/dispatch",
        owner="shipments",
        body={},
        other={"at": "now"},
        writes={"entries": 1, "units": -1, "inventory.updated": 1, "shipment.shipped": 1},
        makes=_ready,
        refused=Refused({}, makes=_backordered, code="invalid_state"),
    ),
    "webhook": Operation(
        path="/v1/webhooks/subscribe",
        owner="webhooks",
        # Without a secret: one is made, and told in this answer alone.
        body={"url": "https://your.app/hook", "events": ["webhook.ping"]},
        other={"url": "https://your.app/hook", "events": ["order.updated"]},
        writes={"subscriptions": 1},
    ),
}


async def stock_up(tenant: Tenant) -> None:
    await tenant.receive(1_000)


async def relieve(tenant: Tenant) -> None:
    """What was short arrives."""
    await tenant.receive(1_000, SCARCE)


async def written(stack: Stack, tenant_id: str) -> Written:
    """What the databases hold of a tenant, and what was announced when it was written."""
    found: dict[str, int] = {}
    for service, query in _QUERIES.items():
        url = stack.databases[service].owner
        async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
            row = await (await connection.execute(query, {"tenant": tenant_id})).fetchone()
            assert row is not None
            found |= row
    for service, event_types in _ANNOUNCED.items():
        seen = Counter(one.type for one in await announced(stack, service, tenant_id))
        found |= {event_type: seen[event_type] for event_type in event_types}
    return found


def difference(after: Written, before: Written) -> Written:
    return {kind: after[kind] - before[kind] for kind in after if after[kind] != before[kind]}


# Of the events, those that the write itself makes.
_ANNOUNCED = {
    "inventory": ("inventory.updated",),
    "shipments": ("shipment.created", "shipment.canceled", "shipment.shipped"),
}
_QUERIES = {
    "inventory": """
        SELECT (SELECT count(*) FROM ledger_entry WHERE tenant_id = %(tenant)s) AS entries,
               (SELECT CAST(coalesce(sum(on_hand), 0) AS bigint) FROM balance WHERE tenant_id = %(tenant)s) AS units
    """,
    "shipments": "SELECT count(*) AS shipments FROM shipment WHERE tenant_id = %(tenant)s",
    "webhooks": "SELECT count(*) AS subscriptions FROM subscription WHERE tenant_id = %(tenant)s",
}
