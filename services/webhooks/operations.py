"""What the service does, one paragraph each. Operations take the transaction and never commit."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import inbox, wire
from chassis.errors import Fault, FieldFault
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from services.webhooks import events, signing, store, subscriptions
from services.webhooks.addresses import Guard
from services.webhooks.checks import faults_of, faults_of_change
from services.webhooks.domain import EVENT_TYPES, Subscription, Verdict
from services.webhooks.secrets import Vault
from services.webhooks.store import Attempt, Claimed, Delivery, StoredEvent
from skutrail.v1 import events_pb2, webhooks_pb2

INBOX = "webhooks"
# Every event writes a row per matching subscription: the fan-out of one tenant needs a bound.
ACTIVE_PER_TENANT_MAX = 1_000
# In one transaction: what more would take is work for several. A single event has at most ACTIVE_PER_TENANT_MAX.
DELIVERIES_MAX = 5_000


class TooManyDeliveries(Exception):
    """So many events have too many subscriptions to be written at once: fewer of them may."""


async def subscribe(
    tx: AsyncConnection,
    request: webhooks_pb2.SubscribeRequest,
    *,
    guard: Guard,
    vault: Vault,
    now: datetime,
    make_id: IdMaker,
    make_key: Callable[[int], bytes],
) -> webhooks_pb2.SubscribeReply:
    """Adds a subscription. A made secret stands sealed in the reply, for the reply is stored; the door opens it.

    Raises Fault `validation_failed` with every fault of the body.
    """
    faults = faults_of(request, guard)
    if not faults:
        faults = await _faults_of_number(tx, request.tenant_id, pointer="")
    if faults:
        raise Fault("validation_failed", "The webhook is not valid.", fields=faults)
    subscription = _subscription(request, make_id("whk"), now)
    secret = request.secret if request.HasField("secret") else signing.make_secret(make_key(signing.MADE_KEY_BYTES))
    sealed = vault.seal(secret, tenant_id=subscription.tenant_id, subscription_id=subscription.id)
    await subscriptions.add(tx, subscription, sealed)
    made_secret = None if request.HasField("secret") else base64.b64encode(sealed).decode()
    return webhooks_pb2.SubscribeReply(subscription=to_message(subscription), made_secret=made_secret)


async def _faults_of_number(tx: AsyncConnection, tenant_id: str, *, pointer: str) -> list[FieldFault]:
    # Two that count at the same time would both find room for the last one. Who holds a row may wait here, and nobody
    # who passed waits for a row: they cannot deadlock.
    await subscriptions.queue_up(tx, tenant_id)
    if await subscriptions.count_active(tx, tenant_id) < ACTIVE_PER_TENANT_MAX:
        return []
    return [FieldFault(pointer, "too_many", f"At most {ACTIVE_PER_TENANT_MAX} webhooks can be active.")]


def open_reply(
    reply: webhooks_pb2.SubscribeReply, *, tenant_id: str, vault: Vault, replayed: bool
) -> webhooks_pb2.SubscribeReply:
    """The reply as its caller reads it: the made secret in clear, the first time and on every replay."""
    opened = webhooks_pb2.SubscribeReply(subscription=reply.subscription, replayed=replayed)
    if reply.HasField("made_secret"):
        sealed = base64.b64decode(reply.made_secret)
        opened.made_secret = vault.open(sealed, tenant_id=tenant_id, subscription_id=reply.subscription.id)
    return opened


async def get_subscription(tx: AsyncConnection, tenant_id: str, subscription_id: str) -> webhooks_pb2.Subscription:
    """Raises Fault `not_found`: unknown, or another tenant's."""
    subscription = await subscriptions.find(tx, tenant_id, subscription_id)
    if subscription is None:
        raise _not_found()
    return to_message(subscription)


async def list_subscriptions(
    tx: AsyncConnection, tenant_id: str, *, after_id: str | None, limit: int
) -> webhooks_pb2.ListSubscriptionsReply:
    """A page of `limit`, the newest first, behind the subscription `after_id`, even where that was deleted since."""
    found = await subscriptions.page(tx, tenant_id, after_id=after_id, limit=limit + 1)
    messages = [to_message(subscription) for subscription in found[:limit]]
    return webhooks_pb2.ListSubscriptionsReply(subscriptions=messages, has_more=len(found) > limit)


async def update_subscription(
    tx: AsyncConnection, request: webhooks_pb2.UpdateSubscriptionRequest, *, guard: Guard
) -> webhooks_pb2.Subscription:
    """Changes what is given.

    Every attempt from now on goes to the new address, of deliveries that wait too. What comes due while a subscription
    is disabled ends as failed without an attempt; what comes due after it is active again is sent. One that a 410
    disabled may be made active again.

    Raises Fault `not_found`, or `validation_failed` with every fault of what is given.
    """
    subscription = await subscriptions.lock(tx, request.tenant_id, request.id)
    if subscription is None:
        raise _not_found()
    faults = faults_of_change(request, guard)
    changed = _changed(subscription, request)
    if not faults and changed.is_active and not subscription.is_active:
        faults = await _faults_of_number(tx, request.tenant_id, pointer="/status")
    if faults:
        raise Fault("validation_failed", "The change is not valid.", fields=faults)
    await subscriptions.save(tx, changed)
    return to_message(changed)


async def delete_subscription(tx: AsyncConnection, tenant_id: str, subscription_id: str, *, now: datetime) -> None:
    """Ends a subscription: it is not found any more, and nothing more is sent.

    An attempt that is under way may still arrive. What waits ends as failed without an attempt when it comes due.
    Deliveries and attempts stay until the retention takes them, and the subscription then goes with them.

    Raises Fault `not_found`: unknown, another tenant's, or deleted before.
    """
    if not await subscriptions.delete(tx, tenant_id, subscription_id, now):
        raise _not_found()


def list_event_types() -> webhooks_pb2.ListEventTypesReply:
    """The public catalogue. A subscription may name each of these, a family as `shipment.*`, or `*`."""
    types = [webhooks_pb2.EventType(type=name, description=sentence) for name, sentence in EVENT_TYPES.items()]
    return webhooks_pb2.ListEventTypesReply(event_types=types)


async def fan_out(pipeline: Pipeline, announced: Sequence[events_pb2.Event], *, now: datetime, make_id: IdMaker) -> int:
    """Writes one delivery per event and matching subscription, once per event; returns how many.

    An event of a tenant without any subscription leaves nothing behind, no claim either: should it come again, it is
    too old for a subscription made meanwhile.

    Raises TooManyDeliveries, of more than one event, where a transaction would become too long.
    """
    [rows] = await pipeline.ask(subscriptions.listening({event.tenant_id for event in announced}))
    listening = {row.tenant_id for row in rows}
    heard = {event.id: event for event in announced if event.tenant_id in listening}
    if not heard:
        return 0
    wanted = {(event.tenant_id, event.type) for event in heard.values()}
    claimed, rows = await pipeline.ask(inbox.claiming(INBOX, heard), subscriptions.asking(wanted))
    asked = subscriptions.asked_by(rows, wanted)
    first_seen = [heard[row.event_id] for row in claimed]
    deliveries = [
        Delivery(event.tenant_id, make_id("whd"), asking.id, event.id)
        for event in first_seen
        for asking in asked[event.tenant_id, event.type]
        if asking.may_hear_of(wire.moment(event.occurred_at))
    ]
    if len(deliveries) > DELIVERIES_MAX and len(announced) > 1:
        raise TooManyDeliveries
    if deliveries:
        delivered = {delivery.event_id for delivery in deliveries}
        pipeline.tell(*store.adding_events([_stored(event) for event in first_seen if event.id in delivered]))
        pipeline.tell(*store.adding_deliveries(deliveries, now=now))
    return len(deliveries)


def _stored(event: events_pb2.Event) -> StoredEvent:
    return StoredEvent(event.tenant_id, event.id, event.type, events.render(event), wire.moment(event.occurred_at))


async def settle(
    tx: AsyncConnection, claimed: Claimed, verdict: Verdict, attempt: Attempt | None, *, now: datetime
) -> bool:
    """Records an attempt and what it made of its delivery. False, and no change, where the lease was lost."""
    attempts_made = attempt.number if attempt else claimed.attempts_made
    if not await store.settle(tx, claimed, verdict, attempts_made=attempts_made, now=now):
        return False
    if attempt:
        await store.add_attempt(tx, claimed, attempt)
    if verdict.disables_subscription:
        # Only what is still subscribed with that address: it may have moved while the attempt was under way.
        await subscriptions.disable(tx, claimed.tenant_id, claimed.subscription_id, url=claimed.url)
    return True


def to_message(subscription: Subscription) -> webhooks_pb2.Subscription:
    active, disabled = webhooks_pb2.SUBSCRIPTION_STATUS_ACTIVE, webhooks_pb2.SUBSCRIPTION_STATUS_DISABLED
    return webhooks_pb2.Subscription(
        id=subscription.id,
        url=subscription.url,
        events=subscription.events,
        status=active if subscription.is_active else disabled,
        description=subscription.description,
        created_at=wire.timestamp(subscription.created_at),
    )


def _subscription(request: webhooks_pb2.SubscribeRequest, subscription_id: str, now: datetime) -> Subscription:
    return Subscription(
        tenant_id=request.tenant_id,
        id=subscription_id,
        url=request.url,
        events=tuple(request.events),
        is_active=True,
        description=request.description if request.HasField("description") else None,
        created_at=now,
    )


def _changed(subscription: Subscription, request: webhooks_pb2.UpdateSubscriptionRequest) -> Subscription:
    is_active = request.status == webhooks_pb2.SUBSCRIPTION_STATUS_ACTIVE
    return replace(
        subscription,
        url=request.url if request.HasField("url") else subscription.url,
        events=tuple(request.events) or subscription.events,
        is_active=is_active if request.HasField("status") else subscription.is_active,
        description=(request.description or None) if request.HasField("description") else subscription.description,
    )


def _not_found() -> Fault:
    return Fault("not_found", "There is no such webhook.")
