"""JSON schemas of what is sent and answered, out of the models and the contracts that the calls themselves use.

A body is what its pydantic model takes. An answer is what a gateway.shown.Shown makes of a message: in the order of the
contract where that names no other, every field present, an absent optional one null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from chassis.wire import enum_name
from gateway import openapi_words
from gateway.fields import PAGE_MAX
from gateway.shown import Shown
from gateway.validation import Strict

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/"
# A body and an answer may bear one name: Shipment is what is asked for, and what it becomes.
_BODY_SUFFIX = "Input"
_TIMESTAMP = "google.protobuf.Timestamp"
_SCALARS: Mapping[int, str] = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "boolean",
    FieldDescriptor.TYPE_INT32: "integer",
    FieldDescriptor.TYPE_INT64: "integer",
    FieldDescriptor.TYPE_SINT64: "integer",
    FieldDescriptor.TYPE_DOUBLE: "number",
}
# What validators of fields.py know of a parameter, and its type does not say.
_RULES: Mapping[str, Schema] = {"limit": {"minimum": 1}}


class Schemas:
    """Gathers the named schemas of a document. Each method but `fields` returns a reference to what it gathered."""

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}

    def add(self, name: str, schema: Schema) -> Schema:
        """Its fields get their words. Raises ValueError where the name already stands for something else."""
        fields = schema.get("properties", {})
        schema = {**schema, "properties": {field: _worded(name, field, told) for field, told in fields.items()}}
        if self.named.setdefault(name, schema) != schema:
            raise ValueError(f"two schemas are named {name}")
        return {"$ref": _REFERENCE + name}

    def body(self, model: type[Strict]) -> Schema:
        template = f"{_REFERENCE}{{model}}{_BODY_SUFFIX}"
        schema = model.model_json_schema(ref_template=template, schema_generator=_Plain)
        for name, inner in schema.pop("$defs", {}).items():
            self.add(name + _BODY_SUFFIX, inner)
        return self.add(model.__name__ + _BODY_SUFFIX, schema)

    def message(self, shown: Shown[Any]) -> Schema:
        return self._described(shown.of.DESCRIPTOR, shown.name, shown.only, shown.without)

    def fields(self, shown: Shown[Any]) -> dict[str, Schema]:
        """Those of a message that is not told by itself: its fields stand in another answer."""
        return self._fields(shown.of.DESCRIPTOR, shown.only, shown.without)

    def _described(self, message: Any, name: str = "", only: Sequence[str] = (), without: Sequence[str] = ()) -> Schema:
        return self.add(name or message.name, record(self._fields(message, only, without)))

    def _fields(self, message: Any, only: Sequence[str], without: Sequence[str]) -> dict[str, Schema]:
        fields = message.fields_by_name
        names = only or [field for field in fields if field not in without]
        return {field: self._field(fields[field]) for field in names}

    def _field(self, field: FieldDescriptor) -> Schema:
        if field.is_repeated:
            return {"type": "array", "items": self._value(field)}
        # Only what the contract calls `optional` is ever absent; other messages are always set.
        return nullable(self._value(field)) if field.containing_oneof is not None else self._value(field)

    def _value(self, field: FieldDescriptor) -> Schema:
        if field.enum_type is not None:
            return {"type": "string", "enum": _names(field.enum_type)}
        if field.message_type is None:
            return {"type": _SCALARS[field.type]}
        if field.message_type.full_name == _TIMESTAMP:
            return {"type": "string", "format": "date-time"}
        return self._described(field.message_type)


def record(fields: Mapping[str, Schema], *, may_lack: Sequence[str] = ()) -> Schema:
    """An object with these fields in this order, all of them there but those in `may_lack`."""
    required = [name for name in fields if name not in may_lack]
    return {"type": "object", "properties": dict(fields), "required": required}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def parameters(query: type[Strict]) -> list[Schema]:
    """The query parameters of a route. In a query nothing is null: what is not sent is absent."""
    told = query.model_json_schema(schema_generator=_Plain)
    required = told.get("required", ())
    return [
        _parameter(name, _sent(query, name, schema), is_required=name in required)
        for name, schema in told.get("properties", {}).items()
    ]


def _parameter(name: str, schema: Schema, *, is_required: bool) -> Schema:
    words = [openapi_words.PARAMETERS[name].format(page_max=PAGE_MAX), schema.pop("description", "")]
    told = {"description": " ".join(filter(None, words)), "schema": schema}
    return {"name": name, "in": "query", "required": is_required, **told}


def _worded(schema: str, field: str, told: Schema) -> Schema:
    """What it means, and then the rule that it brings along."""
    words = [openapi_words.of_field(schema, field), told.get("description", "")]
    return {**told, "description": " ".join(filter(None, words))}


def _sent(query: type[Strict], name: str, schema: Schema) -> Schema:
    field = query.model_fields[name]
    present: Schema = schema["anyOf"][0] if "anyOf" in schema else schema
    default = {} if field.is_required() or field.default is None else {"default": field.default}
    return {**present, **default, **_RULES.get(name, {})}


def _names(enum: EnumDescriptor) -> list[str]:
    return [enum_name(enum, value.number) for value in enum.values if value.number]


class _Plain(GenerateJsonSchema):
    """Without titles, without what docstrings tell ourselves, and without defaults: those of a change mean nothing."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        plain = super().model_schema(schema)
        return {key: value for key, value in plain.items() if key not in ("title", "description")}


Shape = Callable[[Schemas], Schema]


def shaped(shown: Shown[Any]) -> Shape:
    return lambda schemas: schemas.message(shown)


def page_of(row: Shape) -> Shape:
    """What gateway.pages.page answers."""

    def shape(schemas: Schemas) -> Schema:
        cursor = nullable({"type": "string"})
        return record(
            {
                "data": {"type": "array", "items": row(schemas), "description": "The rows of this page."},
                "has_more": {"type": "boolean", "description": "Whether another page follows."},
                "next_cursor": {
                    **cursor,
                    "description": "Send it back as `cursor` for the next page; null on the last.",
                },
            }
        )

    return shape
