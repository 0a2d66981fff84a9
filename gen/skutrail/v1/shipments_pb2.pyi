import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from skutrail.v1 import common_pb2 as _common_pb2
from skutrail.v1 import inventory_pb2 as _inventory_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ShipmentStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHIPMENT_STATUS_UNSPECIFIED: _ClassVar[ShipmentStatus]
    SHIPMENT_STATUS_QUEUED: _ClassVar[ShipmentStatus]
    SHIPMENT_STATUS_BACKORDERED: _ClassVar[ShipmentStatus]
    SHIPMENT_STATUS_ALLOCATED: _ClassVar[ShipmentStatus]
    SHIPMENT_STATUS_LABEL_READY: _ClassVar[ShipmentStatus]
    SHIPMENT_STATUS_SHIPPED: _ClassVar[ShipmentStatus]
    SHIPMENT_STATUS_DELIVERED: _ClassVar[ShipmentStatus]
    SHIPMENT_STATUS_CANCELED: _ClassVar[ShipmentStatus]
    SHIPMENT_STATUS_FAILED: _ClassVar[ShipmentStatus]

class LabelStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_STATUS_UNSPECIFIED: _ClassVar[LabelStatus]
    LABEL_STATUS_NONE: _ClassVar[LabelStatus]
    LABEL_STATUS_PURCHASING: _ClassVar[LabelStatus]
    LABEL_STATUS_READY: _ClassVar[LabelStatus]
    LABEL_STATUS_UNKNOWN: _ClassVar[LabelStatus]
    LABEL_STATUS_VOIDING: _ClassVar[LabelStatus]
    LABEL_STATUS_VOIDED: _ClassVar[LabelStatus]

class LabelFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_FORMAT_UNSPECIFIED: _ClassVar[LabelFormat]
    LABEL_FORMAT_PDF: _ClassVar[LabelFormat]
SHIPMENT_STATUS_UNSPECIFIED: ShipmentStatus
SHIPMENT_STATUS_QUEUED: ShipmentStatus
SHIPMENT_STATUS_BACKORDERED: ShipmentStatus
SHIPMENT_STATUS_ALLOCATED: ShipmentStatus
SHIPMENT_STATUS_LABEL_READY: ShipmentStatus
SHIPMENT_STATUS_SHIPPED: ShipmentStatus
SHIPMENT_STATUS_DELIVERED: ShipmentStatus
SHIPMENT_STATUS_CANCELED: ShipmentStatus
SHIPMENT_STATUS_FAILED: ShipmentStatus
LABEL_STATUS_UNSPECIFIED: LabelStatus
LABEL_STATUS_NONE: LabelStatus
LABEL_STATUS_PURCHASING: LabelStatus
LABEL_STATUS_READY: LabelStatus
LABEL_STATUS_UNKNOWN: LabelStatus
LABEL_STATUS_VOIDING: LabelStatus
LABEL_STATUS_VOIDED: LabelStatus
LABEL_FORMAT_UNSPECIFIED: LabelFormat
LABEL_FORMAT_PDF: LabelFormat

class Address(_message.Message):
    __slots__ = ("name", "line1", "line2", "city", "state", "postal", "country", "coordinates")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LINE1_FIELD_NUMBER: _ClassVar[int]
    LINE2_FIELD_NUMBER: _ClassVar[int]
    CITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POSTAL_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    COORDINATES_FIELD_NUMBER: _ClassVar[int]
    name: str
    line1: str
    line2: str
    city: str
    state: str
    postal: str
    country: str
    coordinates: _common_pb2.Coordinates
    def __init__(self, name: _Optional[str] = ..., line1: _Optional[str] = ..., line2: _Optional[str] = ..., city: _Optional[str] = ..., state: _Optional[str] = ..., postal: _Optional[str] = ..., country: _Optional[str] = ..., coordinates: _Optional[_Union[_common_pb2.Coordinates, _Mapping]] = ...) -> None: ...

class Parcel(_message.Message):
    __slots__ = ("warehouse", "tracking_number", "label_status")
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    TRACKING_NUMBER_FIELD_NUMBER: _ClassVar[int]
    LABEL_STATUS_FIELD_NUMBER: _ClassVar[int]
    warehouse: str
    tracking_number: str
    label_status: LabelStatus
    def __init__(self, warehouse: _Optional[str] = ..., tracking_number: _Optional[str] = ..., label_status: _Optional[_Union[LabelStatus, str]] = ...) -> None: ...

class ShipmentError(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Shipment(_message.Message):
    __slots__ = ("id", "status", "label_url", "order_id", "ship_to", "line_items", "carrier_hint", "carrier", "service", "allocations", "parcels", "error", "created_at", "updated_at", "version")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LABEL_URL_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SHIP_TO_FIELD_NUMBER: _ClassVar[int]
    LINE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    CARRIER_HINT_FIELD_NUMBER: _ClassVar[int]
    CARRIER_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ALLOCATIONS_FIELD_NUMBER: _ClassVar[int]
    PARCELS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: ShipmentStatus
    label_url: str
    order_id: str
    ship_to: Address
    line_items: _containers.RepeatedCompositeFieldContainer[_inventory_pb2.StockLine]
    carrier_hint: str
    carrier: str
    service: str
    allocations: _containers.RepeatedCompositeFieldContainer[_inventory_pb2.HeldLine]
    parcels: _containers.RepeatedCompositeFieldContainer[Parcel]
    error: ShipmentError
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    version: int
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[ShipmentStatus, str]] = ..., label_url: _Optional[str] = ..., order_id: _Optional[str] = ..., ship_to: _Optional[_Union[Address, _Mapping]] = ..., line_items: _Optional[_Iterable[_Union[_inventory_pb2.StockLine, _Mapping]]] = ..., carrier_hint: _Optional[str] = ..., carrier: _Optional[str] = ..., service: _Optional[str] = ..., allocations: _Optional[_Iterable[_Union[_inventory_pb2.HeldLine, _Mapping]]] = ..., parcels: _Optional[_Iterable[_Union[Parcel, _Mapping]]] = ..., error: _Optional[_Union[ShipmentError, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class CreateShipmentsRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[CreateShipmentRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[CreateShipmentRequest, _Mapping]]] = ...) -> None: ...

class CreateShipmentsReply(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[CreateShipmentOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[CreateShipmentOutcome, _Mapping]]] = ...) -> None: ...

class CreateShipmentOutcome(_message.Message):
    __slots__ = ("created", "refusal")
    CREATED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    created: CreateShipmentReply
    refusal: _common_pb2.Fault
    def __init__(self, created: _Optional[_Union[CreateShipmentReply, _Mapping]] = ..., refusal: _Optional[_Union[_common_pb2.Fault, _Mapping]] = ...) -> None: ...

class CreateShipmentRequest(_message.Message):
    __slots__ = ("tenant_id", "idempotency", "order_id", "ship_to", "line_items", "carrier_hint", "allocation", "priority", "hold_expires_at", "cause")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SHIP_TO_FIELD_NUMBER: _ClassVar[int]
    LINE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    CARRIER_HINT_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    HOLD_EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: _common_pb2.IdempotencyKey
    order_id: str
    ship_to: Address
    line_items: _containers.RepeatedCompositeFieldContainer[_inventory_pb2.StockLine]
    carrier_hint: str
    allocation: _inventory_pb2.AllocationPolicy
    priority: int
    hold_expires_at: _timestamp_pb2.Timestamp
    cause: _inventory_pb2.Cause
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[_common_pb2.IdempotencyKey, _Mapping]] = ..., order_id: _Optional[str] = ..., ship_to: _Optional[_Union[Address, _Mapping]] = ..., line_items: _Optional[_Iterable[_Union[_inventory_pb2.StockLine, _Mapping]]] = ..., carrier_hint: _Optional[str] = ..., allocation: _Optional[_Union[_inventory_pb2.AllocationPolicy, str]] = ..., priority: _Optional[int] = ..., hold_expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cause: _Optional[_Union[_inventory_pb2.Cause, _Mapping]] = ...) -> None: ...

class CreateShipmentReply(_message.Message):
    __slots__ = ("shipment", "replayed")
    SHIPMENT_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    shipment: Shipment
    replayed: bool
    def __init__(self, shipment: _Optional[_Union[Shipment, _Mapping]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class CancelShipmentRequest(_message.Message):
    __slots__ = ("tenant_id", "idempotency", "id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: _common_pb2.IdempotencyKey
    id: str
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[_common_pb2.IdempotencyKey, _Mapping]] = ..., id: _Optional[str] = ...) -> None: ...

class DispatchShipmentRequest(_message.Message):
    __slots__ = ("tenant_id", "idempotency", "id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: _common_pb2.IdempotencyKey
    id: str
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[_common_pb2.IdempotencyKey, _Mapping]] = ..., id: _Optional[str] = ...) -> None: ...

class ShipmentReply(_message.Message):
    __slots__ = ("shipment", "replayed")
    SHIPMENT_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    shipment: Shipment
    replayed: bool
    def __init__(self, shipment: _Optional[_Union[Shipment, _Mapping]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class GetShipmentRequest(_message.Message):
    __slots__ = ("tenant_id", "id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    id: str
    def __init__(self, tenant_id: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class ShipmentTerms(_message.Message):
    __slots__ = ("allocation", "priority", "hold_expires_at")
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    HOLD_EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    allocation: _inventory_pb2.AllocationPolicy
    priority: int
    hold_expires_at: _timestamp_pb2.Timestamp
    def __init__(self, allocation: _Optional[_Union[_inventory_pb2.AllocationPolicy, str]] = ..., priority: _Optional[int] = ..., hold_expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListShipmentsRequest(_message.Message):
    __slots__ = ("tenant_id", "order_id", "status", "limit", "after_id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    order_id: str
    status: ShipmentStatus
    limit: int
    after_id: str
    def __init__(self, tenant_id: _Optional[str] = ..., order_id: _Optional[str] = ..., status: _Optional[_Union[ShipmentStatus, str]] = ..., limit: _Optional[int] = ..., after_id: _Optional[str] = ...) -> None: ...

class ListShipmentsReply(_message.Message):
    __slots__ = ("shipments", "has_more")
    SHIPMENTS_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    shipments: _containers.RepeatedCompositeFieldContainer[Shipment]
    has_more: bool
    def __init__(self, shipments: _Optional[_Iterable[_Union[Shipment, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class GetLabelRequest(_message.Message):
    __slots__ = ("tenant_id", "shipment_id", "token", "format")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    SHIPMENT_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    shipment_id: str
    token: str
    format: LabelFormat
    def __init__(self, tenant_id: _Optional[str] = ..., shipment_id: _Optional[str] = ..., token: _Optional[str] = ..., format: _Optional[_Union[LabelFormat, str]] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("content_type", "content", "sha256")
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    content_type: str
    content: bytes
    sha256: str
    def __init__(self, content_type: _Optional[str] = ..., content: _Optional[bytes] = ..., sha256: _Optional[str] = ...) -> None: ...
