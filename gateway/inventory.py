"""/v1/inventory: the ledger write and the balance."""

from __future__ import annotations

from aiohttp import web

from chassis import rpc
from chassis.errors import from_message
from chassis.wire import to_json
from gateway import requests
from gateway.call import Call, respond
from gateway.writes import Write
from skutrail.v1 import inventory_pb2


async def _record(call: Call, movement: requests.Movement) -> tuple[inventory_pb2.LedgerEntry, bool]:
    message = inventory_pb2.Movement(
        tenant_id=call.tenant_id,
        idempotency=call.idempotency,
        sku=movement.sku,
        warehouse=movement.warehouse,
        qty=movement.qty,
        reason=f"REASON_{movement.reason.upper()}",
        reference=movement.reference,
    )
    wanted = inventory_pb2.RecordMovementsRequest(movements=[message])
    reply = await rpc.call(call.upstream.inventory.RecordMovements, wanted)
    outcome = reply.outcomes[0]
    if outcome.HasField("refusal"):
        raise from_message(outcome.refusal)
    return outcome.entry, outcome.replayed


def _show_entry(entry: inventory_pb2.LedgerEntry) -> web.Response:
    return respond(to_json(entry, only=("id", "sku", "warehouse", "qty", "balance", "created_at")))


record_movement = Write(
    model=requests.Movement,
    send=_record,
    stored=inventory_pb2.LedgerEntry,
    show=_show_entry,
    look_up=lambda upstream: upstream.inventory.LookUpAnswer,
)


async def get_balance(call: Call) -> web.Response:
    asked: requests.BalanceQuery = call.query
    wanted = inventory_pb2.GetBalanceRequest(tenant_id=call.tenant_id, sku=asked.sku, warehouse=asked.warehouse)
    balance = await rpc.call(call.upstream.inventory.GetBalance, wanted)
    return respond(to_json(balance, only=("sku", "warehouse", "balance", "as_of")))
