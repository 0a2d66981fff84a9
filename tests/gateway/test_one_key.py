"""One key names one operation of a tenant, whichever service owns it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import grpc
import pytest

from chassis import rpc
from skutrail.v1 import common_pb2, inventory_pb2
from skutrail.v1.inventory_pb2_grpc import InventoryStub
from tests.gateway.asking import Answer, Caller
from tests.gateway.test_answers import movement, new_sku, shipment
from tests.running import RunningStack

WRITES = ("/v1/inventory/ledger", "/v1/inventory/ledger/batch", "/v1/inventory/transfers", "/v1/shipments")
SUBSCRIBE = "/v1/webhooks/subscribe"
PAIRS = [(first, second) for first in (*WRITES, SUBSCRIBE) for second in (*WRITES, SUBSCRIBE) if first != second]


def a_body(path: str) -> Any:
    sku = new_sku()
    return {
        "/v1/inventory/ledger": movement(sku),
        "/v1/inventory/ledger/batch": {"atomic": True, "movements": [movement(sku)]},
        # Refused for want of stock: a refusal that is kept, and its key with it.
        "/v1/inventory/transfers": {"sku": sku, "from_warehouse": "SEA-1", "to_warehouse": "NYC-1", "qty": 1},
        "/v1/shipments": shipment(sku, f"ord_{uuid4()}"),
        SUBSCRIBE: {"url": "https://your.app/x", "events": ["*"]},
    }[path]


def assert_reused(answer: Answer) -> None:
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_a_key_of_one_operation_is_refused_to_every_other(caller: Caller, first: str, second: str) -> None:
    key, body_of_first = str(uuid4()), a_body(first)

    told = await caller.post(first, body_of_first, idempotency_key=key)
    other = await caller.post(second, a_body(second), idempotency_key=key)
    invalid = await caller.post(second, {}, idempotency_key=key)
    again = await caller.post(first, body_of_first, idempotency_key=key)

    assert told.status in (200, 201, 202, 409)
    assert_reused(other)
    assert_reused(invalid)
    assert (again.status, again.body) == (told.status, told.body)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_key_is_one_tenants(stack: RunningStack, caller: Caller) -> None:
    key = str(uuid4())
    stranger = caller.by(await stack.create_key("stranger"))

    assert (await caller.post("/v1/shipments", a_body("/v1/shipments"), idempotency_key=key)).status == 202
    assert (await stranger.post(SUBSCRIBE, a_body(SUBSCRIBE), idempotency_key=key)).status == 201


async def test_a_refusal_that_is_not_kept_leaves_the_key_free(caller: Caller) -> None:
    """Private addresses are refused by the service, after the key was reserved."""
    key = str(uuid4())

    refused = await caller.post(SUBSCRIBE, {"url": "https://10.0.0.1/x", "events": ["*"]}, idempotency_key=key)
    invalid = await caller.post("/v1/shipments", {}, idempotency_key=key)
    granted = await caller.post("/v1/inventory/ledger", movement(new_sku()), idempotency_key=key)

    assert (refused.status, refused.code) == (invalid.status, invalid.code) == (422, "validation_failed")
    assert granted.status == 200


async def test_a_key_that_was_reserved_and_never_used_serves_its_request(stack: RunningStack, caller: Caller) -> None:
    """The gateway ended between the reservation and the write."""
    key = str(uuid4())
    foreign = common_pb2.IdempotencyKey(key=key, fingerprint=b"of a request that never came")
    reservation = inventory_pb2.KeyReservation(tenant_id="door-tests/test", idempotency=foreign)
    async with grpc.aio.insecure_channel(stack.system.stack.address("inventory")) as channel:
        wanted = inventory_pb2.ReserveKeysRequest(reservations=[reservation])
        [outcome] = (await rpc.call(InventoryStub(channel).ReserveKeys, wanted)).outcomes
        assert not outcome.HasField("refusal")

        assert_reused(await caller.post(SUBSCRIBE, a_body(SUBSCRIBE), idempotency_key=key))

        freed = inventory_pb2.FreeKeyRequest(tenant_id="door-tests/test", idempotency=foreign)
        await rpc.call(InventoryStub(channel).FreeKey, freed)
    assert (await caller.post(SUBSCRIBE, a_body(SUBSCRIBE), idempotency_key=key)).status == 201


async def test_of_different_operations_at_once_under_one_key_one_runs(caller: Caller) -> None:
    key = str(uuid4())
    paths = ("/v1/inventory/ledger", "/v1/shipments", SUBSCRIBE) * 2

    answers = await asyncio.gather(*(caller.post(path, a_body(path), idempotency_key=key) for path in paths))

    assert [answer.status for answer in answers if answer.status < 400] in ([200], [202], [201], [201, 201])
    assert {answer.code for answer in answers if answer.status >= 400} <= {
        "idempotency_key_reused",
        "idempotency_key_in_use",
    }


async def test_eight_at_once_with_one_key_are_one_shipment(caller: Caller) -> None:
    key, body = str(uuid4()), a_body("/v1/shipments")

    answers = await asyncio.gather(*(caller.post("/v1/shipments", body, idempotency_key=key) for _ in range(8)))
    rows = (await caller.get(f"/v1/shipments?order_id={body['order_id']}")).json["data"]

    assert len({answer.body for answer in answers if answer.status == 202}) == 1
    assert {answer.code for answer in answers if answer.status != 202} <= {"idempotency_key_in_use"}
    assert len(rows) == 1
