"""Subscribing by call: keyed, checked whole, and its secret told once."""

import asyncio
from hashlib import sha256

import pytest
import standardwebhooks
from cryptography.exceptions import InvalidTag
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import rpc
from chassis.errors import Fault, FieldFault
from services.webhooks import operations
from services.webhooks.secrets import Vault
from skutrail.v1 import common_pb2, webhooks_pb2, webhooks_pb2_grpc
from tests.webhooks.building import an_event
from tests.webhooks.house import MADE, House
from tests.webhooks.receiving import receiving

MADE_SECRET = "whsec_bWFkZS1ieS10aGUtc2VydmljZS1mb3ItYS10ZW5hbnQ="


def a_request(key: str = "key-1", tenant_id: str = "acc_1:test", **fields: object) -> webhooks_pb2.SubscribeRequest:
    """The preview's example, but for the given fields; None leaves one out."""
    preview = {
        "url": "https://your.app/webhooks/skutrail",
        "events": ["shipment.created", "inventory.updated"],
        "secret": "whsec_REPLACE",
    }
    body = {name: value for name, value in {**preview, **fields}.items() if value is not None}
    return webhooks_pb2.SubscribeRequest(tenant_id=tenant_id, idempotency=_key(key, repr(body)), **body)


def _key(key: str, request: str) -> common_pb2.IdempotencyKey:
    return common_pb2.IdempotencyKey(key=key, fingerprint=sha256(request.encode()).digest())


async def test_the_example_of_the_preview_is_subscribed_and_read_back(webhooks: webhooks_pb2_grpc.WebhooksStub) -> None:
    reply = await rpc.call(webhooks.Subscribe, a_request())

    subscription = reply.subscription
    assert subscription.id.startswith("whk_")
    assert subscription.url == "https://your.app/webhooks/skutrail"
    assert list(subscription.events) == ["shipment.created", "inventory.updated"]
    assert subscription.status == webhooks_pb2.SUBSCRIPTION_STATUS_ACTIVE
    assert (reply.HasField("made_secret"), reply.replayed, subscription.HasField("description")) == (
        False,
        False,
        False,
    )
    wanted = webhooks_pb2.GetSubscriptionRequest(tenant_id="acc_1:test", id=subscription.id)
    assert await rpc.call(webhooks.GetSubscription, wanted) == subscription


async def test_the_list_of_events_is_answered_as_it_was_sent(webhooks: webhooks_pb2_grpc.WebhooksStub) -> None:
    sent = ["shipment.*", "inventory.updated", "inventory.updated", "*"]

    reply = await rpc.call(webhooks.Subscribe, a_request(events=sent, description="Wärehouse 7"))

    assert list(reply.subscription.events) == sent
    assert reply.subscription.description == "Wärehouse 7"


@pytest.mark.parametrize("secret", [None, "whsec_REPLACE"])
async def test_a_repetition_gets_the_first_answer_byte_for_byte(
    webhooks: webhooks_pb2_grpc.WebhooksStub, house: House, secret: str | None
) -> None:
    request = a_request(secret=secret)
    first = await rpc.call(webhooks.Subscribe, request)
    second = await rpc.call(webhooks.Subscribe, request)

    assert (first.replayed, second.replayed) == (False, True)
    second.replayed = False
    assert second.SerializeToString() == first.SerializeToString()
    assert await house.rows("SELECT count(*) FROM subscription") == [(1,)]


async def test_a_finished_key_is_looked_up_with_its_answer(webhooks: webhooks_pb2_grpc.WebhooksStub) -> None:
    request = a_request(secret=None)
    wanted = common_pb2.LookUpAnswerRequest(tenant_id="acc_1:test", idempotency=request.idempotency)
    assert not (await rpc.call(webhooks.LookUpAnswer, wanted)).found
    first = await rpc.call(webhooks.Subscribe, request)

    answer = await rpc.call(webhooks.LookUpAnswer, wanted)

    told = webhooks_pb2.SubscribeReply.FromString(answer.reply)
    assert (told.subscription, told.made_secret) == (first.subscription, MADE_SECRET)


async def test_twins_make_one_subscription(webhooks: webhooks_pb2_grpc.WebhooksStub, house: House) -> None:
    request = a_request(secret=None)

    replies = await asyncio.gather(*(rpc.call(webhooks.Subscribe, request) for _ in range(8)))

    assert len({reply.subscription.id for reply in replies}) == 1
    assert {reply.made_secret for reply in replies} == {MADE_SECRET}
    assert sorted(reply.replayed for reply in replies) == [False] + [True] * 7
    assert await house.rows("SELECT count(*) FROM subscription") == [(1,)]


async def test_a_made_secret_signs_and_is_told_in_that_answer_only(
    webhooks: webhooks_pb2_grpc.WebhooksStub, house: House
) -> None:
    async with receiving() as receiver:
        reply = await rpc.call(webhooks.Subscribe, a_request(url=receiver.url, secret=None))
        await house.announce(an_event())
        sender = house.make_sender()
        await sender.send_due()
        await sender.finish()

    (received,) = receiver.requests
    assert reply.made_secret == MADE_SECRET
    standardwebhooks.Webhook(reply.made_secret).verify(received.body, received.headers)


@pytest.mark.parametrize("secret", [None, "whsec_REPLACE", "plain but secret"])
async def test_no_secret_lies_in_clear_in_the_database(
    webhooks: webhooks_pb2_grpc.WebhooksStub, house: House, secret: str | None
) -> None:
    await rpc.call(webhooks.Subscribe, a_request(secret=secret))
    clear = (secret or MADE_SECRET).encode()

    rows = await house.rows("SELECT s::text, k::text FROM subscription s, idempotency_key k")
    kept = await house.rows("SELECT s.secret, k.reply FROM subscription s, idempotency_key k")
    for stored in (str(rows).encode(), *kept[0]):
        assert clear not in stored
        assert MADE not in stored


@pytest.mark.parametrize("other", ["acc_1:live", "acc_2:test"])
async def test_the_id_of_another_tenant_is_unknown(webhooks: webhooks_pb2_grpc.WebhooksStub, other: str) -> None:
    mine = (await rpc.call(webhooks.Subscribe, a_request())).subscription.id

    answers = []
    for subscription_id in (mine, "whk_unknown"):
        with pytest.raises(Fault) as refused:
            await rpc.call(
                webhooks.GetSubscription, webhooks_pb2.GetSubscriptionRequest(tenant_id=other, id=subscription_id)
            )
        answers.append((refused.value.code, refused.value.detail, refused.value.facts))
    assert answers == [("not_found", "There is no such webhook.", {})] * 2


async def test_every_fault_is_told_at_once_and_nothing_is_written(
    webhooks: webhooks_pb2_grpc.WebhooksStub, house: House
) -> None:
    request = a_request(
        url="http://169.254.169.254/latest/",
        events=["shipment.created", "shipment.lost", "*", "allocation.changed"],
        secret="tab\tbed",
        description="two\nlines",
    )

    with pytest.raises(Fault) as refused:
        await rpc.call(webhooks.Subscribe, request)

    assert refused.value.code == "validation_failed"
    assert [(f.pointer, f.code) for f in refused.value.fields] == [
        ("/url", "address_refused"),
        ("/events/1", "unknown_event_type"),
        ("/events/3", "unknown_event_type"),
        ("/secret", "bad_secret"),
        ("/description", "invalid_text"),
    ]
    assert await house.rows("SELECT count(*) FROM subscription") == [(0,)]
    assert (await rpc.call(webhooks.Subscribe, a_request())).replayed is False  # the key is free again


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"url": "ftp://your.app/"}, ("/url", "bad_url")),
        ({"url": "https://user:pw@your.app/"}, ("/url", "bad_url")),
        ({"url": "https://your.app:25/"}, ("/url", "bad_url")),
        ({"url": ""}, ("/url", "bad_url")),
        ({"url": "https://10.0.0.1/"}, ("/url", "address_refused")),
        ({"url": "https://[::ffff:127.0.0.1]/"}, ("/url", "address_refused")),
        ({"events": []}, ("/events", "wrong_length")),
        ({"events": ["*"] * 100}, ("/events", "wrong_length")),
        ({"secret": ""}, ("/secret", "bad_secret")),
        ({"secret": "é"}, ("/secret", "bad_secret")),
        ({"description": "x" * 257}, ("/description", "invalid_text")),
    ],
)
async def test_a_fault_points_at_its_field(
    webhooks: webhooks_pb2_grpc.WebhooksStub, fields: dict[str, object], fault: tuple[str, str]
) -> None:
    with pytest.raises(Fault) as refused:
        await rpc.call(webhooks.Subscribe, a_request(**fields))

    assert [(f.pointer, f.code) for f in refused.value.fields] == [fault]


async def test_a_tenant_cannot_multiply_its_events_without_bound(
    webhooks: webhooks_pb2_grpc.WebhooksStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "ACTIVE_PER_TENANT_MAX", 2)
    for number in range(2):
        await rpc.call(webhooks.Subscribe, a_request(f"key-{number}"))

    with pytest.raises(Fault) as refused:
        await rpc.call(webhooks.Subscribe, a_request("key-3"))

    assert refused.value.fields == (FieldFault("", "too_many", "At most 2 webhooks can be active."),)
    await rpc.call(webhooks.Subscribe, a_request(tenant_id="acc_2:test"))


async def test_the_bound_holds_for_those_who_come_at_the_same_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "ACTIVE_PER_TENANT_MAX", 3)
    barrier = asyncio.Barrier(8)

    async def subscribe(tx: AsyncConnection) -> str:
        await barrier.wait()
        return await house.subscribe_in(tx, "https://your.app/")

    results = await asyncio.gather(*(house.database.run(subscribe) for _ in range(8)), return_exceptions=True)

    assert sum(isinstance(result, Fault) and result.code == "validation_failed" for result in results) == 5
    assert await house.rows("SELECT count(*) FROM subscription") == [(3,)]


def test_a_sealed_secret_opens_for_its_own_subscription_and_key_alone() -> None:
    vault, owner = Vault(bytes(32)), {"tenant_id": "acc_1:test", "subscription_id": "whk_1"}
    sealed = vault.seal("whsec_REPLACE", **owner)

    assert vault.open(sealed, **owner) == "whsec_REPLACE"
    assert vault.seal("whsec_REPLACE", **owner) != sealed
    for opener, given, who in [
        (Vault(b"\1" * 32), sealed, owner),
        (vault, sealed[:-1] + bytes([sealed[-1] ^ 1]), owner),
        (vault, sealed, owner | {"tenant_id": "acc_1:live"}),
        (vault, sealed, owner | {"subscription_id": "whk_2"}),
    ]:
        with pytest.raises(InvalidTag):
            opener.open(given, **who)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_vault_takes_a_key_of_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="must be 32 bytes"):
        Vault(bytes(size))
