"""Calls RecordMovements with many movements a call, from a few callers, for some seconds; a process of its own.

    python -m bench.caller ADDRESS SECONDS CALLERS MOVEMENTS SKUS TENANT TAG

Prints one line of JSON. Requests are made before the clock starts; then only their keys change.
"""

import asyncio
import hashlib
import json
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import uvloop

from bench.lines import percentiles
from chassis import rpc
from skutrail.v1 import common_pb2, inventory_pb2, inventory_pb2_grpc

REQUESTS = 20  # made in advance per caller, used in turns
TIMEOUT_S = 30.0


@dataclass
class Tally:
    sent: int = 0
    accepted: int = 0
    call_s: list[float] = field(default_factory=list)


async def main(address: str, seconds: float, callers: int, movements: int, skus: int, tenant: str, tag: str) -> None:
    tally = Tally()
    requests = [[_request(movements, skus, tenant) for _ in range(REQUESTS)] for _ in range(callers)]
    channel = rpc.channel(address)
    stub = inventory_pb2_grpc.InventoryStub(channel)
    await channel.channel_ready()
    started = time.monotonic()
    calling = (_call(stub, own, f"{tag}-{n}", started + seconds, tally) for n, own in enumerate(requests))
    await asyncio.gather(*calling)
    took_s = time.monotonic() - started
    await channel.close()
    print(json.dumps(_told(tally, took_s)))


async def _call(
    stub: Any, requests: list[inventory_pb2.RecordMovementsRequest], tag: str, ends_at: float, tally: Tally
) -> None:
    count = 0
    while (now := time.monotonic()) < ends_at:
        request = requests[count % len(requests)]
        for n, movement in enumerate(request.movements):
            movement.idempotency.key = f"{tag}-{count}-{n}"
        reply = await stub.RecordMovements(request, timeout=TIMEOUT_S)
        tally.call_s.append(time.monotonic() - now)
        tally.sent += len(request.movements)
        tally.accepted += sum(outcome.HasField("entry") and not outcome.replayed for outcome in reply.outcomes)
        count += 1


def _request(movements: int, skus: int, tenant: str) -> inventory_pb2.RecordMovementsRequest:
    fingerprint = hashlib.sha256(b"movement").digest()
    return inventory_pb2.RecordMovementsRequest(
        movements=[
            inventory_pb2.Movement(
                tenant_id=tenant,
                idempotency=common_pb2.IdempotencyKey(key="-", fingerprint=fingerprint),
                sku=f"SKU-{random.randint(1, skus)}",  # noqa: S311 - any will do
                warehouse="SEA-1",
                qty=1,
                reason=inventory_pb2.REASON_RECEIPT,
                reference="PO-2026-00814",
            )
            for _ in range(movements)
        ]
    )


def _told(tally: Tally, took_s: float) -> dict[str, float]:
    p50_s, p99_s = percentiles(tally.call_s)
    return {
        "sent": tally.sent,
        "accepted": tally.accepted,
        "seconds": took_s,
        "p50_ms": p50_s * 1000,
        "p99_ms": p99_s * 1000,
    }


if __name__ == "__main__":
    at, seconds_, callers_, movements_, skus_, tenant_, tag_ = sys.argv[1:]
    uvloop.run(main(at, float(seconds_), int(callers_), int(movements_), int(skus_), tenant_, tag_))
