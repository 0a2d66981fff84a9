"""/v1/webhooks: subscriptions."""

from __future__ import annotations

from aiohttp import web

from chassis import rpc
from chassis.wire import to_json
from gateway import requests
from gateway.call import Call, respond
from gateway.writes import Write
from skutrail.v1 import webhooks_pb2


async def _subscribe(call: Call, wanted: requests.Subscription) -> tuple[webhooks_pb2.SubscribeReply, bool]:
    message = webhooks_pb2.SubscribeRequest(
        tenant_id=call.tenant_id, idempotency=call.idempotency, **wanted.model_dump()
    )
    reply = await rpc.call(call.upstream.webhooks.Subscribe, message)
    return reply, reply.replayed


def _show_subscribed(_: Call, reply: webhooks_pb2.SubscribeReply) -> web.Response:
    shown = to_json(reply.subscription, only=("id", "url", "events", "created_at"))
    if reply.HasField("made_secret"):
        # The only answer that ever holds a secret, and only one that we made ourselves.
        shown["secret"] = reply.made_secret
    return respond(shown, status=201, location=f"/v1/webhooks/{reply.subscription.id}")


subscribe = Write(
    model=requests.Subscription,
    send=_subscribe,
    stored=webhooks_pb2.SubscribeReply,
    show=_show_subscribed,
    look_up=lambda upstream: upstream.webhooks.LookUpAnswer,
)


async def get_subscription(call: Call) -> web.Response:
    wanted = webhooks_pb2.GetSubscriptionRequest(tenant_id=call.tenant_id, id=call.id)
    return respond(to_json(await rpc.call(call.upstream.webhooks.GetSubscription, wanted)))
