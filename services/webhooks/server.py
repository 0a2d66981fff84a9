"""In, by call: request, operation, reply."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import idempotency
from chassis.clock import Clock
from chassis.database import Database
from chassis.idempotency import StoredAnswer
from chassis.ids import IdMaker
from chassis.rpc import Context
from services.webhooks import operations
from services.webhooks.addresses import Guard
from services.webhooks.secrets import Vault
from skutrail.v1 import common_pb2, webhooks_pb2, webhooks_pb2_grpc

PAGE_MAX = 100


class WebhooksServer(webhooks_pb2_grpc.WebhooksServicer):
    def __init__(
        self,
        database: Database,
        guard: Guard,
        vault: Vault,
        *,
        clock: Clock,
        make_id: IdMaker,
        make_key: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._guard = guard
        self._vault = vault
        self._clock = clock
        self._make_id = make_id
        self._make_key = make_key

    async def Subscribe(self, request: webhooks_pb2.SubscribeRequest, context: Context) -> webhooks_pb2.SubscribeReply:
        now = self._clock()

        async def subscribe(tx: AsyncConnection) -> webhooks_pb2.SubscribeReply:
            return await operations.subscribe(
                tx,
                request,
                guard=self._guard,
                vault=self._vault,
                now=now,
                make_id=self._make_id,
                make_key=self._make_key,
            )

        claim = idempotency.claim_of(request.tenant_id, request.idempotency)
        kept, replayed = await idempotency.run_once(
            self._database, claim, subscribe, reply_type=webhooks_pb2.SubscribeReply, now=now
        )
        return operations.open_reply(kept, tenant_id=request.tenant_id, vault=self._vault, replayed=replayed)

    async def GetSubscription(
        self, request: webhooks_pb2.GetSubscriptionRequest, context: Context
    ) -> webhooks_pb2.Subscription:
        return await self._database.run(lambda tx: operations.get_subscription(tx, request.tenant_id, request.id))

    async def ListSubscriptions(
        self, request: webhooks_pb2.ListSubscriptionsRequest, context: Context
    ) -> webhooks_pb2.ListSubscriptionsReply:
        after_id = request.after_id if request.HasField("after_id") else None
        limit = min(max(request.limit, 1), PAGE_MAX)
        return await self._database.run(
            lambda tx: operations.list_subscriptions(tx, request.tenant_id, after_id=after_id, limit=limit)
        )

    async def UpdateSubscription(
        self, request: webhooks_pb2.UpdateSubscriptionRequest, context: Context
    ) -> webhooks_pb2.Subscription:
        return await self._database.run(lambda tx: operations.update_subscription(tx, request, guard=self._guard))

    async def DeleteSubscription(
        self, request: webhooks_pb2.DeleteSubscriptionRequest, context: Context
    ) -> webhooks_pb2.DeleteSubscriptionReply:
        now = self._clock()
        await self._database.run(lambda tx: operations.delete_subscription(tx, request.tenant_id, request.id, now=now))
        return webhooks_pb2.DeleteSubscriptionReply()

    async def ListEventTypes(
        self, request: webhooks_pb2.ListEventTypesRequest, context: Context
    ) -> webhooks_pb2.ListEventTypesReply:
        return operations.list_event_types()

    async def LookUpAnswer(
        self, request: common_pb2.LookUpAnswerRequest, context: Context
    ) -> common_pb2.LookUpAnswerReply:
        claim = idempotency.claim_of(request.tenant_id, request.idempotency)
        answer = await self._database.run(lambda tx: idempotency.look_up(tx, claim, self._clock()))
        return idempotency.as_reply(self._opened(answer, request.tenant_id))

    def _opened(self, answer: StoredAnswer | None, tenant_id: str) -> StoredAnswer | None:
        if answer is None or answer.reply is None:
            return answer
        kept = webhooks_pb2.SubscribeReply.FromString(answer.reply)
        opened = operations.open_reply(kept, tenant_id=tenant_id, vault=self._vault, replayed=True)
        return StoredAnswer(reply=opened.SerializeToString(deterministic=True), fault=None)
