"""Every POST of the gateway as tests of its keys need it: a request, another one, what it writes, what refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.rows import dict_row

from cli.local.stack import Stack
from tests.builders import Body, Tenant, movement, shipment
from tests.system.outboxes import announced

Written = Mapping[str, int]
"""How many rows, units and events of each kind; what is not named is none."""

SCARCE = "SKU-SCARCE"
"""Of it there is nothing until `relieve`; of the other SKUs there is plenty."""


@dataclass(frozen=True)
class Operation:
    path: str
    # The service that owns the write and keeps its answers.
    owner: str
    body: Body
    other: Body
    writes: Written
    # Asks for what there is not. None where business refuses nothing.
    refused: Body | None = None


def _transfer(qty: int, sku: str = "SKU-1") -> Body:
    return {"sku": sku, "from_warehouse": "SEA-1", "to_warehouse": "NYC-1", "qty": qty}


def _batch(*movements: Body, atomic: bool) -> Body:
    return {"atomic": atomic, "movements": list(movements)}


_PICK = movement(1, SCARCE, reason="pick")

OPERATIONS = {
    "ledger": Operation(
        path="/v1/inventory/ledger",
        owner="inventory",
        body=movement(5),
        other=movement(6),
        writes={"entries": 1, "units": 5, "inventory.updated": 1},
        refused=_PICK,
    ),
    "atomic batch": Operation(
        path="/v1/inventory/ledger/batch",
        owner="inventory",
        body=_batch(movement(5), movement(-2, reason="adjustment"), atomic=True),
        other=_batch(movement(5), atomic=True),
        writes={"entries": 2, "units": 3, "inventory.updated": 2},
        refused=_batch(movement(5), _PICK, atomic=True),
    ),
    "batch by lines": Operation(
        path="/v1/inventory/ledger/batch",
        owner="inventory",
        # The answer tells an entry and a refusal, which names the request that was refused.
        body=_batch(movement(5), movement(10**9, reason="pick"), atomic=False),
        other=_batch(movement(5), atomic=False),
        writes={"entries": 1, "units": 5, "inventory.updated": 1},
        refused=_batch(_PICK, atomic=False),
    ),
    "transfer": Operation(
        path="/v1/inventory/transfers",
        owner="inventory",
        body=_transfer(2),
        other=_transfer(3),
        writes={"entries": 2, "inventory.updated": 2},
        refused=_transfer(1, SCARCE),
    ),
    "shipment": Operation(
        path="/v1/shipments",
        owner="shipments",
        body=shipment(1, SCARCE, order_id="ord_1"),
        other=shipment(2, SCARCE, order_id="ord_1"),
        writes={"shipments": 1, "shipment.created": 1},
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
    for service, event_type in _ANNOUNCED.items():
        found[event_type] = sum(one.type == event_type for one in await announced(stack, service, tenant_id))
    return found


def difference(after: Written, before: Written) -> Written:
    return {kind: after[kind] - before[kind] for kind in after if after[kind] != before[kind]}


# Of the events, those that the write itself makes.
_ANNOUNCED = {"inventory": "inventory.updated", "shipments": "shipment.created"}
_QUERIES = {
    "inventory": """
        SELECT (SELECT count(*) FROM ledger_entry WHERE tenant_id = %(tenant)s) AS entries,
               (SELECT CAST(coalesce(sum(on_hand), 0) AS bigint) FROM balance WHERE tenant_id = %(tenant)s) AS units
    """,
    "shipments": "SELECT count(*) AS shipments FROM shipment WHERE tenant_id = %(tenant)s",
    "webhooks": "SELECT count(*) AS subscriptions FROM subscription WHERE tenant_id = %(tenant)s",
}
