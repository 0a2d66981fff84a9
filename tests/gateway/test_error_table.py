"""What the endpoints can meet, row by row, on the running system; and that nothing is written when they refuse."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from gateway.limits import Limit
from tests.gateway.asking import Caller
from tests.gateway.test_answers import movement, new_sku, shipment
from tests.running import RunningStack

LEDGER, SHIPMENTS, SUBSCRIBE = "/v1/inventory/ledger", "/v1/shipments", "/v1/webhooks/subscribe"

REFUSED_LEDGER = [
    (b'{"sku":', 400, "malformed_json"),
    (b'{"sku":"A","sku":"B"}', 400, "malformed_json"),
    ({"qty": "5"}, 422, "validation_failed"),
    ({"qty": 0}, 422, "validation_failed"),
    ({"qty": 10**9 + 1}, 422, "validation_failed"),
    ({"qty": -1}, 422, "validation_failed"),
    ({"qty": 1.5}, 422, "validation_failed"),
    ({"reason": "sale"}, 422, "validation_failed"),
    ({"warehouse": "a\0b"}, 422, "validation_failed"),
    ({"colour": "red"}, 422, "validation_failed"),
    ({"qty": 5, "reason": "pick"}, 409, "insufficient_stock"),
    ({"qty": -5, "reason": "transfer"}, 409, "insufficient_stock"),
    ({"qty": -5, "reason": "adjustment"}, 409, "insufficient_stock"),
]


@pytest.mark.parametrize(("change", "status", "code"), REFUSED_LEDGER)
async def test_a_refused_movement_leaves_no_trace(
    caller: Caller, change: bytes | dict[str, object], status: int, code: str
) -> None:
    sku = new_sku()

    answer = await caller.post(LEDGER, change if isinstance(change, bytes) else movement(sku) | change)

    assert (answer.status, answer.code) == (status, code)
    balance = await caller.get(f"/v1/inventory/balance?sku={sku}&warehouse=SEA-1")
    assert balance.json["balance"] == 0
    recorded = await caller.post(LEDGER, movement(sku))
    assert recorded.json["balance"] == 120


async def test_a_refused_shipment_makes_no_order(caller: Caller) -> None:
    order_id = f"ord_{uuid4()}"
    wanted = shipment("A", order_id)
    nowhere = {"ship_to": wanted["ship_to"] | {"country": "XX"}}

    for change in (nowhere, {"line_items": []}, {"line_items": [{"sku": "A", "qty": 0}]}, {"x": 1}):
        assert (await caller.post(SHIPMENTS, wanted | change)).code == "validation_failed"

    assert (await caller.get(f"/v1/orders/{order_id}")).code == "not_found"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://your.app/",
        "https://user@your.app/",
        "http://169.254.169.254/latest",
        "http://10.0.0.1/",
        "https://a.app:22/",
    ],
)
async def test_a_webhook_that_must_not_be_called_is_refused_by_its_url(caller: Caller, url: str) -> None:
    answer = await caller.post(SUBSCRIBE, {"url": url, "events": ["*"]})

    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == ["/url"]


async def test_anothers_id_is_answered_as_an_unknown_one(stack: RunningStack, caller: Caller) -> None:
    sku, order_id = new_sku(), f"ord_{uuid4()}"
    created = await caller.post(SHIPMENTS, shipment(sku, order_id))
    subscribed = await caller.post(SUBSCRIBE, {"url": "https://your.app/x", "events": ["*"]})
    unknown_shipment = created.headers["Location"][:-3] + "zzz"
    pairs = [
        (f"/v1/orders/{order_id}", "/v1/orders/ord_unknown"),
        (created.headers["Location"], unknown_shipment),
        (created.headers["Location"] + "/label", unknown_shipment + "/label"),
        (subscribed.headers["Location"], subscribed.headers["Location"][:-3] + "zzz"),
    ]
    assert (await caller.get(pairs[0][0])).status == 200

    for mode, account in (("live", "door-tests"), ("test", "others")):
        other = caller.by(await stack.create_key(account, mode=mode))  # type: ignore[arg-type]
        for theirs, unknown in pairs:
            foreign, missing = await other.get(theirs), await other.get(unknown)

            assert (foreign.status, foreign.code) == (missing.status, missing.code) == (404, "not_found")
            own_id, other_id = foreign.headers["Request-Id"].encode(), missing.headers["Request-Id"].encode()
            assert foreign.body.replace(own_id, b"") == missing.body.replace(other_id, b"")


async def test_live_and_test_count_apart(stack: RunningStack, caller: Caller) -> None:
    sku = new_sku()
    await caller.post(LEDGER, movement(sku))
    live = caller.by(await stack.create_key("door-tests", mode="live"))

    assert (await live.get(f"/v1/inventory/balance?sku={sku}&warehouse=SEA-1")).json["balance"] == 0


async def test_a_limited_request_does_not_spend_its_key(stack: RunningStack, caller: Caller) -> None:
    slow = caller.by(await stack.create_key("door-tests", limit=Limit(1, 600)))
    sku, key = new_sku(), str(uuid4())
    await slow.get("/v1/nothing")

    limited = await slow.post(LEDGER, movement(sku), idempotency_key=key)
    granted = await caller.post(LEDGER, movement(sku, 7), idempotency_key=key)

    assert (limited.status, limited.code) == (429, "rate_limited")
    assert int(limited.headers["Retry-After"]) > 0
    assert (granted.status, granted.json["balance"]) == (200, 7)


async def test_all_is_ready(caller: Caller) -> None:
    answer = await caller.by("").get_until("/readyz", lambda told: told.json["away"] == [])

    assert answer.status == 200
    assert answer.json == {"status": "ready", "away": []}


@pytest.fixture
async def without_orders(stack: RunningStack) -> AsyncIterator[None]:
    await stack.kill("orders")
    yield
    await stack.restart("orders")


@pytest.mark.usefixtures("without_orders")
async def test_a_service_that_is_away_is_told_in_time_and_takes_no_other_with_it(caller: Caller) -> None:
    for _ in range(3):
        started = time.monotonic()
        answer = await caller.get("/v1/orders/ord_1")

        assert (answer.status, answer.code) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert time.monotonic() - started < 2.5

    assert (await caller.post(LEDGER, movement(new_sku()))).status == 200
    readiness = await caller.by("").get_until("/readyz", lambda told: told.json["away"] == ["orders"])
    assert readiness.status == 200


@pytest.fixture
async def frozen_inventory(stack: RunningStack) -> AsyncIterator[None]:
    stack.send_signal("inventory", signal.SIGSTOP)
    yield
    stack.send_signal("inventory", signal.SIGCONT)


@pytest.mark.usefixtures("frozen_inventory")
async def test_a_service_that_does_not_answer_leaves_the_outcome_open_in_time(caller: Caller) -> None:
    started = time.monotonic()

    answer = await caller.post(LEDGER, movement(new_sku()), idempotency_key=str(uuid4()))

    assert (answer.status, answer.code) in ((504, "deadline_exceeded"), (503, "unavailable"))
    assert time.monotonic() - started < 2.5


@pytest.mark.usefixtures("frozen_inventory")
async def test_a_register_of_keys_that_does_not_answer_refuses(caller: Caller) -> None:
    body, key = {"url": "https://your.app/x", "events": ["*"]}, str(uuid4())

    refused = await caller.post(SUBSCRIBE, body, idempotency_key=key)
    with_a_made_key = await caller.post(SUBSCRIBE, body)

    assert (refused.status, refused.code) == (503, "unavailable")
    assert refused.headers["Retry-After"] == "1"
    assert with_a_made_key.status == 201


async def test_no_secret_is_in_the_gateways_log(stack: RunningStack, caller: Caller) -> None:
    planted = f"whsec_{uuid4().hex}"
    wanted = {"url": "https://your.app/x", "events": ["*"], "secret": planted}
    assert (await caller.post(SUBSCRIBE, wanted)).status == 201
    assert (await caller.post(SUBSCRIBE, wanted | {"x": 1})).status == 422
    assert (await caller.by("").get(f"/v1/shipments/x/label?token={planted}")).status == 404

    for name in ("gateway", "webhooks", "shipments"):
        log = stack.log(name)
        assert planted not in log
        assert caller.key not in log
        assert caller.key[8:] not in log
