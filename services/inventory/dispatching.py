"""The goods of a request leave: what it holds becomes picks, and the request ends, in one transaction.

Dispatch and release are decided here, under the lock of the request: of the two, one wins.
"""

from __future__ import annotations

from collections.abc import Sequence

from chassis import outbox, trace
from chassis.clock import Clock
from chassis.errors import Fault
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from services.inventory import allocating, events, operations, request_store
from services.inventory.domain import QTY_MAX, Movement, Reason
from services.inventory.operations import Wish
from services.inventory.requests import TRANSITIONS, AllocationStatus, Hold
from skutrail.v1 import inventory_pb2


async def dispatch(
    pipeline: Pipeline, tenant_id: str, request_id: str, clock: Clock, new_id: IdMaker, version: int | None = None
) -> inventory_pb2.Allocation:
    """Picks all that the request still holds, each with the request's id as its reference. Asked again, of one that
    may not leave, or that is not at the version any more, it tells how the request stands. Raises Fault `not_found`."""
    key = tenant_id, request_id
    claimed = await allocating.lock(pipeline, [key])
    if key not in claimed.known:
        raise Fault("not_found", "There is no such request.")
    known, now = claimed.known[key], clock()
    if known.request.is_over(now) and AllocationStatus.EXPIRED in TRANSITIONS[known.status]:
        await allocating.expire(pipeline, [key], clock, new_id)
        return await allocating.describe(pipeline, key)
    if AllocationStatus.DISPATCHED not in TRANSITIONS[known.status] or version not in (None, known.version):
        return await allocating.describe(pipeline, key)
    if claimed.holds:
        # One instant for all of it: what is held now must not expire under the picks.
        await _pick(pipeline, claimed.holds, lambda: now, new_id)
    pipeline.tell(*request_store.changing_requests({key: (AllocationStatus.DISPATCHED, None)}))
    stands = await allocating.stand(pipeline, key)
    outbox.tell_together(pipeline, [events.allocation_changed(key, stands, now, new_id)])
    return events.allocation_message(request_id, stands)


async def _pick(pipeline: Pipeline, holds: Sequence[Hold], clock: Clock, new_id: IdMaker) -> None:
    picks = [Movement(hold.key, qty, Reason.PICK, hold.request_id) for hold in holds for qty in _portions(hold.open)]
    wishes = [Wish(pick, None, trace.current()) for pick in picks]
    for outcome in await operations.record_movements(pipeline, wishes, clock, new_id):
        if isinstance(outcome.answer, Fault):  # what is held can be picked, and nobody else has the lock
            raise outcome.answer
    await pipeline.flush()


def _portions(units: int) -> list[int]:
    """A hold may be more than one movement can carry: several lines of one SKU are their sum."""
    whole, rest = divmod(units, QTY_MAX)
    return [QTY_MAX] * whole + ([rest] if rest else [])
