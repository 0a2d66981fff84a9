from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IdempotencyKey(_message.Message):
    __slots__ = ("key", "fingerprint")
    KEY_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    key: str
    fingerprint: bytes
    def __init__(self, key: _Optional[str] = ..., fingerprint: _Optional[bytes] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("code", "detail", "facts", "fields", "request_id")
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    code: str
    detail: str
    facts: _containers.ScalarMap[str, str]
    fields: _containers.RepeatedCompositeFieldContainer[FieldFault]
    request_id: str
    def __init__(self, code: _Optional[str] = ..., detail: _Optional[str] = ..., facts: _Optional[_Mapping[str, str]] = ..., fields: _Optional[_Iterable[_Union[FieldFault, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class FieldFault(_message.Message):
    __slots__ = ("pointer", "code", "detail")
    POINTER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    pointer: str
    code: str
    detail: str
    def __init__(self, pointer: _Optional[str] = ..., code: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class LookUpAnswerRequest(_message.Message):
    __slots__ = ("tenant_id", "idempotency")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    idempotency: IdempotencyKey
    def __init__(self, tenant_id: _Optional[str] = ..., idempotency: _Optional[_Union[IdempotencyKey, _Mapping]] = ...) -> None: ...

class LookUpAnswerReply(_message.Message):
    __slots__ = ("found", "reply", "fault")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    found: bool
    reply: bytes
    fault: Fault
    def __init__(self, found: _Optional[bool] = ..., reply: _Optional[bytes] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class Coordinates(_message.Message):
    __slots__ = ("latitude", "longitude")
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    latitude: float
    longitude: float
    def __init__(self, latitude: _Optional[float] = ..., longitude: _Optional[float] = ...) -> None: ...
