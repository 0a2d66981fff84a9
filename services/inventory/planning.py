"""Telling a decision: the one that would be made of a request now, and the one by which a request has what it has."""

from __future__ import annotations

from chassis.clock import Clock
from chassis.errors import Fault
from chassis.pipeline import Pipeline
from services.inventory import allocating, events, queue_store, request_store, requests, store
from services.inventory.request_store import Described
from services.inventory.requests import TRANSITIONS, AllocationStatus, StockRequest
from services.inventory.shelf import Shelf
from skutrail.v1 import inventory_pb2


async def plan(pipeline: Pipeline, request: StockRequest, clock: Clock) -> inventory_pb2.AllocationPlan:
    """What `allocate` would decide now; nothing is locked or changed. Raises Fault `validation_failed`."""
    if requests.faults_of(request):
        raise allocating.refusal(request)
    now = clock()
    skus = [(request.tenant_id, sku) for sku in request.wanted]
    stocks, sites, queue, kept = await pipeline.ask(
        request_store.reading_stocks(skus, now),
        request_store.reading_sites(skus),
        queue_store.serveable_of(skus, now, allocating.QUEUE_MAX),
        queue_store.kept_before(request, now),
    )
    shelf = Shelf(store.stocks_of(stocks), request_store.sites_of(sites), now)
    if request.is_over(now):
        decision = shelf.pass_over(request, AllocationStatus.EXPIRED)
    elif any(waiting.priority >= request.priority for waiting in queue_store.waiting_of(queue)):
        decision = shelf.pass_over(request, AllocationStatus.WAITING)
    else:
        decision = shelf.decide(request, request.wanted, kept={row.sku: row.units for row in kept})
    return events.plan_message(decision, now)


async def explain(pipeline: Pipeline, tenant_id: str, request_id: str, clock: Clock) -> inventory_pb2.AllocationPlan:
    """The decision by which a request has what it has, and how it stands. Raises Fault `not_found`."""
    key = tenant_id, request_id
    [rows] = await pipeline.ask(request_store.reading_decision(tenant_id, request_id))
    if not rows:
        raise Fault("not_found", "There is no such request.")
    told = inventory_pb2.AllocationPlan.FromString(rows[0].plan or b"")
    stands = await allocating.stand(pipeline, key)
    missing = [inventory_pb2.StockLine(sku=row.sku, qty=row.missing) for row in rows if row.missing]
    if rows[0].expires_at is not None and rows[0].expires_at <= clock():
        stands, missing = _once_over(stands), []
    allocation = events.allocation_message(request_id, stands)
    return inventory_pb2.AllocationPlan(
        status=allocation.status,
        held=allocation.held,
        missing=missing,
        candidates=told.candidates,
        decided_at=told.decided_at if told.HasField("decided_at") else None,
    )


def _once_over(stands: Described) -> Described:
    """How a request stands whose time is over, though nobody has ended it yet."""
    if AllocationStatus.EXPIRED not in TRANSITIONS[stands.status]:
        return stands
    return Described(AllocationStatus.EXPIRED, stands.version, [hold._replace(open=0) for hold in stands.holds])
