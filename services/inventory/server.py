"""In, by call: request, operation, reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from google.protobuf.message import Message

from chassis import failpoints, idempotency, wire
from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault, FieldFault, to_message
from chassis.idempotency import Claim
from chassis.ids import IdMaker
from chassis.outbox import Relay
from chassis.pipeline import Pipeline, within
from chassis.rpc import Context
from chassis.trace import cause_of
from services.inventory import allocating, chain, dispatching, messages, operations, planning, warehouses
from services.inventory.chain import Whole
from services.inventory.domain import MOVEMENTS_MAX, Movement, Reason, StockKey
from services.inventory.operations import Outcome, Wish
from services.inventory.registrar import KEYS_MAX, Registrar
from services.inventory.requests import REQUESTS_MAX
from services.inventory.trail import Filters
from services.inventory.waker import Waker
from services.inventory.writer import Writer
from skutrail.v1 import common_pb2, inventory_pb2, inventory_pb2_grpc

Reply = TypeVar("Reply", inventory_pb2.RecordBatchReply, inventory_pb2.RecordTransferReply)

PAGE_MAX = 100
VERIFYING_MAX = 2  # at once: what is left of the pool's connections is for those who write
VERIFY_CALLS_MAX = 32  # those who wait for their turn included
_REASONS = {int(reason): reason for reason in Reason}


class InventoryServer(inventory_pb2_grpc.InventoryServicer):
    def __init__(
        self,
        database: Database,
        writer: Writer,
        registrar: Registrar,
        relay: Relay,
        waker: Waker,
        clock: Clock,
        new_id: IdMaker,
    ) -> None:
        self._database = database
        self._writer = writer
        self._registrar = registrar
        self._relay = relay
        self._waker = waker
        self._clock = clock
        self._new_id = new_id
        self._verifying = asyncio.Semaphore(VERIFYING_MAX)
        self._verify_calls = 0

    async def RecordMovements(
        self, request: inventory_pb2.RecordMovementsRequest, context: Context
    ) -> inventory_pb2.RecordMovementsReply:
        _check_count(request.movements)
        if not all(movement.HasField("idempotency") for movement in request.movements):
            raise Fault("validation_failed", "Every movement needs an idempotency key.")
        wishes = [_wish(movement) for movement in request.movements]
        outcomes = await self._writer.record(wishes)
        self._nudge()
        return inventory_pb2.RecordMovementsReply(outcomes=_outcome_messages(outcomes, wishes))

    async def RecordBatch(
        self, request: inventory_pb2.RecordBatchRequest, context: Context
    ) -> inventory_pb2.RecordBatchReply:
        _check_count(request.movements)
        wishes = [_wish(movement) for movement in request.movements]

        async def record(pipeline: Pipeline) -> inventory_pb2.RecordBatchReply:
            outcomes = await operations.record_batch(
                pipeline, wishes, atomic=request.atomic, clock=self._clock, new_id=self._new_id
            )
            return inventory_pb2.RecordBatchReply(outcomes=_outcome_messages(outcomes, wishes))

        return await self._once(request, record, inventory_pb2.RecordBatchReply)

    async def RecordTransfer(
        self, request: inventory_pb2.RecordTransferRequest, context: Context
    ) -> inventory_pb2.RecordTransferReply:
        out = Movement(
            key=StockKey(request.tenant_id, request.sku, request.from_warehouse),
            qty=-request.qty,
            reason=Reason.TRANSFER,
            reference=_given(request, "reference"),
        )
        into = StockKey(request.tenant_id, request.sku, request.to_warehouse)

        async def record(pipeline: Pipeline) -> inventory_pb2.RecordTransferReply:
            return await operations.record_transfer(pipeline, out, into, self._clock, self._new_id)

        return await self._once(request, record, inventory_pb2.RecordTransferReply)

    async def GetBalance(self, request: inventory_pb2.GetBalanceRequest, context: Context) -> inventory_pb2.Balance:
        key = StockKey(request.tenant_id, request.sku, request.warehouse)
        as_of = wire.moment(request.as_of) if request.HasField("as_of") else None
        return await self._database.run(lambda tx: operations.read_balance(tx, key, self._clock(), as_of))

    async def GetBalances(
        self, request: inventory_pb2.GetBalancesRequest, context: Context
    ) -> inventory_pb2.GetBalancesReply:
        if len(request.keys) > MOVEMENTS_MAX:
            raise Fault("validation_failed", f"At most {MOVEMENTS_MAX} keys.")
        keys = [StockKey(key.tenant_id, key.sku, key.warehouse) for key in request.keys]
        balances = await self._database.run_pipelined(lambda p: operations.read_balances(p, keys, self._clock()))
        return inventory_pb2.GetBalancesReply(balances=balances)

    async def VerifyChain(
        self, request: inventory_pb2.VerifyChainRequest, context: Context
    ) -> inventory_pb2.VerifyChainReply:
        key = StockKey(request.tenant_id, request.sku, request.warehouse)
        known = Whole(request.after_seq, request.after_hash) if request.after_seq else Whole()
        async with self._turn_to_verify():
            stretch = await self._database.run(lambda tx: chain.verify_stretch(tx, key, known))
        return inventory_pb2.VerifyChainReply(
            seq=stretch.whole.seq,
            hash=stretch.whole.hash,
            first_broken_seq=stretch.first_broken_seq,
            is_end=stretch.is_end,
        )

    async def GetEntry(self, request: inventory_pb2.GetEntryRequest, context: Context) -> inventory_pb2.LedgerEntry:
        return await self._database.run(lambda tx: operations.read_entry(tx, request.tenant_id, request.id))

    async def ListEntries(
        self, request: inventory_pb2.ListEntriesRequest, context: Context
    ) -> inventory_pb2.ListEntriesReply:
        return await self._database.run(
            lambda tx: operations.list_entries(
                tx, request.tenant_id, _filters(request), after_id=_given(request, "after_id"), limit=_limit(request)
            )
        )

    async def ListLevels(
        self, request: inventory_pb2.ListLevelsRequest, context: Context
    ) -> inventory_pb2.ListLevelsReply:
        after = (request.after_sku, request.after_warehouse) if request.HasField("after_sku") else None
        return await self._database.run(
            lambda tx: operations.list_levels(
                tx,
                request.tenant_id,
                sku=_given(request, "sku"),
                warehouse=_given(request, "warehouse"),
                after=after,
                limit=_limit(request),
                now=self._clock(),
            )
        )

    async def Allocate(self, request: inventory_pb2.AllocateRequest, context: Context) -> inventory_pb2.AllocateReply:
        _check_count(request.requests, "/requests", REQUESTS_MAX)
        wanted = [messages.request_of(one) for one in request.requests]
        outcomes = await self._database.run_pipelined(
            lambda p: allocating.allocate(p, wanted, self._clock, self._new_id)
        )
        failpoints.reach("inventory.allocated")
        self._nudge()
        return inventory_pb2.AllocateReply(outcomes=[messages.outcome_message(outcome) for outcome in outcomes])

    async def PlanAllocation(
        self, request: inventory_pb2.StockRequest, context: Context
    ) -> inventory_pb2.AllocationPlan:
        wanted = messages.request_of(request)
        return await self._database.run_pipelined(lambda p: planning.plan(p, wanted, self._clock))

    async def ExplainAllocation(
        self, request: inventory_pb2.ExplainAllocationRequest, context: Context
    ) -> inventory_pb2.AllocationPlan:
        return await self._database.run_pipelined(
            lambda p: planning.explain(p, request.tenant_id, request.request_id, self._clock)
        )

    async def Release(self, request: inventory_pb2.ReleaseRequest, context: Context) -> inventory_pb2.Allocation:
        allocation = await self._database.run_pipelined(
            lambda p: allocating.release(p, request.tenant_id, request.request_id, self._clock, self._new_id)
        )
        failpoints.reach("inventory.released")
        self._nudge()
        return allocation

    async def Dispatch(self, request: inventory_pb2.DispatchRequest, context: Context) -> inventory_pb2.Allocation:
        allocation = await self._database.run_pipelined(
            lambda p: dispatching.dispatch(
                p, request.tenant_id, request.request_id, self._clock, self._new_id, _given(request, "version")
            )
        )
        failpoints.reach("inventory.dispatched")
        self._nudge()
        return allocation

    async def PutWarehouse(
        self, request: inventory_pb2.PutWarehouseRequest, context: Context
    ) -> inventory_pb2.Warehouse:
        warehouse = messages.warehouse_of(request.tenant_id, request.warehouse)
        described = await self._database.run(lambda tx: warehouses.put(tx, warehouse, self._clock()))
        self._nudge()  # it may give stock now that it did not
        return messages.warehouse_message(described)

    async def GetWarehouse(
        self, request: inventory_pb2.GetWarehouseRequest, context: Context
    ) -> inventory_pb2.Warehouse:
        described = await self._database.run(lambda tx: warehouses.get(tx, request.tenant_id, request.code))
        return messages.warehouse_message(described)

    async def ListWarehouses(
        self, request: inventory_pb2.ListWarehousesRequest, context: Context
    ) -> inventory_pb2.ListWarehousesReply:
        limit, after_code = _limit(request), request.after_code
        found = await self._database.run(
            lambda tx: warehouses.list_by_code(tx, request.tenant_id, after_code=after_code, limit=limit + 1)
        )
        page = [messages.warehouse_message(one) for one in found[:limit]]
        return inventory_pb2.ListWarehousesReply(warehouses=page, has_more=len(found) > limit)

    async def LookUpAnswer(
        self, request: common_pb2.LookUpAnswerRequest, context: Context
    ) -> common_pb2.LookUpAnswerReply:
        claim = idempotency.claim_of(request.tenant_id, request.idempotency)
        return idempotency.as_reply(await self._database.run(lambda tx: idempotency.look_up(tx, claim, self._clock())))

    async def ReserveKeys(
        self, request: inventory_pb2.ReserveKeysRequest, context: Context
    ) -> inventory_pb2.ReserveKeysReply:
        _check_count(request.reservations, "/reservations", KEYS_MAX)
        claims = [_claim_or_refusal(one) for one in request.reservations]
        reserved = iter(await self._registrar.reserve([one for one in claims if isinstance(one, Claim)]))
        outcomes = [next(reserved) if isinstance(one, Claim) else one for one in claims]
        return inventory_pb2.ReserveKeysReply(
            outcomes=[
                inventory_pb2.ReserveKeyOutcome(refusal=to_message(one) if isinstance(one, Fault) else None)
                for one in outcomes
            ]
        )

    async def FreeKey(self, request: inventory_pb2.FreeKeyRequest, context: Context) -> inventory_pb2.FreeKeyReply:
        claim = idempotency.claim_of(request.tenant_id, request.idempotency)
        await self._database.run(lambda tx: idempotency.free(tx, claim))
        return inventory_pb2.FreeKeyReply()

    @asynccontextmanager
    async def _turn_to_verify(self) -> AsyncIterator[None]:
        if self._verify_calls >= VERIFY_CALLS_MAX:
            raise Fault("unavailable", "Too many chains are verified just now. Try again.", retry_after_s=1)
        self._verify_calls += 1
        try:
            async with self._verifying:
                yield
        finally:
            self._verify_calls -= 1

    async def _once(
        self,
        request: inventory_pb2.RecordBatchRequest | inventory_pb2.RecordTransferRequest,
        operation: Callable[[Pipeline], Awaitable[Reply]],
        reply_type: type[Reply],
    ) -> Reply:
        claim = idempotency.claim_of(request.tenant_id, request.idempotency)
        reply, replayed = await idempotency.run_once(
            self._database, claim, lambda tx: within(tx, operation), reply_type=reply_type, now=self._clock()
        )
        self._nudge()
        reply.replayed = replayed
        return reply

    def _nudge(self) -> None:
        """Something was committed: there may be events to publish, and stock to serve those who wait."""
        self._relay.nudge()
        self._waker.nudge()


def _check_count(items: Sequence[Message], pointer: str = "/movements", count_max: int = MOVEMENTS_MAX) -> None:
    if not 1 <= len(items) <= count_max:
        fault = FieldFault(pointer, "out_of_range", f"1 to {count_max}.")
        raise Fault("validation_failed", "The request is not valid.", fields=[fault])


def _filters(request: inventory_pb2.ListEntriesRequest) -> Filters:
    return Filters(
        sku=_given(request, "sku"),
        warehouse=_given(request, "warehouse"),
        reason=_REASONS.get(request.reason, Reason.UNKNOWN) if request.HasField("reason") else None,
        reference=_given(request, "reference"),
        created_after=wire.moment(request.created_after) if request.HasField("created_after") else None,
        created_before=wire.moment(request.created_before) if request.HasField("created_before") else None,
    )


def _limit(
    request: inventory_pb2.ListEntriesRequest | inventory_pb2.ListLevelsRequest | inventory_pb2.ListWarehousesRequest,
) -> int:
    return min(max(request.limit, 1), PAGE_MAX)


def _given(message: Message, field: str) -> Any:
    """The value of an optional field, None where it is absent."""
    return getattr(message, field) if message.HasField(field) else None


def _claim_or_refusal(wanted: inventory_pb2.KeyReservation) -> Claim | Fault:
    """Its neighbours share the call, and not what is wrong with it."""
    try:
        return idempotency.claim_of(wanted.tenant_id, wanted.idempotency)
    except Fault as fault:
        return fault


def _wish(movement: inventory_pb2.Movement) -> Wish:
    cause = cause_of(movement)
    return Wish(
        Movement(
            key=StockKey(movement.tenant_id, movement.sku, movement.warehouse),
            qty=movement.qty,
            reason=_REASONS.get(movement.reason, Reason.UNKNOWN),
            reference=_given(movement, "reference"),
            expected_balance=_given(movement, "expected_balance"),
            expected_seq=_given(movement, "expected_seq"),
        ),
        idempotency.claim_of(movement.tenant_id, movement.idempotency, cause)
        if movement.HasField("idempotency")
        else None,
        cause,
    )


def _outcome_messages(outcomes: Sequence[Outcome], wishes: Sequence[Wish]) -> list[inventory_pb2.MovementOutcome]:
    return [_outcome_message(outcome, wish) for outcome, wish in zip(outcomes, wishes, strict=True)]


def _outcome_message(outcome: Outcome, wish: Wish) -> inventory_pb2.MovementOutcome:
    if isinstance(outcome.answer, Fault):
        refusal = to_message(outcome.answer, outcome.answer.request_id or wish.cause.request_id)
        return inventory_pb2.MovementOutcome(refusal=refusal, replayed=outcome.replayed)
    return inventory_pb2.MovementOutcome(entry=outcome.answer, replayed=outcome.replayed)
