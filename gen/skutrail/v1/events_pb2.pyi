import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from skutrail.v1 import inventory_pb2 as _inventory_pb2
from skutrail.v1 import orders_pb2 as _orders_pb2
from skutrail.v1 import shipments_pb2 as _shipments_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("id", "type", "tenant_id", "key", "occurred_at", "traceparent", "entry", "shortfall", "allocation", "shipment", "order")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    SHORTFALL_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    SHIPMENT_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    tenant_id: str
    key: str
    occurred_at: _timestamp_pb2.Timestamp
    traceparent: str
    entry: _inventory_pb2.LedgerEntry
    shortfall: Shortfall
    allocation: _inventory_pb2.Allocation
    shipment: _shipments_pb2.Shipment
    order: _orders_pb2.Order
    def __init__(self, id: _Optional[str] = ..., type: _Optional[str] = ..., tenant_id: _Optional[str] = ..., key: _Optional[str] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., traceparent: _Optional[str] = ..., entry: _Optional[_Union[_inventory_pb2.LedgerEntry, _Mapping]] = ..., shortfall: _Optional[_Union[Shortfall, _Mapping]] = ..., allocation: _Optional[_Union[_inventory_pb2.Allocation, _Mapping]] = ..., shipment: _Optional[_Union[_shipments_pb2.Shipment, _Mapping]] = ..., order: _Optional[_Union[_orders_pb2.Order, _Mapping]] = ...) -> None: ...

class EventBundle(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Shortfall(_message.Message):
    __slots__ = ("sku", "warehouse", "on_hand", "short", "shipment_ids")
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    ON_HAND_FIELD_NUMBER: _ClassVar[int]
    SHORT_FIELD_NUMBER: _ClassVar[int]
    SHIPMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    warehouse: str
    on_hand: int
    short: int
    shipment_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., on_hand: _Optional[int] = ..., short: _Optional[int] = ..., shipment_ids: _Optional[_Iterable[str]] = ...) -> None: ...
