"""The register of keys: one key names one operation of a tenant, whichever service owns it (docs/decisions/0004).

Inventory keeps it, beside the keys of the ledger. A write that another service owns reserves its key there first. An
inventory that is away refuses: what runs without the register could ship under a key that already moved stock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from chassis import rpc
from chassis.errors import Fault, from_message
from chassis.logs import log
from gateway.call import Call
from skutrail.v1 import common_pb2, inventory_pb2

T = TypeVar("T")


@asynccontextmanager
async def holding_key(call: Call) -> AsyncIterator[None]:
    """Reserves the key of the call; gives it back where the write is refused and the refusal is not kept.

    Raises Fault `idempotency_key_reused` where it is the key of another request, `unavailable` where nobody can say.
    """
    reservation = inventory_pb2.KeyReservation(tenant_id=call.tenant_id, idempotency=call.idempotency)
    outcome = await _told(call.upstream.reservations.ask(call.tenant_id, reservation))
    if outcome.HasField("refusal"):
        raise from_message(outcome.refusal)
    try:
        yield
    except Fault as refusal:
        if _leaves_the_key_free(refusal):
            await _free(call)
        raise


async def refuse_other_requests(call: Call) -> None:
    """Raises Fault `idempotency_key_reused` where the key is that of another request; reserves nothing."""
    question = common_pb2.LookUpAnswerRequest(tenant_id=call.tenant_id, idempotency=call.idempotency)
    await _told(rpc.call(call.upstream.inventory.LookUpAnswer, question))


async def _told(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except Fault as fault:
        if fault.code != "deadline_exceeded":
            raise
        # Nothing was begun: there is no outcome that could be unknown.
        raise Fault("unavailable", "A service is away. Try again.", retry_after_s=1) from fault


def _leaves_the_key_free(refusal: Fault) -> bool:
    """Whether the owner keeps nothing under the key. False while a first request runs, or the outcome is unknown."""
    is_decided = refusal.http_status < 500 and not refusal.kind.is_retryable
    return is_decided and not refusal.is_kept


async def _free(call: Call) -> None:
    freed = inventory_pb2.FreeKeyRequest(tenant_id=call.tenant_id, idempotency=call.idempotency)
    try:
        await rpc.call(call.upstream.inventory.FreeKey, freed)
    except Fault as fault:  # the caller is told why the write was refused; its key ages out with the register
        log.warning("key.not_freed", code=fault.code)
