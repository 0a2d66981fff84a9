"""From a parsed value to a typed request, or to every fault of it at once, each with its JSON pointer.

Which fields there are and what they may hold is in requests.py and fields.py; here is how pydantic's findings are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails

from chassis.errors import FIELD_FAULTS_MAX, Fault, FieldFault

POINTER_MAX = 200  # a pointer may quote a member's name, which may be as long as the body


class Strict(BaseModel):
    """What every request is: closed, immutable, and converting nothing (`"5"`, `5.0` and `true` are not 5)."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _forget_most_unknown_members(cls, value: Any) -> Any:
        # A mebibyte holds 100,000 unknown members. Naming more of them than are told would only cost time.
        if not isinstance(value, dict) or len(value) <= FIELD_FAULTS_MAX:
            return value
        unknown = islice((name for name in value if name not in cls.model_fields), FIELD_FAULTS_MAX + 1)
        return {name: value[name] for name in (*cls.model_fields, *unknown) if name in value}


class Told:
    """Stands in an Annotated beside a rule of ours, and tells it to the JSON schema. It checks nothing by itself."""

    def __init__(self, keywords: JsonSchemaValue | None = None, **more: Any) -> None:
        self._keywords = {**(keywords or {}), **more}

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), **self._keywords}


Request = TypeVar("Request", bound=Strict)


def read(model: type[Request], value: Any) -> Request:
    """Raises Fault `validation_failed` naming every fault, at most 50."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = faults_of(error)
        raise Fault("validation_failed", _summary(len(faults)), fields=faults) from None


def faults_of(error: ValidationError) -> list[FieldFault]:
    return [_fault(finding) for finding in error.errors(include_url=False, include_input=False)]


def _summary(count: int) -> str:
    if count == 1:
        return "One field is not valid."
    if count <= FIELD_FAULTS_MAX:
        return f"{count} fields are not valid."
    return f"More than {FIELD_FAULTS_MAX} fields are not valid; the first {FIELD_FAULTS_MAX} are listed."


def _fault(finding: ErrorDetails) -> FieldFault:
    pointer = _pointer(finding["loc"])
    if finding["type"] not in _FINDINGS:  # a rule of ours: its type is the code, its message the sentence
        return FieldFault(pointer, finding["type"], finding["msg"])
    code, sentence = _FINDINGS[finding["type"]]
    return FieldFault(pointer, code, sentence.format_map(finding.get("ctx", {})))


def _pointer(path: tuple[int | str, ...]) -> str:
    """A JSON pointer (RFC 6901) to the member; the empty pointer is the whole body."""
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return pointer if len(pointer) <= POINTER_MAX else pointer[:POINTER_MAX] + "…"


_FINDINGS: Mapping[str, tuple[str, str]] = {
    "missing": ("required", "This is required."),
    "extra_forbidden": ("unknown_field", "There is no such field here."),
    "int_type": ("wrong_type", "Must be a whole number."),
    "float_type": ("wrong_type", "Must be a number."),
    "finite_number": ("out_of_range", "Must be a finite number."),
    "bool_type": ("wrong_type", "Must be true or false."),
    "string_type": ("wrong_type", "Must be a string."),
    "string_unicode": ("bad_characters", "Must be UTF-8."),
    "list_type": ("wrong_type", "Must be a list."),
    "model_type": ("wrong_type", "Must be an object."),
    "literal_error": ("unknown_value", "Must be {expected}."),
    "greater_than_equal": ("out_of_range", "Must be at least {ge}."),
    "less_than_equal": ("out_of_range", "Must be at most {le}."),
    "string_too_short": ("wrong_length", "Must have at least {min_length} character(s)."),
    "string_too_long": ("wrong_length", "Must have at most {max_length} characters."),
    "too_short": ("wrong_length", "Must have at least {min_length} item(s)."),
    "too_long": ("wrong_length", "Must have at most {max_length} items."),
}
