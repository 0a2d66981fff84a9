"""In, by call: request, operation, reply."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import idempotency, trace
from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault, FieldFault, to_message
from chassis.ids import IdMaker
from chassis.outbox import Relay
from chassis.rpc import Context
from services.inventory import allocating, operations
from services.inventory.domain import MOVEMENTS_MAX, Movement, Reason, StockKey
from services.inventory.operations import Outcome, Wish
from services.inventory.waker import Waker
from skutrail.v1 import common_pb2, inventory_pb2, inventory_pb2_grpc

_REASONS = {int(reason): reason for reason in Reason}


class InventoryServer(inventory_pb2_grpc.InventoryServicer):
    def __init__(self, database: Database, relay: Relay, waker: Waker, clock: Clock, new_id: IdMaker) -> None:
        self._database = database
        self._relay = relay
        self._waker = waker
        self._clock = clock
        self._new_id = new_id

    async def RecordMovements(
        self, request: inventory_pb2.RecordMovementsRequest, context: Context
    ) -> inventory_pb2.RecordMovementsReply:
        if not 1 <= len(request.movements) <= MOVEMENTS_MAX:
            fault = FieldFault("/movements", "out_of_range", f"1 to {MOVEMENTS_MAX} movements.")
            raise Fault("validation_failed", "The request is not valid.", fields=[fault])
        outcomes = await self._record([_wish(movement) for movement in request.movements])
        self._relay.nudge()
        self._waker.nudge()
        return inventory_pb2.RecordMovementsReply(outcomes=[_outcome_message(outcome) for outcome in outcomes])

    async def GetBalance(self, request: inventory_pb2.GetBalanceRequest, context: Context) -> inventory_pb2.Balance:
        key = StockKey(request.tenant_id, request.sku, request.warehouse)
        return await self._database.run(lambda tx: operations.read_balance(tx, key, self._clock()))

    async def Allocate(self, request: inventory_pb2.AllocateRequest, context: Context) -> inventory_pb2.Allocation:
        lines = [(line.sku, line.qty) for line in request.lines]
        return await self._database.run(
            lambda tx: allocating.allocate(tx, request.tenant_id, request.request_id, lines, self._clock())
        )

    async def Release(self, request: inventory_pb2.ReleaseRequest, context: Context) -> inventory_pb2.Allocation:
        allocation = await self._database.run(
            lambda tx: allocating.release(tx, request.tenant_id, request.request_id, self._clock())
        )
        self._waker.nudge()
        return allocation

    async def LookUpAnswer(
        self, request: common_pb2.LookUpAnswerRequest, context: Context
    ) -> common_pb2.LookUpAnswerReply:
        claim = idempotency.claim_of(request.tenant_id, request.idempotency)
        return idempotency.as_reply(await self._database.run(lambda tx: idempotency.look_up(tx, claim, self._clock())))

    async def _record(self, wishes: Sequence[Wish]) -> list[Outcome]:
        async def record(tx: AsyncConnection) -> list[Outcome]:
            return await operations.record_movements(tx, wishes, self._clock(), self._new_id)

        try:
            return await self._database.run(record)
        except Fault as fault:
            if fault.code != "idempotency_key_in_use":
                raise
            if len(wishes) == 1:
                return [Outcome(fault)]
            # One key that still runs elsewhere must not hold up its neighbours: each goes by itself.
            return [(await self._record([wish]))[0] for wish in wishes]


def _wish(movement: inventory_pb2.Movement) -> Wish:
    return Wish(
        Movement(
            key=StockKey(movement.tenant_id, movement.sku, movement.warehouse),
            qty=movement.qty,
            reason=_REASONS.get(movement.reason, Reason.UNKNOWN),
            reference=movement.reference if movement.HasField("reference") else None,
        ),
        idempotency.claim_of(movement.tenant_id, movement.idempotency),
    )


def _outcome_message(outcome: Outcome) -> inventory_pb2.MovementOutcome:
    if isinstance(outcome.answer, Fault):
        refusal = to_message(outcome.answer, outcome.answer.request_id or trace.current().request_id)
        return inventory_pb2.MovementOutcome(refusal=refusal, replayed=outcome.replayed)
    return inventory_pb2.MovementOutcome(entry=outcome.answer, replayed=outcome.replayed)
