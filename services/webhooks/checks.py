"""What a subscription may say: every fault of its body at once, each with its JSON pointer. Pure."""

from collections.abc import Sequence

from chassis.errors import FieldFault
from services.webhooks.addresses import Guard
from services.webhooks.domain import PATTERNS
from services.webhooks.signing import fault_of_secret
from services.webhooks.urls import UrlRefused, check_url
from skutrail.v1 import webhooks_pb2

EVENTS_MAX = len(PATTERNS)
DESCRIPTION_LENGTH_MAX = 256


def faults_of(request: webhooks_pb2.SubscribeRequest, guard: Guard) -> list[FieldFault]:
    return [
        *_faults_of_url(request.url, guard),
        *_faults_of_events(request.events),
        *(_faults_of_secret(request.secret) if request.HasField("secret") else ()),
        *_faults_of_description(request.description),
    ]


def faults_of_change(request: webhooks_pb2.UpdateSubscriptionRequest, guard: Guard) -> list[FieldFault]:
    """Of what is given, by the same rules."""
    return [
        *(_faults_of_url(request.url, guard) if request.HasField("url") else ()),
        *(_faults_of_events(request.events) if request.events else ()),
        *(_faults_of_status(request.status) if request.HasField("status") else ()),
        *_faults_of_description(request.description),
    ]


def _faults_of_url(url: str, guard: Guard) -> list[FieldFault]:
    try:
        check_url(url, guard)
    except UrlRefused as refusal:
        return [FieldFault("/url", refusal.code, f"The URL {refusal.detail}.")]
    return []


def _faults_of_events(events: Sequence[str]) -> list[FieldFault]:
    """A type may stand twice: it is answered as it was sent, and delivered once."""
    if not 1 <= len(events) <= EVENTS_MAX:
        return [FieldFault("/events", "wrong_length", f"Must have 1 to {EVENTS_MAX} items.")]
    sentence = "Must be an event type, a family of them such as shipment.*, or *."
    return [
        FieldFault(f"/events/{position}", "unknown_event_type", sentence)
        for position, pattern in enumerate(events)
        if pattern not in PATTERNS
    ]


def _faults_of_secret(secret: str) -> list[FieldFault]:
    fault = fault_of_secret(secret)
    return [FieldFault("/secret", "bad_secret", f"The secret {fault}.")] if fault else []


def _faults_of_status(status: webhooks_pb2.SubscriptionStatus) -> list[FieldFault]:
    if status in (webhooks_pb2.SUBSCRIPTION_STATUS_ACTIVE, webhooks_pb2.SUBSCRIPTION_STATUS_DISABLED):
        return []
    return [FieldFault("/status", "unknown_value", "Must be active or disabled.")]


def _faults_of_description(description: str) -> list[FieldFault]:
    if len(description) <= DESCRIPTION_LENGTH_MAX and description.isprintable():
        return []
    return [FieldFault("/description", "invalid_text", f"At most {DESCRIPTION_LENGTH_MAX} printable characters.")]
