"""GET /v1/inventory/verify: what it says of a chain that is whole, of one that is not, and of one that is long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote

import psycopg
import pytest

from chassis import rpc
from chassis.errors import Fault
from gateway import verifying
from gateway.call import Call
from gateway.requests import VerifyQuery
from gateway.upstream import Upstream
from services.inventory.chain import STRETCH_MAX
from services.inventory.domain import StockKey
from services.inventory.server import VERIFY_CALLS_MAX
from skutrail.v1 import inventory_pb2
from tests.gateway.asking import Answer, Caller
from tests.gateway.test_ledger_reads import new_sku, record
from tests.inventory.ledgers import fill
from tests.running import RunningStack

SERVICES = ("inventory", "shipments", "orders", "webhooks")
ZEROS = "0" * 64


async def verify(caller: Caller, sku: str, **more: str) -> Answer:
    query = "".join(f"&{name}={quote(value)}" for name, value in more.items())
    return await caller.get(f"/v1/inventory/verify?sku={sku}&warehouse=SEA-1{query}")


async def change(stack: RunningStack, statement: str, sku: str) -> None:
    """As the owner of the tables does it, or a thief of its password."""
    url = stack.system.stack.databases["inventory"].owner
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(statement.encode(), {"sku": sku})


async def test_a_chain_is_whole_up_to_its_head(stack: RunningStack, caller: Caller) -> None:
    sku = new_sku()
    for _ in range(3):
        await record(caller, sku)

    answer = await verify(caller, sku)

    assert answer.status == 200, answer
    assert list(answer.json) == ["sku", "warehouse", "entries", "ok", "first_broken_seq", "head_hash"]
    assert (answer.json["entries"], answer.json["ok"], answer.json["first_broken_seq"]) == (3, True, None)
    assert len(answer.json["head_hash"]) == 64
    assert answer.json["head_hash"] != ZEROS


async def test_what_never_moved_is_a_chain_of_nothing(caller: Caller) -> None:
    answer = await verify(caller, sku := new_sku())

    expected = {"sku": sku, "warehouse": "SEA-1", "entries": 0, "ok": True, "first_broken_seq": None}
    assert answer.json == {**expected, "head_hash": ZEROS}


async def test_a_changed_entry_is_named(stack: RunningStack, caller: Caller) -> None:
    sku = new_sku()
    for _ in range(3):
        await record(caller, sku)
    head_of_one = (await verify(caller, sku)).json["head_hash"]

    await change(stack, "UPDATE ledger_entry SET reference = 'PO-2' WHERE sku = %(sku)s AND seq = 2", sku)
    answer = await verify(caller, sku)

    assert (answer.json["entries"], answer.json["ok"], answer.json["first_broken_seq"]) == (1, False, 2)
    assert answer.json["head_hash"] not in (ZEROS, head_of_one)


async def test_a_head_that_was_kept_shows_a_chain_that_was_shortened_with_care(
    stack: RunningStack, caller: Caller
) -> None:
    sku = new_sku()
    await record(caller, sku)
    await record(caller, sku)
    kept = (await verify(caller, sku)).json
    after = f"{kept['entries']}.{kept['head_hash']}"
    assert (await verify(caller, sku, after=after)).json == kept

    cut_off = """
        WITH cut AS (DELETE FROM ledger_entry WHERE sku = %(sku)s AND seq = 2)
        UPDATE balance b SET seq = 1, on_hand = e.balance, head = e.hash
        FROM ledger_entry e WHERE e.sku = %(sku)s AND e.seq = 1 AND b.sku = e.sku
    """
    await change(stack, cut_off, sku)

    assert (await verify(caller, sku)).json["ok"]
    answer = (await verify(caller, sku, after=after)).json
    assert (answer["ok"], answer["first_broken_seq"], answer["entries"], answer["head_hash"]) == (False, 2, 0, ZEROS)


@pytest.mark.parametrize("after", ["", "0.", f"0.{ZEROS}", f"1.{ZEROS[1:]}", f"01.{ZEROS}", "1." + "G" * 64])
async def test_an_after_of_no_chain_is_refused(caller: Caller, after: str) -> None:
    answer = await verify(caller, "SKU", after=after)

    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert [error["parameter"] for error in answer.json["errors"]] == ["after"]


async def test_another_tenants_chain_is_one_that_never_moved(stack: RunningStack, caller: Caller) -> None:
    sku = new_sku()
    await record(caller, sku)
    stranger = caller.by(await stack.create_key("stranger"))

    assert (await verify(stranger, sku)).json["entries"] == 0


@pytest.fixture(scope="module")
async def long_chain(stack: RunningStack) -> StockKey:
    """A little more than one stretch."""
    key = StockKey("verify/test", new_sku(), "SEA-1")
    async with await psycopg.AsyncConnection.connect(stack.system.stack.databases["inventory"].owner) as connection:
        await fill(connection, key, STRETCH_MAX + 5)
    return key


@pytest.fixture
async def upstream(stack: RunningStack) -> AsyncIterator[Upstream]:
    upstream = Upstream({name: stack.system.stack.address(name) for name in SERVICES})
    yield upstream
    await upstream.close()


async def test_a_walk_that_takes_too_long_tells_where_to_go_on(
    upstream: Upstream, long_chain: StockKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = VerifyQuery(sku=long_chain.sku, warehouse=long_chain.warehouse)
    call = Call(long_chain.tenant_id, upstream, http=None, query=query, body=None, idempotency=None)  # type: ignore[arg-type]

    whole = await verifying.verify_chain(call)
    monkeypatch.setattr(verifying, "WALK_S", 0.0)
    with pytest.raises(Fault) as refused:
        await verifying.verify_chain(call)
    after = str(refused.value.facts["after"])
    rest = await verifying.verify_chain(replace(call, query=query.model_copy(update={"after": after})))

    assert refused.value.code == "deadline_exceeded"
    assert after.startswith(f"{STRETCH_MAX}.")
    assert rest.body == whole.body
    told = json.loads(bytes(whole.body))  # type: ignore[arg-type]
    assert (told["entries"], told["ok"]) == (STRETCH_MAX + 5, True)


async def test_more_walks_than_may_wait_are_refused_at_once(upstream: Upstream, long_chain: StockKey) -> None:
    wanted = inventory_pb2.VerifyChainRequest(**long_chain._asdict())
    calls = [rpc.call(upstream.inventory.VerifyChain, wanted, timeout_s=20) for _ in range(2 * VERIFY_CALLS_MAX)]

    answers = await asyncio.gather(*calls, return_exceptions=True)

    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert 0 < len(refused) <= VERIFY_CALLS_MAX
    assert {fault.code for fault in refused if isinstance(fault, Fault)} == {"unavailable"}
    assert {answer.seq for answer in answers if isinstance(answer, inventory_pb2.VerifyChainReply)} == {STRETCH_MAX}
