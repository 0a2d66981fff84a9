"""The door of the API: what every answer carries, and what is refused before any service is asked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from chassis.errors import ERRORS
from gateway.app import ROUTES
from gateway.call import Access
from tests.gateway.asking import Answer
from tests.gateway.conftest import Door

LEDGER, SHIPMENTS, SUBSCRIBE = "/v1/inventory/ledger", "/v1/shipments", "/v1/webhooks/subscribe"
BATCH, TRANSFERS = "/v1/inventory/ledger/batch", "/v1/inventory/transfers"
POSTS = (LEDGER, SHIPMENTS, SUBSCRIBE, BATCH, TRANSFERS)
BARE_POSTS = ("/v1/shipments/x/cancel", "/v1/shipments/x/dispatch")
WAREHOUSE = "/v1/warehouses/SEA-1"
JSON_TYPE = "application/json"


def a_path(route_path: str) -> str:
    """A path that the route answers."""
    return re.sub(r"\{[^}]*\}", "x", route_path)


KEYED = [(route.method, a_path(route.path)) for route in ROUTES if route.access is not Access.OPEN]
OPEN = [a_path(route.path) for route in ROUTES if route.access is Access.OPEN]


def assert_problem(answer: Answer, status: int, code: str) -> None:
    """RFC 9457, with our members in their order."""
    assert (answer.status, answer.code) == (status, code)
    problem = answer.json
    assert list(problem)[:6] == ["type", "title", "status", "detail", "code", "request_id"]
    assert problem["type"] == f"/docs/errors#{code}"
    assert problem["title"] == ERRORS[code].title
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["Request-Id"]


@pytest.mark.parametrize(("method", "path"), KEYED)
async def test_every_route_of_v1_wants_a_key(door: Door, method: str, path: str) -> None:
    answer = await door.caller.by("").ask(method, path)

    assert_problem(answer, 401, "authentication_required")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="skutrail"'


@pytest.mark.parametrize(("method", "path"), KEYED)
async def test_every_route_of_v1_refuses_a_parameter_it_does_not_know(door: Door, method: str, path: str) -> None:
    answer = await door.caller.ask(method, f"{path}?pretty=1")

    assert_problem(answer, 400, "invalid_parameter")
    assert {"parameter": "pretty", "code": "unknown_parameter"}.items() <= answer.json["errors"][-1].items()


@pytest.mark.parametrize(("method", "path"), KEYED)
async def test_every_route_names_its_methods_to_whoever_comes_with_another(door: Door, method: str, path: str) -> None:
    methods = {known for known, at in KEYED if at == path}
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))

    for wrong in {"DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "GET", "POST"} - set(allowed.split(", ")):
        answer = await door.caller.ask(wrong, path)

        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    "path",
    ["/v1/nothing", "/v1/", "/v1", "/v2/shipments", "/v1/shipments/", "/v1/shipments/a/b", "//v1/shipments"],
)
async def test_a_path_that_is_not_there_is_told_from_an_object_that_is_not_there(door: Door, path: str) -> None:
    assert_problem(await door.caller.get(path), 404, "route_not_found")


@pytest.mark.parametrize("part", ["%00", "a%2Fb", "a%20b", "%ff", "..%2f..", "x" * 65, "%E2%82%AC", "'--"])
async def test_what_cannot_be_an_id_is_no_objects_id(door: Door, part: str) -> None:
    for path in (f"/v1/orders/{part}", f"/v1/shipments/{part}", f"/v1/shipments/{part}/label", f"/v1/webhooks/{part}"):
        assert_problem(await door.caller.get(path), 404, "not_found")


@pytest.mark.parametrize("path", OPEN)
async def test_the_operators_pages_are_open_and_have_heads(door: Door, path: str) -> None:
    page, head = await door.caller.by("").get(path), await door.caller.by("").ask("HEAD", path)

    assert head.status == page.status
    assert head.headers["Content-Type"] == page.headers["Content-Type"]
    assert head.body == b""


async def test_readiness_names_what_is_away(door: Door, keyless_door: Door) -> None:
    services = ["inventory", "shipments", "orders", "webhooks"]
    answer = await door.caller.by("").get("/readyz")
    without_database = await keyless_door.caller.by("").get("/readyz")

    # Services that are away are named, and no reason to send the traffic of all others away.
    assert answer.status == 200
    assert answer.json == {"status": "ready", "away": services}
    assert (without_database.status, without_database.json["away"]) == (503, [*services, "database"])


@pytest.mark.parametrize("path", [SHIPMENTS, "/v1/orders/x", "/v1/nothing", "/healthz"])
async def test_every_answer_has_a_request_id_of_its_own(door: Door, path: str) -> None:
    one, other = await door.caller.get(path), await door.caller.get(path)

    assert re.fullmatch(r"req_[0-9a-hjkmnp-tv-z]{26}", one.headers["Request-Id"])
    assert one.headers["Request-Id"] != other.headers["Request-Id"]
    assert one.headers["Cache-Control"] == "no-store"
    assert one.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("sent", "echoed"), [("order-1001", "order-1001"), ("x" * 128, "x" * 128), ("x" * 129, None), ("a b", None)]
)
async def test_a_callers_own_request_id_comes_back(door: Door, sent: str, echoed: str | None) -> None:
    answer = await door.caller.get("/healthz", headers={"X-Request-Id": sent})

    assert answer.headers.get("Client-Request-Id") == echoed


async def test_a_head_is_a_get_without_its_body(door: Door) -> None:
    answer = await door.caller.ask("HEAD", "/v1/inventory/balance")

    assert (answer.status, answer.body) == (400, b"")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b'{"qty":1,"qty":2}', 400, "malformed_json"),
        (b'{"qty":NaN}', 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b'{"sku":"\xff"}', 400, "malformed_json"),
        ('{"sku":"A"}'.encode("utf-16"), 400, "malformed_json"),
        (b'"' + b"x" * 1_048_575 + b'"', 413, "content_too_large"),
        (b"[]", 422, "validation_failed"),
        (b"null", 422, "validation_failed"),
        (b"{}", 422, "validation_failed"),
    ],
    ids=["empty", "duplicate", "NaN", "deep", "bad UTF-8", "UTF-16", "too large", "list", "null", "no members"],
)
@pytest.mark.parametrize("path", POSTS)
async def test_each_post_refuses_a_bad_body(door: Door, path: str, body: bytes, status: int, code: str) -> None:
    assert_problem(await door.caller.post(path, body), status, code)


@pytest.mark.parametrize("body", [b"", b"{}", b" { } "])
@pytest.mark.parametrize("path", BARE_POSTS)
async def test_where_the_path_says_it_all_an_empty_body_will_do(door: Door, path: str, body: bytes) -> None:
    """There is no service behind this door: who comes so far is let in."""
    assert_problem(await door.caller.post(path, body), 503, "unavailable")


@pytest.mark.parametrize("path", BARE_POSTS)
async def test_an_empty_body_is_of_no_media_type(door: Door, path: str) -> None:
    async def nothing() -> Any:
        return
        yield

    for sent in ({}, {"headers": {"Content-Type": "text/plain"}}, {"data": nothing()}):
        assert_problem(await door.caller.ask("POST", path, **sent), 503, "unavailable")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"x":1}', 422, "validation_failed"),
        (b"[]", 422, "validation_failed"),
        (b"null", 422, "validation_failed"),
        (b"0", 422, "validation_failed"),
        (b"{", 400, "malformed_json"),
        (b" ", 400, "malformed_json"),
        (b'"' + b"x" * 1_048_575 + b'"', 413, "content_too_large"),
    ],
    ids=["a member", "list", "null", "zero", "broken", "blank", "too large"],
)
@pytest.mark.parametrize("path", BARE_POSTS)
async def test_where_the_path_says_it_all_nothing_else_is_taken(
    door: Door, path: str, body: bytes, status: int, code: str
) -> None:
    assert_problem(await door.caller.post(path, body), status, code)


async def test_a_body_where_none_is_needed_is_called_json_all_the_same(door: Door) -> None:
    answer = await door.caller.post(BARE_POSTS[0], b"{}", headers={"Content-Type": "text/plain"})

    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"[]", 422, "validation_failed"),
        (b'{"priority":101,"code":"SEA-1"}', 422, "validation_failed"),
        (b"{}", 503, "unavailable"),
    ],
    ids=["empty", "list", "bad members", "nothing said"],
)
async def test_a_put_is_held_to_the_same_json_and_needs_no_key(door: Door, body: bytes, status: int, code: str) -> None:
    for headers in ({}, {"Idempotency-Key": "abc"}, {"Idempotency-Key": "not a key"}):
        sent = {"Content-Type": JSON_TYPE, **headers}
        answer = await door.caller.ask("PUT", WAREHOUSE, headers=sent, data=body)

        assert_problem(answer, status, code)
        assert "Idempotency-Key" not in answer.headers


@pytest.mark.parametrize("code", ["%00", "a%0Ab", "%20a", "a%20", "%ff", "%E2%80%AE", "x" * 65, "%ed%a0%80"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_what_cannot_be_a_warehouse_is_a_bad_parameter(door: Door, method: str, code: str) -> None:
    data = b"{}" if method == "PUT" else None
    answer = await door.caller.ask(method, f"/v1/warehouses/{code}", headers={"Content-Type": JSON_TYPE}, data=data)

    assert_problem(answer, 400, "invalid_parameter")
    assert [error["parameter"] for error in answer.json["errors"]] == ["code"]


@pytest.mark.parametrize("code", ["a%20b", "a%2Fb", "..%2F..", "%7Bcode%7D", "100%25", "%E5%95%86", "a+b", "'--", "."])
async def test_every_code_of_the_ledger_is_the_path_of_a_warehouse(door: Door, code: str) -> None:
    assert_problem(await door.caller.get(f"/v1/warehouses/{code}"), 503, "unavailable")


@pytest.mark.parametrize("said", ["1", "yes", "True", "", "truefalse"])
async def test_a_dry_run_is_true_or_false(door: Door, said: str) -> None:
    answer = await door.caller.post(f"{SHIPMENTS}?dry_run={said}", {})

    assert_problem(answer, 400, "invalid_parameter")
    assert [error["parameter"] for error in answer.json["errors"]] == ["dry_run"]


async def test_a_body_of_exactly_a_mebibyte_is_read(door: Door) -> None:
    body = json.dumps({"x": "x" * (1_048_576 - 9)}).encode()

    assert len(body) == 1_048_576
    assert_problem(await door.caller.post(LEDGER, body), 422, "validation_failed")


async def test_a_body_of_unknown_length_is_measured_as_it_comes(door: Door) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 65_536

    answer = await door.caller.ask("POST", LEDGER, headers={"Content-Type": JSON_TYPE}, data=chunks())

    assert_problem(answer, 413, "content_too_large")


async def test_the_faults_of_a_body_come_with_their_pointers(door: Door) -> None:
    answer = await door.caller.post(LEDGER, {"sku": "", "qty": "5", "warehouse": "W", "reason": "receipt", "x": 1})

    assert answer.json["errors"] == [
        {"pointer": "/sku", "code": "wrong_length", "detail": "Must have at least 1 character(s)."},
        {"pointer": "/qty", "code": "wrong_type", "detail": "Must be a whole number."},
        {"pointer": "/x", "code": "unknown_field", "detail": "There is no such field here."},
    ]


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/problem+json",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "*/*",
        "json",
        "",
    ],
)
async def test_a_body_that_is_not_called_json_is_refused(door: Door, media_type: str) -> None:
    answer = await door.caller.post(LEDGER, {}, headers={"Content-Type": media_type})

    assert_problem(answer, 415, "unsupported_media_type")
    assert answer.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
async def test_json_may_say_its_charset(door: Door, media_type: str) -> None:
    assert (await door.caller.post(LEDGER, {}, headers={"Content-Type": media_type})).status == 422


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x-unknown"])
async def test_a_body_with_a_content_coding_is_refused(door: Door, coding: str) -> None:
    answer = await door.caller.post(LEDGER, b"\x1f\x8b\x08", headers={"Content-Encoding": coding})

    assert_problem(answer, 415, "unsupported_media_type")
    assert answer.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/xml, text/*",
        "application/json;q=0, */*",
        "application/pdf",
        "application/problem+json",
    ],
)
async def test_a_caller_that_excludes_json_is_told_so(door: Door, accept: str) -> None:
    assert_problem(await door.caller.get("/v1/inventory/balance", headers={"Accept": accept}), 406, "not_acceptable")


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/*", "application/json", "text/html, */*;q=0.1", ""],
)
async def test_a_caller_that_admits_json_gets_it(door: Door, accept: str) -> None:
    answer = await door.caller.get("/v1/inventory/balance", headers={"Accept": accept})

    assert answer.status == 400


async def test_a_label_is_no_json(door: Door) -> None:
    answer = await door.caller.get("/v1/shipments/x/label", headers={"Accept": "application/json"})

    assert_problem(answer, 406, "not_acceptable")


@pytest.mark.parametrize("path", POSTS)
async def test_every_answer_to_a_post_names_its_idempotency_key(door: Door, path: str) -> None:
    sent = await door.caller.post(path, b"", idempotency_key="abc")
    quoted = await door.caller.post(path, b"", idempotency_key='"abc"')
    unauthenticated = await door.caller.by("").post(path, {}, idempotency_key="abc")
    made = await door.caller.post(path, b"")

    for answer in (sent, quoted, unauthenticated):
        assert answer.headers["Idempotency-Key"] == "abc"
    assert len(made.headers["Idempotency-Key"]) == 36


@pytest.mark.parametrize("key", ["a b", "x" * 256, '""', '"abc', "é"])
@pytest.mark.parametrize("path", POSTS)
async def test_a_bad_idempotency_key_is_refused_and_never_ignored(door: Door, path: str, key: str) -> None:
    assert_problem(await door.caller.post(path, {}, idempotency_key=key), 400, "idempotency_key_invalid")


async def test_an_idempotency_key_sent_twice_is_refused(door: Door) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]

    assert_problem(await door.caller.post(LEDGER, {}, headers=headers), 400, "idempotency_key_invalid")


async def test_an_operator_may_require_idempotency_keys(demanding_door: Door) -> None:
    without = await demanding_door.caller.post(LEDGER, {})
    with_one = await demanding_door.caller.post(SHIPMENTS, b"", idempotency_key="abc")

    assert_problem(without, 400, "idempotency_key_required")
    assert "Idempotency-Key" not in without.headers
    assert_problem(with_one, 400, "malformed_json")


async def test_metrics_count_requests_by_route_and_status(door: Door) -> None:
    await door.caller.get("/v1/orders/%00")

    text = (await door.caller.by("").get("/metrics")).body.decode()

    assert re.search(r'skutrail_http_requests_total\{method="GET",route="/v1/orders/\{id\}",status="404"\} \d', text)
    assert 'route="/v1/webhooks/{id}"' in text
    assert "skutrail_http_request_seconds_bucket" in text


async def test_a_service_that_is_away_is_told_within_its_deadline(door: Door) -> None:
    answer = await door.caller.get("/v1/orders/ord_1")

    assert_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
