"""Out: the body of a delivery, rendered once; these bytes are stored, signed and sent on every attempt."""

import json

from chassis import wire
from skutrail.v1 import events_pb2

# What is told of each kind of data: the order of these fields, or all but those.
_ENTRY = ("id", "sku", "warehouse", "qty", "reason", "reference", "balance", "seq", "created_at")
_NOT_PUBLIC = {"shipment": ("version",)}


def render(event: events_pb2.Event) -> bytes:
    """`{"id", "type", "timestamp", "data"}` in UTF-8. Raises ValueError for an event without data."""
    body = {
        "id": event.id,
        "type": event.type,
        "timestamp": wire.rfc3339(wire.moment(event.occurred_at)),
        "data": _data(event),
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _data(event: events_pb2.Event) -> wire.Json:
    kind = event.WhichOneof("data")
    if kind is None:
        raise ValueError(f"event {event.id} of type {event.type} has no data")
    message = getattr(event, kind)
    if kind == "entry":
        return wire.to_json(message, only=_ENTRY)
    return wire.to_json(message, without=_NOT_PUBLIC.get(kind, ()))
