"""Protobuf to JSON, the public way: fields in the order of the contract, snake_case, nulls printed.

int64 is a number, an absent optional field is null, an enum is its lower-case name without the type's prefix, and a
Timestamp is RFC 3339 in UTC with whole seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Json = dict[str, Any]


def to_json(message: Message, only: Sequence[str] = (), without: Sequence[str] = ()) -> Json:
    """The message as a JSON object; `only` picks and orders fields, `without` leaves some out."""
    fields = message.DESCRIPTOR.fields_by_name
    names = only or [name for name in fields if name not in without]
    return {name: _value(message, fields[name]) for name in names}


def timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp


def moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """For example 2026-04-22T17:04:11Z."""
    # Not strftime, whose %Y has fewer than four digits before the year 1000.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_scalar(item, field) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _scalar(value, field)


def _scalar(value: Any, field: Any) -> Any:
    if isinstance(value, Timestamp):
        return rfc3339(moment(value))
    if isinstance(value, Message):
        return to_json(value)
    if field.enum_type is not None:
        return enum_name(field.enum_type, value)
    return value


@lru_cache(maxsize=256)
def enum_name(enum: EnumDescriptor, number: int) -> str:
    """SHIPMENT_STATUS_LABEL_READY of ShipmentStatus is label_ready."""
    names = [value.name for value in enum.values]
    prefix = next(name for name in names if name.endswith("UNSPECIFIED"))[: -len("UNSPECIFIED")]
    return str(enum.values_by_number[number].name.removeprefix(prefix).lower())
