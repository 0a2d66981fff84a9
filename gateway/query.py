"""Parameters of query and path: every one known, well spelled and sent once, or `invalid_parameter`."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote

from pydantic import ValidationError

from chassis.errors import Fault, FieldFault
from gateway.validation import Request, faults_of

PARAMETERS_MAX = 32


def read(model: type[Request], raw: str) -> Request:
    """`raw` is what follows the `?`, still percent-encoded. Each fault names its parameter."""
    if not raw:
        nothing: Request = _of_nothing(model)
        return nothing
    pairs = _pairs(raw)
    repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if repeated:
        _refuse([FieldFault(name, "repeated", "Must be sent once.") for name in repeated])
    return _validate(model, dict(pairs))


def read_path(model: type[Request], **parts: str) -> Request:
    """`parts` of a path by the names of their parameters, still percent-encoded: a `%2F` is a slash in a name."""
    return _validate(model, {name: _decoded(name, part) for name, part in parts.items()})


def _decoded(name: str, part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        _refuse([FieldFault(name, "bad_characters", "Must be UTF-8, percent-encoded.")])


@lru_cache(maxsize=256)
def _of_nothing(model: type[Any]) -> Any:
    return _validate(model, {})


def _validate(model: type[Request], parameters: dict[str, str]) -> Request:
    try:
        return model.model_validate(parameters)
    except ValidationError as error:
        _refuse([_as_parameter(fault) for fault in faults_of(error)])


def _pairs(raw: str) -> list[tuple[str, str]]:
    if not raw:
        return []
    try:
        return parse_qsl(
            raw, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=PARAMETERS_MAX
        )
    except ValueError:  # a parameter without `=`, too many of them, or escapes that are not UTF-8
        raise Fault("invalid_parameter", "The query string cannot be read.") from None


def _as_parameter(fault: FieldFault) -> FieldFault:
    code = "unknown_parameter" if fault.code == "unknown_field" else fault.code
    detail = "There is no such parameter here." if code == "unknown_parameter" else fault.detail
    return FieldFault(fault.pointer.removeprefix("/"), code, detail)


def _refuse(faults: list[FieldFault]) -> NoReturn:
    raise Fault("invalid_parameter", f"Not valid: {', '.join(fault.pointer for fault in faults)}.", fields=faults)
