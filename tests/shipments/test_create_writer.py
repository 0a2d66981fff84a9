"""Shipments of many calls in one commit: each is told its own, and none suffers from another."""

import asyncio
import random
import string
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from chassis import idempotency
from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.errors import Fault
from chassis.idempotency import Claim
from chassis.ids import new_id
from chassis.trace import Trace, new_traceparent
from services.shipments import writer as writing
from services.shipments.creating import Wish
from services.shipments.domain import Line, Policy, ShipmentRequest
from services.shipments.writer import Writer
from skutrail.v1 import shipments_pb2
from tests.shipments.conftest import ADA, ANNOUNCER, Shipments

Reply = shipments_pb2.CreateShipmentReply


@pytest.fixture
async def writer(shipments: Shipments) -> AsyncIterator[Writer]:
    writer = Writer(shipments.database, ANNOUNCER, shipments.clock, new_id)
    running = asyncio.create_task(writer.run())
    yield writer
    writer.stop()
    await running


def wish(shipments: Shipments, order_id: str = "ord_1", key: str | None = None, fingerprint: bytes = b"f") -> Wish:
    request = ShipmentRequest(shipments.tenant_id, order_id, ADA, (Line("SKU-1", 2),), "ups_ground")
    claim = Claim(shipments.tenant_id, key or new_id("key"), fingerprint)
    return Wish(request, claim, Trace("req_1", new_traceparent()))


async def told(writer: Writer, *wishes: Wish) -> list[Reply | Fault]:
    """What each of them is told that are asked for at once, each in a call of its own."""
    calls = await asyncio.gather(*(writer.create([wish]) for wish in wishes))
    return [answer for [answer] in calls]


async def create(writer: Writer, wish: Wish) -> Reply:
    [answer] = await writer.create([wish])
    return granted(answer)


def word(answer: Reply | Fault) -> str:
    if isinstance(answer, Fault):
        return answer.code
    return "replayed" if answer.replayed else "created"


def granted(answer: Reply | Fault) -> Reply:
    assert isinstance(answer, Reply), answer
    return answer


async def created(shipments: Shipments) -> dict[str, str]:
    """The orders of the tenant's shipments, by id."""
    query = text("SELECT id, order_id FROM shipment WHERE tenant_id = :tenant")
    rows = await shipments.run(lambda tx: tx.execute(query, {"tenant": shipments.tenant_id}))
    return {row.id: row.order_id for row in rows}


async def commits(shipments: Shipments) -> int:
    query = text("SELECT count(DISTINCT CAST(xmin AS text)) FROM shipment WHERE tenant_id = :tenant")
    return int((await shipments.run(lambda tx: tx.execute(query, {"tenant": shipments.tenant_id}))).scalar_one())


async def test_what_arrives_while_a_commit_is_under_way_shares_the_next(shipments: Shipments, writer: Writer) -> None:
    wishes = [wish(shipments, f"ord_{number}") for number in range(60)]

    answers = await told(writer, *wishes)

    own = {granted(answer).shipment.id: granted(answer).shipment.order_id for answer in answers}
    assert list(own.values()) == [f"ord_{number}" for number in range(60)]
    assert await created(shipments) == own
    assert await commits(shipments) <= 2


async def test_all_that_was_asked_for_is_kept_and_announced_as_its_own_request_wanted_it(
    shipments: Shipments, writer: Writer
) -> None:
    expires_at = shipments.clock() + timedelta(hours=1)
    plain, full = wish(shipments, "ord_plain"), wish(shipments, "ord_full")
    limited = replace(full.request, policy=Policy.PARTIAL, priority=7, hold_expires_at=expires_at, carrier_hint=None)

    answers = await told(writer, plain, full._replace(request=limited))

    for answer, asked, request in zip(answers, (plain, full), (plain.request, limited), strict=True):
        kept = await shipments.find(granted(answer).shipment.id)
        assert {name: getattr(kept, name) for name in vars(request)} == vars(request)
        [event] = await shipments.events(kept)
        assert (event.type, event.shipment) == ("shipment.created", granted(answer).shipment)
        assert event.traceparent == asked.cause.traceparent


async def test_twins_are_one_shipment_and_the_second_is_told_the_same(shipments: Shipments, writer: Writer) -> None:
    twin = wish(shipments, key="twin")

    first, second, other = await told(writer, twin, twin, wish(shipments, "ord_2"))
    [again] = await told(writer, twin)

    assert [word(answer) for answer in (first, second, other, again)] == ["created", "replayed", "created", "replayed"]
    assert granted(first).shipment == granted(second).shipment == granted(again).shipment
    assert len(await created(shipments)) == 2


async def test_a_key_belongs_to_the_first_valid_request_that_brings_it(shipments: Shipments, writer: Writer) -> None:
    answers = await told(
        writer,
        wish(shipments, "not an id", key="k", fingerprint=b"invalid"),
        wish(shipments, "ord_1", key="k", fingerprint=b"one"),
        wish(shipments, "ord_2", key="k", fingerprint=b"other"),
    )
    later = await told(writer, wish(shipments, "ord_2", key="k", fingerprint=b"other"))

    assert [word(answer) for answer in answers[1:]] == ["created", "idempotency_key_reused"]
    assert isinstance(answers[0], Fault)
    assert [word(answer) for answer in later] == ["idempotency_key_reused"]
    assert list((await created(shipments)).values()) == ["ord_1"]


async def test_what_is_refused_disturbs_nobody_and_leaves_its_key_free(shipments: Shipments, writer: Writer) -> None:
    answers = await told(
        writer,
        wish(shipments),
        wish(shipments, "not an id", key="k"),
        wish(shipments, "not an id", key="k"),
        wish(shipments),
    )
    [again] = await told(writer, wish(shipments, "ord_1", key="k", fingerprint=b"corrected"))

    assert [word(answer) for answer in answers] == ["created", "validation_failed", "validation_failed", "created"]
    assert isinstance(answers[1], Fault)
    assert [field.pointer for field in answers[1].fields] == ["/order_id"]
    assert word(again) == "created"


async def test_a_repetition_that_would_not_be_valid_any_more_is_told_the_first_answer(
    shipments: Shipments, writer: Writer
) -> None:
    asked = wish(shipments, key="k")
    limited = replace(asked.request, hold_expires_at=shipments.clock() + timedelta(hours=1))
    [first] = await told(writer, asked._replace(request=limited))
    shipments.clock.passes(timedelta(hours=2))

    [again] = await told(writer, asked._replace(request=limited))

    assert granted(again).replayed
    assert granted(again).shipment == granted(first).shipment


async def test_what_is_kept_under_the_key_is_the_first_answer_byte_for_byte(
    shipments: Shipments, writer: Writer
) -> None:
    asked = wish(shipments, key="k")

    answer = await create(writer, asked)

    stored = await shipments.run(lambda tx: idempotency.look_up(tx, asked.claim, shipments.clock()))
    assert stored is not None
    assert stored.reply == answer.SerializeToString(deterministic=True)


# No rule of the domain keeps them out, and the database does not take them: one in its answer to the first question,
# one in the commit (no index entry is so long).
_LONG = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=20_000))


@pytest.mark.parametrize("key", ["k\x00", _LONG], ids=["when it is looked up", "when it is committed"])
async def test_a_defect_in_one_fails_none_of_its_neighbours(shipments: Shipments, writer: Writer, key: str) -> None:
    others = [wish(shipments) for _ in range(10)]

    answers = await told(writer, *others[:5], wish(shipments, key=key), *others[5:])

    assert [word(answer) for answer in answers] == [*["created"] * 5, "internal_error", *["created"] * 5]
    assert len(await created(shipments)) == 10


async def test_a_key_that_runs_elsewhere_fails_none_of_its_neighbours(shipments: Shipments, writer: Writer) -> None:
    busy = wish(shipments, key="busy")

    async with shipments.database.transaction() as tx:
        await idempotency.claim(tx, busy.claim, shipments.clock())
        answers = await told(writer, wish(shipments), busy, wish(shipments))

    assert [word(answer) for answer in answers] == ["created", "idempotency_key_in_use", "created"]


async def test_a_key_whose_time_is_over_is_free(shipments: Shipments, writer: Writer) -> None:
    asked = wish(shipments, key="k")
    await create(writer, asked)
    shipments.clock.passes(idempotency.RETENTION + timedelta(seconds=1))

    again = await create(writer, asked)

    assert not again.replayed
    assert len(await created(shipments)) == 2


async def test_what_its_caller_has_given_up_is_created_all_the_same_under_its_key(
    shipments: Shipments, writer: Writer
) -> None:
    asked = wish(shipments, key="k")
    given_up = asyncio.create_task(create(writer, asked))
    await asyncio.sleep(0)
    given_up.cancel()

    again = await create(writer, asked)

    assert again.replayed
    assert list(await created(shipments)) == [again.shipment.id]


async def test_more_than_may_wait_is_refused_at_once_and_the_rest_is_created_before_the_end(
    shipments: Shipments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "QUEUE_PER_TENANT_MAX", 2)
    writer = Writer(shipments.database, ANNOUNCER, shipments.clock, new_id)

    calls = [asyncio.create_task(writer.create([wish(shipments)])) for _ in range(3)]
    await asyncio.sleep(0)
    writer.stop()
    await writer.run()

    *answers, refused = [answer for call in calls for answer in await call]
    assert isinstance(refused, Fault)
    assert (refused.code, refused.facts) == ("unavailable", {"retry_after_s": 1})
    assert await created(shipments) == {granted(answer).shipment.id: "ord_1" for answer in answers}


async def test_while_the_database_is_away_a_batch_is_told_at_once_and_not_call_by_call(
    shipments: Shipments, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Database(create_engine("postgresql://nobody:x@127.0.0.1:1/nowhere"))
    tried: list[int] = []
    run = nowhere.run_pipelined

    async def counted(operation: Any) -> Any:
        tried.append(1)
        return await run(operation)

    monkeypatch.setattr(nowhere, "run_pipelined", counted)
    writer = Writer(nowhere, ANNOUNCER, utc_now, new_id)
    running = asyncio.create_task(writer.run())
    answers = await told(writer, *(wish(shipments) for _ in range(30)))
    writer.stop()
    await running

    assert {word(answer) for answer in answers} == {"unavailable"}
    assert len(tried) <= 2
    await nowhere.engine.dispose()
