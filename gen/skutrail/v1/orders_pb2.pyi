from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_STATUS_UNSPECIFIED: _ClassVar[OrderStatus]
    ORDER_STATUS_QUEUED: _ClassVar[OrderStatus]
    ORDER_STATUS_BACKORDERED: _ClassVar[OrderStatus]
    ORDER_STATUS_PARTIALLY_ALLOCATED: _ClassVar[OrderStatus]
    ORDER_STATUS_ALLOCATED: _ClassVar[OrderStatus]
    ORDER_STATUS_PARTIALLY_SHIPPED: _ClassVar[OrderStatus]
    ORDER_STATUS_SHIPPED: _ClassVar[OrderStatus]
    ORDER_STATUS_DELIVERED: _ClassVar[OrderStatus]
    ORDER_STATUS_CANCELED: _ClassVar[OrderStatus]
    ORDER_STATUS_FAILED: _ClassVar[OrderStatus]
ORDER_STATUS_UNSPECIFIED: OrderStatus
ORDER_STATUS_QUEUED: OrderStatus
ORDER_STATUS_BACKORDERED: OrderStatus
ORDER_STATUS_PARTIALLY_ALLOCATED: OrderStatus
ORDER_STATUS_ALLOCATED: OrderStatus
ORDER_STATUS_PARTIALLY_SHIPPED: OrderStatus
ORDER_STATUS_SHIPPED: OrderStatus
ORDER_STATUS_DELIVERED: OrderStatus
ORDER_STATUS_CANCELED: OrderStatus
ORDER_STATUS_FAILED: OrderStatus

class GetOrderRequest(_message.Message):
    __slots__ = ("tenant_id", "id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    id: str
    def __init__(self, tenant_id: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class GetOrderLinesRequest(_message.Message):
    __slots__ = ("tenant_id", "id", "limit", "after_sku")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_SKU_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    id: str
    limit: int
    after_sku: str
    def __init__(self, tenant_id: _Optional[str] = ..., id: _Optional[str] = ..., limit: _Optional[int] = ..., after_sku: _Optional[str] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("tenant_id", "status", "limit", "after_id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    status: OrderStatus
    limit: int
    after_id: str
    def __init__(self, tenant_id: _Optional[str] = ..., status: _Optional[_Union[OrderStatus, str]] = ..., limit: _Optional[int] = ..., after_id: _Optional[str] = ...) -> None: ...

class ListOrdersReply(_message.Message):
    __slots__ = ("orders", "has_more")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    has_more: bool
    def __init__(self, orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class OrderAllocation(_message.Message):
    __slots__ = ("warehouse", "qty", "shipment_id")
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    QTY_FIELD_NUMBER: _ClassVar[int]
    SHIPMENT_ID_FIELD_NUMBER: _ClassVar[int]
    warehouse: str
    qty: int
    shipment_id: str
    def __init__(self, warehouse: _Optional[str] = ..., qty: _Optional[int] = ..., shipment_id: _Optional[str] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("id", "status", "allocations")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ALLOCATIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: OrderStatus
    allocations: _containers.RepeatedCompositeFieldContainer[OrderAllocation]
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[OrderStatus, str]] = ..., allocations: _Optional[_Iterable[_Union[OrderAllocation, _Mapping]]] = ...) -> None: ...

class OrderLines(_message.Message):
    __slots__ = ("lines", "has_more")
    LINES_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[OrderLine]
    has_more: bool
    def __init__(self, lines: _Optional[_Iterable[_Union[OrderLine, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class OrderLine(_message.Message):
    __slots__ = ("sku", "ordered", "waiting", "allocated", "shipped", "canceled")
    SKU_FIELD_NUMBER: _ClassVar[int]
    ORDERED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    SHIPPED_FIELD_NUMBER: _ClassVar[int]
    CANCELED_FIELD_NUMBER: _ClassVar[int]
    sku: str
    ordered: int
    waiting: int
    allocated: int
    shipped: int
    canceled: int
    def __init__(self, sku: _Optional[str] = ..., ordered: _Optional[int] = ..., waiting: _Optional[int] = ..., allocated: _Optional[int] = ..., shipped: _Optional[int] = ..., canceled: _Optional[int] = ...) -> None: ...
