import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from skutrail.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_RECEIPT: _ClassVar[Reason]
    REASON_PICK: _ClassVar[Reason]
    REASON_ADJUSTMENT: _ClassVar[Reason]
    REASON_TRANSFER: _ClassVar[Reason]

class AllocationStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALLOCATION_STATUS_UNSPECIFIED: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_WAITING: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_HELD: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_RELEASED: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_CONSUMED: _ClassVar[AllocationStatus]
REASON_UNSPECIFIED: Reason
REASON_RECEIPT: Reason
REASON_PICK: Reason
REASON_ADJUSTMENT: Reason
REASON_TRANSFER: Reason
ALLOCATION_STATUS_UNSPECIFIED: AllocationStatus
ALLOCATION_STATUS_WAITING: AllocationStatus
ALLOCATION_STATUS_HELD: AllocationStatus
ALLOCATION_STATUS_RELEASED: AllocationStatus
ALLOCATION_STATUS_CONSUMED: AllocationStatus

class Movement(_message.Message):
    __slots__ = ("tenant_id", "idempotency", "sku", "warehouse", "qty", "reason", "reference", "expected_balance", "expected_seq", "cause")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    QTY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_BALANCE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: _common_pb2.IdempotencyKey
    sku: str
    warehouse: str
    qty: int
    reason: Reason
    reference: str
    expected_balance: int
    expected_seq: int
    cause: Cause
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[_common_pb2.IdempotencyKey, _Mapping]] = ..., sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., qty: _Optional[int] = ..., reason: _Optional[_Union[Reason, str]] = ..., reference: _Optional[str] = ..., expected_balance: _Optional[int] = ..., expected_seq: _Optional[int] = ..., cause: _Optional[_Union[Cause, _Mapping]] = ...) -> None: ...

class Cause(_message.Message):
    __slots__ = ("request_id", "traceparent")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    traceparent: str
    def __init__(self, request_id: _Optional[str] = ..., traceparent: _Optional[str] = ...) -> None: ...

class RecordMovementsRequest(_message.Message):
    __slots__ = ("movements",)
    MOVEMENTS_FIELD_NUMBER: _ClassVar[int]
    movements: _containers.RepeatedCompositeFieldContainer[Movement]
    def __init__(self, movements: _Optional[_Iterable[_Union[Movement, _Mapping]]] = ...) -> None: ...

class RecordMovementsReply(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[MovementOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[MovementOutcome, _Mapping]]] = ...) -> None: ...

class MovementOutcome(_message.Message):
    __slots__ = ("entry", "refusal", "replayed")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    entry: LedgerEntry
    refusal: _common_pb2.Fault
    replayed: bool
    def __init__(self, entry: _Optional[_Union[LedgerEntry, _Mapping]] = ..., refusal: _Optional[_Union[_common_pb2.Fault, _Mapping]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class RecordBatchRequest(_message.Message):
    __slots__ = ("tenant_id", "idempotency", "atomic", "movements")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    ATOMIC_FIELD_NUMBER: _ClassVar[int]
    MOVEMENTS_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: _common_pb2.IdempotencyKey
    atomic: bool
    movements: _containers.RepeatedCompositeFieldContainer[Movement]
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[_common_pb2.IdempotencyKey, _Mapping]] = ..., atomic: _Optional[bool] = ..., movements: _Optional[_Iterable[_Union[Movement, _Mapping]]] = ...) -> None: ...

class RecordBatchReply(_message.Message):
    __slots__ = ("outcomes", "replayed")
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[MovementOutcome]
    replayed: bool
    def __init__(self, outcomes: _Optional[_Iterable[_Union[MovementOutcome, _Mapping]]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class RecordTransferRequest(_message.Message):
    __slots__ = ("tenant_id", "idempotency", "sku", "from_warehouse", "to_warehouse", "qty", "reference")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    FROM_WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    TO_WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    QTY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: _common_pb2.IdempotencyKey
    sku: str
    from_warehouse: str
    to_warehouse: str
    qty: int
    reference: str
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[_common_pb2.IdempotencyKey, _Mapping]] = ..., sku: _Optional[str] = ..., from_warehouse: _Optional[str] = ..., to_warehouse: _Optional[str] = ..., qty: _Optional[int] = ..., reference: _Optional[str] = ...) -> None: ...

class RecordTransferReply(_message.Message):
    __slots__ = ("id", "entries", "replayed")
    ID_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    id: str
    entries: _containers.RepeatedCompositeFieldContainer[LedgerEntry]
    replayed: bool
    def __init__(self, id: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[LedgerEntry, _Mapping]]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("id", "sku", "warehouse", "qty", "balance", "seq", "reason", "reference", "created_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    QTY_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    sku: str
    warehouse: str
    qty: int
    balance: int
    seq: int
    reason: Reason
    reference: str
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., qty: _Optional[int] = ..., balance: _Optional[int] = ..., seq: _Optional[int] = ..., reason: _Optional[_Union[Reason, str]] = ..., reference: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetBalanceRequest(_message.Message):
    __slots__ = ("tenant_id", "sku", "warehouse", "as_of")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    sku: str
    warehouse: str
    as_of: _timestamp_pb2.Timestamp
    def __init__(self, tenant_id: _Optional[str] = ..., sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetBalancesRequest(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[BalanceKey]
    def __init__(self, keys: _Optional[_Iterable[_Union[BalanceKey, _Mapping]]] = ...) -> None: ...

class BalanceKey(_message.Message):
    __slots__ = ("tenant_id", "sku", "warehouse")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    sku: str
    warehouse: str
    def __init__(self, tenant_id: _Optional[str] = ..., sku: _Optional[str] = ..., warehouse: _Optional[str] = ...) -> None: ...

class GetBalancesReply(_message.Message):
    __slots__ = ("balances",)
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    balances: _containers.RepeatedCompositeFieldContainer[Balance]
    def __init__(self, balances: _Optional[_Iterable[_Union[Balance, _Mapping]]] = ...) -> None: ...

class VerifyChainRequest(_message.Message):
    __slots__ = ("tenant_id", "sku", "warehouse", "after_seq", "after_hash")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    AFTER_HASH_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    sku: str
    warehouse: str
    after_seq: int
    after_hash: bytes
    def __init__(self, tenant_id: _Optional[str] = ..., sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., after_seq: _Optional[int] = ..., after_hash: _Optional[bytes] = ...) -> None: ...

class VerifyChainReply(_message.Message):
    __slots__ = ("seq", "hash", "first_broken_seq", "is_end")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    FIRST_BROKEN_SEQ_FIELD_NUMBER: _ClassVar[int]
    IS_END_FIELD_NUMBER: _ClassVar[int]
    seq: int
    hash: bytes
    first_broken_seq: int
    is_end: bool
    def __init__(self, seq: _Optional[int] = ..., hash: _Optional[bytes] = ..., first_broken_seq: _Optional[int] = ..., is_end: _Optional[bool] = ...) -> None: ...

class GetEntryRequest(_message.Message):
    __slots__ = ("tenant_id", "id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    id: str
    def __init__(self, tenant_id: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class ListEntriesRequest(_message.Message):
    __slots__ = ("tenant_id", "sku", "warehouse", "reason", "reference", "created_after", "created_before", "limit", "after_id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AFTER_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    sku: str
    warehouse: str
    reason: Reason
    reference: str
    created_after: _timestamp_pb2.Timestamp
    created_before: _timestamp_pb2.Timestamp
    limit: int
    after_id: str
    def __init__(self, tenant_id: _Optional[str] = ..., sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., reason: _Optional[_Union[Reason, str]] = ..., reference: _Optional[str] = ..., created_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., limit: _Optional[int] = ..., after_id: _Optional[str] = ...) -> None: ...

class ListEntriesReply(_message.Message):
    __slots__ = ("entries", "has_more")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LedgerEntry]
    has_more: bool
    def __init__(self, entries: _Optional[_Iterable[_Union[LedgerEntry, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class ListLevelsRequest(_message.Message):
    __slots__ = ("tenant_id", "sku", "warehouse", "limit", "after_sku", "after_warehouse")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_SKU_FIELD_NUMBER: _ClassVar[int]
    AFTER_WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    sku: str
    warehouse: str
    limit: int
    after_sku: str
    after_warehouse: str
    def __init__(self, tenant_id: _Optional[str] = ..., sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., limit: _Optional[int] = ..., after_sku: _Optional[str] = ..., after_warehouse: _Optional[str] = ...) -> None: ...

class ListLevelsReply(_message.Message):
    __slots__ = ("levels", "has_more")
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    levels: _containers.RepeatedCompositeFieldContainer[Level]
    has_more: bool
    def __init__(self, levels: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class Level(_message.Message):
    __slots__ = ("sku", "warehouse", "on_hand", "held", "available", "waiting")
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    ON_HAND_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    sku: str
    warehouse: str
    on_hand: int
    held: int
    available: int
    waiting: int
    def __init__(self, sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., on_hand: _Optional[int] = ..., held: _Optional[int] = ..., available: _Optional[int] = ..., waiting: _Optional[int] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("sku", "warehouse", "balance", "as_of")
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    sku: str
    warehouse: str
    balance: int
    as_of: _timestamp_pb2.Timestamp
    def __init__(self, sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., balance: _Optional[int] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReserveKeyRequest(_message.Message):
    __slots__ = ("tenant_id", "idempotency")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: _common_pb2.IdempotencyKey
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[_common_pb2.IdempotencyKey, _Mapping]] = ...) -> None: ...

class ReserveKeyReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FreeKeyRequest(_message.Message):
    __slots__ = ("tenant_id", "idempotency")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: _common_pb2.IdempotencyKey
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[_common_pb2.IdempotencyKey, _Mapping]] = ...) -> None: ...

class FreeKeyReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StockLine(_message.Message):
    __slots__ = ("sku", "qty")
    SKU_FIELD_NUMBER: _ClassVar[int]
    QTY_FIELD_NUMBER: _ClassVar[int]
    sku: str
    qty: int
    def __init__(self, sku: _Optional[str] = ..., qty: _Optional[int] = ...) -> None: ...

class AllocateRequest(_message.Message):
    __slots__ = ("tenant_id", "request_id", "lines")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    request_id: str
    lines: _containers.RepeatedCompositeFieldContainer[StockLine]
    def __init__(self, tenant_id: _Optional[str] = ..., request_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[StockLine, _Mapping]]] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("tenant_id", "request_id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    request_id: str
    def __init__(self, tenant_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class HeldLine(_message.Message):
    __slots__ = ("sku", "warehouse", "qty")
    SKU_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    QTY_FIELD_NUMBER: _ClassVar[int]
    sku: str
    warehouse: str
    qty: int
    def __init__(self, sku: _Optional[str] = ..., warehouse: _Optional[str] = ..., qty: _Optional[int] = ...) -> None: ...

class Allocation(_message.Message):
    __slots__ = ("request_id", "status", "version", "held")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    status: AllocationStatus
    version: int
    held: _containers.RepeatedCompositeFieldContainer[HeldLine]
    def __init__(self, request_id: _Optional[str] = ..., status: _Optional[_Union[AllocationStatus, str]] = ..., version: _Optional[int] = ..., held: _Optional[_Iterable[_Union[HeldLine, _Mapping]]] = ...) -> None: ...
