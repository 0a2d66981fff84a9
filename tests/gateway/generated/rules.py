"""What schemathesis is told of us: values of our own formats, and three rules that every answer keeps.

It loads this module into a process of its own (schemathesis.toml); test_generated_requests.py starts it.
"""

from __future__ import annotations

from functools import reduce
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import schemathesis
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import CoveragePhaseData

_BLANKS = " \u00a0\u2003\u3000\u200d"


def _lines(blanks: str) -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), include_characters=blanks))


schemathesis.openapi.format("printable", _lines(" ").filter(lambda text: text == text.strip()))
schemathesis.openapi.format("country-code", st.sampled_from(["DE", "JP", "US", "ZW"]))
schemathesis.openapi.format("address-line", _lines(_BLANKS).filter(lambda text: bool(text.strip())))
# Names that lead nowhere (RFC 6761, section 6.4): what is subscribed here is delivered to nobody.
schemathesis.openapi.format(
    "url", st.from_regex(r"\Ahttps?://[a-z0-9]{1,20}\.invalid(:8[0-9]{3})?(/[a-zA-Z0-9ü%.~/?=&-]*)?\Z")
)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """The coverage phase tries one key everywhere, and only the first request would pass: each gets one of its own.
    And the published example names a host that may exist: nothing is delivered there either."""
    data = case.meta.phase.data
    is_about_headers = getattr(data, "parameter_location", None) is ParameterLocation.HEADER
    if isinstance(data, CoveragePhaseData) and not is_about_headers and "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = str(uuid4())
    if isinstance(case.body, dict) and isinstance(url := case.body.get("url"), str):
        case.body["url"] = url.replace("//your.app", "//your.invalid")


# A valid request may still be refused for what it means. Every reason for which it may:
_REFUSED_FOR_ITS_MEANING = {
    "not_found",  # no schema knows which ids exist
    "insufficient_stock",  # nor what is in stock
    "version_conflict",  # nor how far the ledger is
    "invalid_state",  # nor how far a shipment is
    "cursor_invalid",  # cursors are signed
    "idempotency_key_reused",  # one key was drawn for two requests
    "idempotency_key_in_use",
}
# And rules that JSON Schema cannot say: that two members differ, that a time is to come, and that a whole number is
# written without a fraction.
_BEYOND_SCHEMAS = {"same_warehouse", "in_the_past"}

# What any answer in HTTP may bear, and documents of APIs leave to RFC 9110.
_HEADERS_OF_HTTP = {
    "cache-control",
    "connection",
    "content-disposition",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "server",
    "transfer-encoding",
    "x-content-type-options",
}


@schemathesis.check
def valid_requests_are_refused_for_their_meaning_alone(ctx: Any, response: Any, case: Any) -> None:
    """Instead of positive_data_acceptance, which looks at the status: 400 and 422 are refusals of both kinds."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    problem = response.json()
    if problem["code"] not in _REFUSED_FOR_ITS_MEANING:
        unexpected = [error for error in problem.get("errors", [problem]) if not _is_beyond_schemas(error, case.body)]
        assert not unexpected, f"refused as {problem['code']}: {unexpected}"


def _is_beyond_schemas(error: dict[str, str], body: Any) -> bool:
    if error["code"] == "wrong_type" and "pointer" in error:
        value = reduce(_member, error["pointer"].split("/")[1:], body)
        return isinstance(value, float) and value.is_integer()
    return error["code"] in _BEYOND_SCHEMAS


def _member(value: Any, step: str) -> Any:
    return value[int(step)] if isinstance(value, list) else value[step.replace("~1", "/").replace("~0", "~")]


@schemathesis.check
def nothing_is_accepted_that_breaks_the_document(ctx: Any, response: Any, case: Any) -> None:
    """Besides negative_data_rejection, which lets unknown members and parameters pass. Open routes read neither."""
    told = case.operation.definition.raw
    if response.status_code >= 300 or not told["security"]:
        return
    # As it was sent: an empty list that was drawn for a parameter is not.
    sent = parse_qs(urlsplit(response.request.url).query, keep_blank_values=True)
    unknown = sent.keys() - {parameter.get("name") for parameter in told["parameters"]}
    assert not unknown, f"accepted parameters: {unknown}"
    if "requestBody" in told:
        schema = told["requestBody"]["content"]["application/json"]["schema"]
        whole = {**schema, "components": case.operation.schema.raw_schema["components"]}
        faults = [error.message for error in Draft202012Validator(whole).iter_errors(case.body)]
        assert not faults, f"accepted: {faults}"


@schemathesis.check
def every_header_is_told(ctx: Any, response: Any, case: Any) -> None:
    told = case.operation.definition.raw["responses"].get(str(response.status_code))
    if told is not None:  # else status_code_conformance has something to say
        untold = {*response.headers} - _HEADERS_OF_HTTP - {name.lower() for name in told["headers"]}
        assert not untold, f"not in the document: {untold}"
