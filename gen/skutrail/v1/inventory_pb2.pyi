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

class AllocationPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALLOCATION_POLICY_UNSPECIFIED: _ClassVar[AllocationPolicy]
    ALLOCATION_POLICY_ALL_OR_NONE: _ClassVar[AllocationPolicy]
    ALLOCATION_POLICY_PARTIAL: _ClassVar[AllocationPolicy]

class SourcingRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCING_RULE_UNSPECIFIED: _ClassVar[SourcingRule]
    SOURCING_RULE_ONLY_CHOICE: _ClassVar[SourcingRule]
    SOURCING_RULE_FEWEST_WAREHOUSES: _ClassVar[SourcingRule]
    SOURCING_RULE_PRIORITY: _ClassVar[SourcingRule]
    SOURCING_RULE_NEARNESS: _ClassVar[SourcingRule]
    SOURCING_RULE_MOST_STOCK: _ClassVar[SourcingRule]
    SOURCING_RULE_NAME: _ClassVar[SourcingRule]
    SOURCING_RULE_INACTIVE: _ClassVar[SourcingRule]
    SOURCING_RULE_NO_STOCK: _ClassVar[SourcingRule]
    SOURCING_RULE_SHORT: _ClassVar[SourcingRule]

class AllocationStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALLOCATION_STATUS_UNSPECIFIED: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_WAITING: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_HELD: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_RELEASED: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_CONSUMED: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_DISPATCHED: _ClassVar[AllocationStatus]
    ALLOCATION_STATUS_EXPIRED: _ClassVar[AllocationStatus]
REASON_UNSPECIFIED: Reason
REASON_RECEIPT: Reason
REASON_PICK: Reason
REASON_ADJUSTMENT: Reason
REASON_TRANSFER: Reason
ALLOCATION_POLICY_UNSPECIFIED: AllocationPolicy
ALLOCATION_POLICY_ALL_OR_NONE: AllocationPolicy
ALLOCATION_POLICY_PARTIAL: AllocationPolicy
SOURCING_RULE_UNSPECIFIED: SourcingRule
SOURCING_RULE_ONLY_CHOICE: SourcingRule
SOURCING_RULE_FEWEST_WAREHOUSES: SourcingRule
SOURCING_RULE_PRIORITY: SourcingRule
SOURCING_RULE_NEARNESS: SourcingRule
SOURCING_RULE_MOST_STOCK: SourcingRule
SOURCING_RULE_NAME: SourcingRule
SOURCING_RULE_INACTIVE: SourcingRule
SOURCING_RULE_NO_STOCK: SourcingRule
SOURCING_RULE_SHORT: SourcingRule
ALLOCATION_STATUS_UNSPECIFIED: AllocationStatus
ALLOCATION_STATUS_WAITING: AllocationStatus
ALLOCATION_STATUS_HELD: AllocationStatus
ALLOCATION_STATUS_RELEASED: AllocationStatus
ALLOCATION_STATUS_CONSUMED: AllocationStatus
ALLOCATION_STATUS_DISPATCHED: AllocationStatus
ALLOCATION_STATUS_EXPIRED: AllocationStatus

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

class ReserveKeysRequest(_message.Message):
    __slots__ = ("reservations",)
    RESERVATIONS_FIELD_NUMBER: _ClassVar[int]
    reservations: _containers.RepeatedCompositeFieldContainer[KeyReservation]
    def __init__(self, reservations: _Optional[_Iterable[_Union[KeyReservation, _Mapping]]] = ...) -> None: ...

class KeyReservation(_message.Message):
    __slots__ = ("tenant_id", "idempotency")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: _common_pb2.IdempotencyKey
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[_common_pb2.IdempotencyKey, _Mapping]] = ...) -> None: ...

class ReserveKeysReply(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[ReserveKeyOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[ReserveKeyOutcome, _Mapping]]] = ...) -> None: ...

class ReserveKeyOutcome(_message.Message):
    __slots__ = ("refusal",)
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    refusal: _common_pb2.Fault
    def __init__(self, refusal: _Optional[_Union[_common_pb2.Fault, _Mapping]] = ...) -> None: ...

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

class StockRequest(_message.Message):
    __slots__ = ("tenant_id", "request_id", "lines", "policy", "priority", "expires_at", "destination")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    request_id: str
    lines: _containers.RepeatedCompositeFieldContainer[StockLine]
    policy: AllocationPolicy
    priority: int
    expires_at: _timestamp_pb2.Timestamp
    destination: _common_pb2.Coordinates
    def __init__(self, tenant_id: _Optional[str] = ..., request_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[StockLine, _Mapping]]] = ..., policy: _Optional[_Union[AllocationPolicy, str]] = ..., priority: _Optional[int] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., destination: _Optional[_Union[_common_pb2.Coordinates, _Mapping]] = ...) -> None: ...

class AllocateRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[StockRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[StockRequest, _Mapping]]] = ...) -> None: ...

class AllocateReply(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[AllocationOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[AllocationOutcome, _Mapping]]] = ...) -> None: ...

class AllocationOutcome(_message.Message):
    __slots__ = ("allocation", "refusal")
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    allocation: Allocation
    refusal: _common_pb2.Fault
    def __init__(self, allocation: _Optional[_Union[Allocation, _Mapping]] = ..., refusal: _Optional[_Union[_common_pb2.Fault, _Mapping]] = ...) -> None: ...

class ExplainAllocationRequest(_message.Message):
    __slots__ = ("tenant_id", "request_id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    request_id: str
    def __init__(self, tenant_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class AllocationPlan(_message.Message):
    __slots__ = ("status", "held", "missing", "candidates", "decided_at")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    status: AllocationStatus
    held: _containers.RepeatedCompositeFieldContainer[HeldLine]
    missing: _containers.RepeatedCompositeFieldContainer[StockLine]
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    decided_at: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[_Union[AllocationStatus, str]] = ..., held: _Optional[_Iterable[_Union[HeldLine, _Mapping]]] = ..., missing: _Optional[_Iterable[_Union[StockLine, _Mapping]]] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("warehouse", "chosen", "rule", "priority", "distance_km", "stock")
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_KM_FIELD_NUMBER: _ClassVar[int]
    STOCK_FIELD_NUMBER: _ClassVar[int]
    warehouse: str
    chosen: bool
    rule: SourcingRule
    priority: int
    distance_km: float
    stock: _containers.RepeatedCompositeFieldContainer[CandidateStock]
    def __init__(self, warehouse: _Optional[str] = ..., chosen: _Optional[bool] = ..., rule: _Optional[_Union[SourcingRule, str]] = ..., priority: _Optional[int] = ..., distance_km: _Optional[float] = ..., stock: _Optional[_Iterable[_Union[CandidateStock, _Mapping]]] = ...) -> None: ...

class CandidateStock(_message.Message):
    __slots__ = ("sku", "available", "taken")
    SKU_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    sku: str
    available: int
    taken: int
    def __init__(self, sku: _Optional[str] = ..., available: _Optional[int] = ..., taken: _Optional[int] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("tenant_id", "request_id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    request_id: str
    def __init__(self, tenant_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DispatchRequest(_message.Message):
    __slots__ = ("tenant_id", "request_id", "version")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    request_id: str
    version: int
    def __init__(self, tenant_id: _Optional[str] = ..., request_id: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

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

class PostalAddress(_message.Message):
    __slots__ = ("line1", "line2", "city", "state", "postal", "country")
    LINE1_FIELD_NUMBER: _ClassVar[int]
    LINE2_FIELD_NUMBER: _ClassVar[int]
    CITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POSTAL_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    line1: str
    line2: str
    city: str
    state: str
    postal: str
    country: str
    def __init__(self, line1: _Optional[str] = ..., line2: _Optional[str] = ..., city: _Optional[str] = ..., state: _Optional[str] = ..., postal: _Optional[str] = ..., country: _Optional[str] = ...) -> None: ...

class Warehouse(_message.Message):
    __slots__ = ("code", "name", "address", "coordinates", "priority", "active", "created_at", "updated_at")
    CODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    COORDINATES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    code: str
    name: str
    address: PostalAddress
    coordinates: _common_pb2.Coordinates
    priority: int
    active: bool
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, code: _Optional[str] = ..., name: _Optional[str] = ..., address: _Optional[_Union[PostalAddress, _Mapping]] = ..., coordinates: _Optional[_Union[_common_pb2.Coordinates, _Mapping]] = ..., priority: _Optional[int] = ..., active: _Optional[bool] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PutWarehouseRequest(_message.Message):
    __slots__ = ("tenant_id", "warehouse")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    warehouse: Warehouse
    def __init__(self, tenant_id: _Optional[str] = ..., warehouse: _Optional[_Union[Warehouse, _Mapping]] = ...) -> None: ...

class GetWarehouseRequest(_message.Message):
    __slots__ = ("tenant_id", "code")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    code: str
    def __init__(self, tenant_id: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class ListWarehousesRequest(_message.Message):
    __slots__ = ("tenant_id", "limit", "after_code")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_CODE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    limit: int
    after_code: str
    def __init__(self, tenant_id: _Optional[str] = ..., limit: _Optional[int] = ..., after_code: _Optional[str] = ...) -> None: ...

class ListWarehousesReply(_message.Message):
    __slots__ = ("warehouses", "has_more")
    WAREHOUSES_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    warehouses: _containers.RepeatedCompositeFieldContainer[Warehouse]
    has_more: bool
    def __init__(self, warehouses: _Optional[_Iterable[_Union[Warehouse, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...
