"""/v1/inventory: the ledger, the balance, the levels."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from chassis import rpc, trace
from chassis.errors import from_message
from chassis.wire import timestamp, to_json
from gateway import requests
from gateway.call import Call, respond
from gateway.cursors import Position
from gateway.pages import Listing, after_id
from gateway.shown import RECORDED
from gateway.writes import Write
from skutrail.v1 import common_pb2, inventory_pb2


async def _record(call: Call, movement: requests.Movement) -> tuple[inventory_pb2.LedgerEntry, bool]:
    message = movement_message(call.tenant_id, movement, call.idempotency)
    outcome = await call.upstream.movements.ask(call.tenant_id, message)
    if outcome.HasField("refusal"):
        raise from_message(outcome.refusal)
    return outcome.entry, outcome.replayed


def _show_entry(_: Call, entry: inventory_pb2.LedgerEntry) -> web.Response:
    return respond(RECORDED(entry))


record_movement = Write(
    model=requests.Movement,
    send=_record,
    stored=inventory_pb2.LedgerEntry,
    show=_show_entry,
    owner=lambda upstream: upstream.inventory,
)


def movement_message(
    tenant_id: str, movement: requests.Movement, idempotency: common_pb2.IdempotencyKey | None
) -> inventory_pb2.Movement:
    return inventory_pb2.Movement(
        tenant_id=tenant_id,
        idempotency=idempotency,
        sku=movement.sku,
        warehouse=movement.warehouse,
        qty=movement.qty,
        reason=f"REASON_{movement.reason.upper()}",
        reference=movement.reference,
        expected_balance=movement.expected_balance,
        expected_seq=movement.expected_seq,
        cause=inventory_pb2.Cause(**vars(trace.current())),
    )


async def get_entry(call: Call) -> web.Response:
    wanted = inventory_pb2.GetEntryRequest(tenant_id=call.tenant_id, id=call.id)
    return respond(to_json(await rpc.call(call.upstream.inventory.GetEntry, wanted)))


async def _fetch_entries(call: Call, limit: int, after: Position) -> tuple[Sequence[inventory_pb2.LedgerEntry], bool]:
    asked: requests.LedgerQuery = call.query
    wanted = inventory_pb2.ListEntriesRequest(
        tenant_id=call.tenant_id,
        sku=asked.sku,
        warehouse=asked.warehouse,
        reason=asked.reason and f"REASON_{asked.reason.upper()}",
        reference=asked.reference,
        created_after=asked.created_after and timestamp(asked.created_after),
        created_before=asked.created_before and timestamp(asked.created_before),
        limit=limit,
        **after,
    )
    reply = await rpc.call(call.upstream.inventory.ListEntries, wanted)
    return reply.entries, reply.has_more


list_entries = Listing(fetch=_fetch_entries, show=to_json, position_of=after_id)


async def get_balance(call: Call) -> web.Response:
    asked: requests.BalanceQuery = call.query
    if asked.as_of is None:
        key = inventory_pb2.BalanceKey(tenant_id=call.tenant_id, sku=asked.sku, warehouse=asked.warehouse)
        balance = await call.upstream.balances.ask(call.tenant_id, key)
    else:
        wanted = inventory_pb2.GetBalanceRequest(
            tenant_id=call.tenant_id, sku=asked.sku, warehouse=asked.warehouse, as_of=timestamp(asked.as_of)
        )
        balance = await rpc.call(call.upstream.inventory.GetBalance, wanted)
    return respond(to_json(balance, only=("sku", "warehouse", "balance", "as_of")))


async def _fetch_levels(call: Call, limit: int, after: Position) -> tuple[Sequence[inventory_pb2.Level], bool]:
    asked: requests.LevelsQuery = call.query
    wanted = inventory_pb2.ListLevelsRequest(
        tenant_id=call.tenant_id, sku=asked.sku, warehouse=asked.warehouse, limit=limit, **after
    )
    reply = await rpc.call(call.upstream.inventory.ListLevels, wanted)
    return reply.levels, reply.has_more


def _after_level(level: inventory_pb2.Level) -> Position:
    return {"after_sku": level.sku, "after_warehouse": level.warehouse}


list_levels = Listing(fetch=_fetch_levels, show=to_json, position_of=_after_level)
