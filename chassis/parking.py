"""Events that a handler could not take, kept until an operator has looked at them and hands them back.

A released event is published to its subject once more, for the eyes of the one consumer that parked it: a header names
it, and every other consumer of that subject acks the message unseen. It carries no Nats-Msg-Id, or JetStream would take
it for a duplicate and drop it. Whether it still has an effect is decided where it always is: by the consumer's inbox
or by the version the event carries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nats.js import JetStreamContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database

# Headers of a released event: who may take it, and under which id it was parked.
RELEASED_FOR = "Skutrail-Released-For"
PARKED_ID = "Skutrail-Parked-Id"

_PARK = text("""
    INSERT INTO parked_event (consumer, event_id, subject, payload, error)
    VALUES (:consumer, :event_id, :subject, :payload, :error)
    ON CONFLICT (consumer, event_id) DO UPDATE
        SET payload = excluded.payload, error = excluded.error, parked_at = now(), released_at = NULL
""")

_WAITING = text("""
    SELECT consumer, event_id, subject, payload, error, parked_at FROM parked_event
    WHERE released_at IS NULL ORDER BY parked_at, event_id LIMIT :limit
""")

_FIND = text("""
    SELECT consumer, event_id, subject, payload, error, parked_at FROM parked_event
    WHERE released_at IS NULL AND event_id = :event_id ORDER BY consumer
""")

# It may have been parked again since it was read: then it is not released.
_RELEASE = text("""
    UPDATE parked_event SET released_at = now()
    WHERE consumer = :consumer AND event_id = :event_id AND parked_at = :parked_at
""")


@dataclass(frozen=True)
class ParkedEvent:
    """`error` is the handler's last exception; `payload` the message as it came, readable or not."""

    consumer: str
    event_id: str
    subject: str
    payload: bytes
    error: str
    parked_at: datetime


async def park(tx: AsyncConnection, *, consumer: str, event_id: str, subject: str, payload: bytes, error: str) -> None:
    row = {"consumer": consumer, "event_id": event_id, "subject": subject, "payload": payload, "error": error}
    await tx.execute(_PARK, row)


async def waiting(tx: AsyncConnection, limit: int) -> Sequence[ParkedEvent]:
    """What waits for an operator, oldest first, at most `limit`."""
    return [ParkedEvent(*row) for row in await tx.execute(_WAITING, {"limit": limit})]


async def find(tx: AsyncConnection, event_id: str) -> Sequence[ParkedEvent]:
    """The event as it waits for an operator, once per consumer that parked it."""
    return [ParkedEvent(*row) for row in await tx.execute(_FIND, {"event_id": event_id})]


async def release(database: Database, js: JetStreamContext, event: ParkedEvent) -> None:
    """Hands the event back to the consumer that parked it.

    Published first and marked afterwards: a crash in between leaves it waiting, and a second release does no harm.
    Raises nats.js.errors.NotFoundError when the consumer or its stream is gone.
    """
    stream = await js.find_stream_name_by_subject(event.subject)
    await js.consumer_info(stream, event.consumer)
    headers = {RELEASED_FOR: event.consumer, PARKED_ID: event.event_id}
    await js.publish(event.subject, event.payload, stream=stream, headers=headers)
    row = {"consumer": event.consumer, "event_id": event.event_id, "parked_at": event.parked_at}
    await database.run(lambda tx: tx.execute(_RELEASE, row))


def is_for(consumer: str, headers: Mapping[str, str] | None) -> bool:
    """False for an event that was released for another consumer of the same subject."""
    return (headers or {}).get(RELEASED_FOR, consumer) == consumer


def id_of(headers: Mapping[str, str] | None, stream_sequence: int) -> str:
    """Under which id a message is parked: the event's own, also when it could not be read or was released before."""
    known = headers or {}
    return known.get(PARKED_ID) or known.get("Nats-Msg-Id") or f"seq-{stream_sequence}"
