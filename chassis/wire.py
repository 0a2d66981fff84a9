"""Protobuf to JSON, the public way: fields in the order of the contract, snake_case, nulls printed.

int64 is a number, an absent optional field is null, an enum is its lower-case name without the type's prefix, and a
Timestamp is RFC 3339 in UTC with whole seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Json = dict[str, Any]
_Reader = Callable[[Any], Any]


def to_json(message: Message, only: Sequence[str] = (), without: Sequence[str] = ()) -> Json:
    """The message as a JSON object; `only` picks and orders fields, `without` leaves some out."""
    return {name: read(message) for name, read in _readers(message.DESCRIPTOR, tuple(only), tuple(without))}


def timestamp(moment: datetime) -> Timestamp:
    age = moment - _EPOCH
    return Timestamp(seconds=age.days * 86_400 + age.seconds, nanos=age.microseconds * 1000)


def moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """For example 2026-04-22T17:04:11Z."""
    # Not strftime, whose %Y has fewer than four digits before the year 1000.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1024)
def _readers(message: Descriptor, only: Sequence[str], without: Sequence[str]) -> Sequence[tuple[str, _Reader]]:
    """How each field is read: worked out once per kind of answer, for this runs for every one."""
    names = only or [name for name in message.fields_by_name if name not in without]
    return [(name, _reader(message.fields_by_name[name])) for name in names]


def _reader(field: Any) -> _Reader:
    show, read = _shower(field), attrgetter(field.name)
    if field.is_repeated:
        return lambda message: [show(item) for item in read(message)]
    if field.has_presence:
        return lambda message: show(read(message)) if message.HasField(field.name) else None
    return lambda message: show(read(message))


def _shower(field: Any) -> _Reader:
    if field.message_type is not None:
        is_time = field.message_type.full_name == Timestamp.DESCRIPTOR.full_name
        return (lambda stamp: _second(stamp.seconds)) if is_time else to_json
    if field.enum_type is not None:
        return lambda number: enum_name(field.enum_type, number)
    return lambda value: value


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return rfc3339(_EPOCH + timedelta(seconds=seconds))


@lru_cache(maxsize=256)
def enum_name(enum: EnumDescriptor, number: int) -> str:
    """SHIPMENT_STATUS_LABEL_READY of ShipmentStatus is label_ready."""
    names = [value.name for value in enum.values]
    prefix = next(name for name in names if name.endswith("UNSPECIFIED"))[: -len("UNSPECIFIED")]
    return str(enum.values_by_number[number].name.removeprefix(prefix).lower())
