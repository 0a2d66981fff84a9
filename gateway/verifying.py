"""/v1/inventory/verify: walks the hash chain of a SKU in a warehouse, a stretch a call, each with its own deadline."""

from __future__ import annotations

import time

from aiohttp import web

from chassis import rpc
from chassis.errors import Fault
from gateway import requests
from gateway.call import Call, respond
from skutrail.v1 import inventory_pb2

WALK_S = 10.0  # some 1,000,000 entries on an idle machine; well below what a stopping gateway waits for
_START = inventory_pb2.VerifyChainReply(hash=bytes(32))


async def verify_chain(call: Call) -> web.Response:
    """Raises Fault `deadline_exceeded` with the `after` to go on with, where the chain is longer than one request can
    walk: an answer speaks of the whole chain or not at all."""
    asked: requests.VerifyQuery = call.query
    ends_at = time.monotonic() + WALK_S
    found = await _verify(call, behind=_place(asked.after) if asked.after else _START)
    while not (found.is_end or found.HasField("first_broken_seq")):
        if time.monotonic() > ends_at:
            raise _longer_than_one_request(found)
        found = await _verify(call, behind=found)
    return respond(
        {
            "sku": asked.sku,
            "warehouse": asked.warehouse,
            "entries": found.seq,
            "ok": not found.HasField("first_broken_seq"),
            "first_broken_seq": found.first_broken_seq if found.HasField("first_broken_seq") else None,
            "head_hash": found.hash.hex(),
        }
    )


def _place(after: str) -> inventory_pb2.VerifyChainReply:
    seq, _, digest = after.partition(".")
    return inventory_pb2.VerifyChainReply(seq=int(seq), hash=bytes.fromhex(digest))


async def _verify(call: Call, *, behind: inventory_pb2.VerifyChainReply) -> inventory_pb2.VerifyChainReply:
    asked: requests.VerifyQuery = call.query
    wanted = inventory_pb2.VerifyChainRequest(
        tenant_id=call.tenant_id,
        sku=asked.sku,
        warehouse=asked.warehouse,
        after_seq=behind.seq or None,
        after_hash=behind.hash,
    )
    return await rpc.call(call.upstream.inventory.VerifyChain, wanted)


def _longer_than_one_request(found: inventory_pb2.VerifyChainReply) -> Fault:
    return Fault(
        "deadline_exceeded",
        f"The chain is whole up to entry {found.seq}, and goes on. Ask again with this `after`.",
        after=f"{found.seq}.{found.hash.hex()}",
    )
