"""/v1/inventory: writes of several entries, batches and transfers."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from chassis import rpc
from chassis.errors import from_message
from chassis.wire import to_json
from gateway import body, idempotency, problems, requests
from gateway.call import Call, respond
from gateway.inventory import movement_message
from gateway.shown import TRANSFER
from gateway.writes import Write
from skutrail.v1 import common_pb2, inventory_pb2

BATCH_ROUTE = "POST /v1/inventory/ledger/batch"
BATCH_TIMEOUT_S = 10.0  # 1,000 movements in one transaction, on a machine that has other work


async def _record_batch(call: Call, batch: requests.Batch) -> tuple[inventory_pb2.RecordBatchReply, bool]:
    # The lines as they were sent: a null differs from what is absent.
    sent: list[Any] = call.body["movements"]
    message = inventory_pb2.RecordBatchRequest(
        tenant_id=call.tenant_id,
        idempotency=call.idempotency,
        atomic=batch.atomic,
        movements=[
            movement_message(call.tenant_id, line, _key_of(line, raw))
            for line, raw in zip(batch.movements, sent, strict=True)
        ],
    )
    reply = await rpc.call(call.upstream.inventory.RecordBatch, message, timeout_s=BATCH_TIMEOUT_S)
    return reply, reply.replayed


def _key_of(line: requests.BatchLine, raw: Any) -> common_pb2.IdempotencyKey | None:
    if line.idempotency_key is None:
        return None
    fingerprint = idempotency.line_fingerprint(route=BATCH_ROUTE, line=body.canonical(raw))
    return common_pb2.IdempotencyKey(key=line.idempotency_key, fingerprint=fingerprint)


def _show_batch(call: Call, reply: inventory_pb2.RecordBatchReply) -> web.Response:
    # An answer that is replayed is that of the same body.
    if call.body["atomic"]:
        return respond({"entries": [to_json(outcome.entry) for outcome in reply.outcomes]})
    return respond({"results": [_result(outcome) for outcome in reply.outcomes]})


def _result(outcome: inventory_pb2.MovementOutcome) -> dict[str, Any]:
    if outcome.HasField("entry"):
        return {"status": 200, "entry": to_json(outcome.entry)}
    refusal = from_message(outcome.refusal)
    return {"status": refusal.http_status, "error": problems.problem(refusal, refusal.request_id)}


record_batch = Write(
    model=requests.Batch,
    send=_record_batch,
    stored=inventory_pb2.RecordBatchReply,
    show=_show_batch,
    owner=lambda upstream: upstream.inventory,
)


async def _record_transfer(call: Call, transfer: requests.Transfer) -> tuple[inventory_pb2.RecordTransferReply, bool]:
    message = inventory_pb2.RecordTransferRequest(
        tenant_id=call.tenant_id, idempotency=call.idempotency, **transfer.model_dump()
    )
    reply = await rpc.call(call.upstream.inventory.RecordTransfer, message)
    return reply, reply.replayed


record_transfer = Write(
    model=requests.Transfer,
    send=_record_transfer,
    stored=inventory_pb2.RecordTransferReply,
    show=lambda _, reply: respond(TRANSFER(reply)),
    owner=lambda upstream: upstream.inventory,
)
