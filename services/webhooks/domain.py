"""What is allowed: which events a subscription names, how a delivery ends, and when the next attempt is made. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

# The public catalogue of proto/skutrail/v1/events.proto: {type: what it says happened, in one sentence for readers}.
# allocation.changed is between services only.
EVENT_TYPES: Mapping[str, str] = {
    "inventory.updated": "A movement was recorded in the ledger, and a balance changed.",
    "inventory.shortfall": "An adjustment left less stock than shipments hold; the youngest of them wait again.",
    "shipment.created": "A shipment was accepted and is queued for allocation.",
    "shipment.allocated": "Stock is held for every line of a shipment.",
    "shipment.backordered": "There is not enough stock for a shipment; it waits for more.",
    "shipment.label_ready": "The label of a shipment can be fetched.",
    "shipment.shipped": "A shipment left the warehouse, and its stock with it.",
    "shipment.delivered": "The carrier delivered a shipment.",
    "shipment.canceled": "A shipment was canceled, and the stock held for it is free again.",
    "shipment.failed": "The carrier refused a shipment, or its time ran out; the stock held for it is free again.",
    "order.updated": "The status, the allocations or the lines of an order changed.",
    "webhook.ping": "Somebody asked to try a webhook out; nothing happened to stock, shipment or order (not sent yet).",
}


def patterns_matching(event_type: str) -> tuple[str, ...]:
    """What a subscription may say to get this event: the type itself, its family as `shipment.*`, or `*`."""
    return event_type, f"{event_type.partition('.')[0]}.*", "*"


# Everything a subscription may name.
PATTERNS = frozenset(pattern for event_type in EVENT_TYPES for pattern in patterns_matching(event_type))


@dataclass(frozen=True)
class Subscription:
    tenant_id: str
    id: str
    url: str
    events: tuple[str, ...]
    is_active: bool
    description: str | None
    created_at: datetime


# An event is dated by the clock of its service, a subscription by ours.
CLOCKS_DIFFER_MAX = timedelta(minutes=1)


@dataclass(frozen=True)
class Asking:
    """A subscription that names an event."""

    id: str
    created_at: datetime

    def may_hear_of(self, occurred_at: datetime) -> bool:
        """Not of what happened before it was made."""
        return occurred_at > self.created_at - CLOCKS_DIFFER_MAX


class Status(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Outcome(StrEnum):
    """What one attempt meant for its delivery."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    EXHAUSTED = "exhausted"
    GONE = "gone"
    POSTPONED = "postponed"  # it could not even begin


# A delivery changes only by this table. What ended stays ended.
TRANSITIONS: Mapping[Status, Mapping[Outcome, Status]] = {
    Status.PENDING: {
        Outcome.ACCEPTED: Status.DELIVERED,
        Outcome.REFUSED: Status.PENDING,
        Outcome.EXHAUSTED: Status.FAILED,
        Outcome.GONE: Status.FAILED,
        Outcome.POSTPONED: Status.PENDING,
    },
    Status.DELIVERED: {},
    Status.FAILED: {},
}

# Before attempt 1, 2, 3 ...: the schedule that Standard Webhooks recommends, 75.6 hours in all.
DELAYS: tuple[timedelta, ...] = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
ATTEMPTS_MAX = len(DELAYS)
JITTER_MAX = 0.2  # of the delay, only ever added: many deliveries that failed together must not return together
RETRY_AFTER_MAX = timedelta(hours=24)
POSTPONED_BY = timedelta(seconds=5)


@dataclass(frozen=True)
class Answer:
    """What an attempt got: a status, or no usable answer (`error`)."""

    status_code: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None


@dataclass(frozen=True)
class Verdict:
    """What becomes of a delivery; `next_attempt_at` is set exactly while it is pending."""

    status: Status
    next_attempt_at: datetime | None
    disables_subscription: bool


def judge(answer: Answer, *, attempts_made: int, now: datetime, jitter: float) -> Verdict:
    """What becomes of a pending delivery after an attempt. `attempts_made` counts this one; `jitter` is in [0, 1)."""
    outcome = _outcome_of(answer, attempts_made)
    status = TRANSITIONS[Status.PENDING][outcome]
    is_pending = status is Status.PENDING
    return Verdict(
        status,
        now + _delay(attempts_made, jitter, answer.retry_after) if is_pending else None,
        disables_subscription=outcome is Outcome.GONE,
    )


# A delivery that comes due while its subscription is disabled or deleted ends without an attempt: who switched the
# events off does not expect old ones when switching them on again, and a backlog must not wait for ever.
ABANDONED = Verdict(TRANSITIONS[Status.PENDING][Outcome.GONE], next_attempt_at=None, disables_subscription=False)


def postpone(*, now: datetime, jitter: float) -> Verdict:
    """What becomes of a delivery whose attempt could not begin: none is spent. `jitter` is in [0, 1)."""
    status = TRANSITIONS[Status.PENDING][Outcome.POSTPONED]
    return Verdict(status, now + POSTPONED_BY * (1 + JITTER_MAX * jitter), disables_subscription=False)


def _outcome_of(answer: Answer, attempts_made: int) -> Outcome:
    if answer.error is None and answer.status_code is not None and 200 <= answer.status_code <= 299:
        return Outcome.ACCEPTED
    if answer.status_code == 410:
        return Outcome.GONE
    return Outcome.REFUSED if attempts_made < ATTEMPTS_MAX else Outcome.EXHAUSTED


def _delay(attempts_made: int, jitter: float, retry_after: timedelta | None) -> timedelta:
    """The step of the schedule with its jitter, and never less than what the receiver asked for."""
    planned = DELAYS[attempts_made] * (1 + JITTER_MAX * jitter)
    return max(planned, min(retry_after or timedelta(0), RETRY_AFTER_MAX))


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Retry-After in seconds or as an HTTP date (RFC 9110, section 10.2.3). None where it says nothing usable."""
    if value is None:
        return None
    try:
        if _SECONDS.fullmatch(value):
            return timedelta(seconds=min(int(value), RETRY_AFTER_MAX.total_seconds()))
        at = parsedate_to_datetime(value)
        return max(at.replace(tzinfo=at.tzinfo or UTC) - now, timedelta(0))
    except (ValueError, OverflowError):
        return None


_SECONDS = re.compile(r"[0-9]+", re.ASCII)
