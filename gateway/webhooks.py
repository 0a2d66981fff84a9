"""/v1/webhooks: subscriptions."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from chassis import rpc
from chassis.wire import to_json
from gateway import requests, validation
from gateway.call import Call, respond
from gateway.cursors import Position
from gateway.pages import Listing, after_id, page
from gateway.shown import NEW_WEBHOOK
from gateway.writes import Write
from skutrail.v1 import webhooks_pb2


async def _subscribe(call: Call, wanted: requests.Subscription) -> tuple[webhooks_pb2.SubscribeReply, bool]:
    message = webhooks_pb2.SubscribeRequest(
        tenant_id=call.tenant_id, idempotency=call.idempotency, **wanted.model_dump()
    )
    reply = await rpc.call(call.upstream.webhooks.Subscribe, message)
    return reply, reply.replayed


def _show_subscribed(_: Call, reply: webhooks_pb2.SubscribeReply) -> web.Response:
    shown = NEW_WEBHOOK(reply.subscription)
    if reply.HasField("made_secret"):
        # The only answer that ever holds a secret, and only one that we made ourselves.
        shown["secret"] = reply.made_secret
    return respond(shown, status=201, location=f"/v1/webhooks/{reply.subscription.id}")


subscribe = Write(
    model=requests.Subscription,
    send=_subscribe,
    stored=webhooks_pb2.SubscribeReply,
    show=_show_subscribed,
    owner=lambda upstream: upstream.webhooks,
)


async def get_subscription(call: Call) -> web.Response:
    wanted = webhooks_pb2.GetSubscriptionRequest(tenant_id=call.tenant_id, id=call.id)
    return respond(to_json(await rpc.call(call.upstream.webhooks.GetSubscription, wanted)))


async def _fetch(call: Call, limit: int, after: Position) -> tuple[Sequence[webhooks_pb2.Subscription], bool]:
    wanted = webhooks_pb2.ListSubscriptionsRequest(tenant_id=call.tenant_id, limit=limit, **after)
    reply = await rpc.call(call.upstream.webhooks.ListSubscriptions, wanted)
    return reply.subscriptions, reply.has_more


list_subscriptions = Listing(fetch=_fetch, show=to_json, position_of=after_id)


async def change_subscription(call: Call) -> web.Response:
    change = validation.read(requests.SubscriptionChange, call.body).model_dump(exclude_unset=True)
    if "status" in change:
        change["status"] = f"SUBSCRIPTION_STATUS_{change['status'].upper()}"
    if "description" in change:
        change["description"] = change["description"] or ""  # the contract's word for none
    wanted = webhooks_pb2.UpdateSubscriptionRequest(tenant_id=call.tenant_id, id=call.id, **change)
    return respond(to_json(await rpc.call(call.upstream.webhooks.UpdateSubscription, wanted)))


async def delete_subscription(call: Call) -> web.Response:
    wanted = webhooks_pb2.DeleteSubscriptionRequest(tenant_id=call.tenant_id, id=call.id)
    await rpc.call(call.upstream.webhooks.DeleteSubscription, wanted)
    return web.Response(status=204)


async def list_event_types(call: Call) -> web.Response:
    reply = await rpc.call(call.upstream.webhooks.ListEventTypes, webhooks_pb2.ListEventTypesRequest())
    return respond(page([to_json(event_type) for event_type in reply.event_types]))
