"""Subscriptions after they were made: listed, changed, deleted; and the catalogue of events."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from gateway.fields import EVENT_TYPES
from tests.gateway.asking import Answer, Caller
from tests.gateway.listing import pages, walk
from tests.running import RunningStack

WEBHOOKS = "/v1/webhooks"
WEBHOOK = ["id", "url", "events", "status", "description", "created_at"]


@pytest.fixture
async def own(stack: RunningStack, caller: Caller) -> Caller:
    """A tenant that nobody else writes to."""
    return caller.by(await stack.create_key(f"hooks-{uuid4().hex[:12]}"))


async def subscribe(caller: Caller, **more: Any) -> str:
    answer = await caller.post(f"{WEBHOOKS}/subscribe", {"url": "https://your.app/x", "events": ["*"], **more})
    assert answer.status == 201, answer.json
    return str(answer.json["id"])


async def change(caller: Caller, webhook_id: str, body: bytes) -> Answer:
    return await caller.ask(
        "PATCH", f"{WEBHOOKS}/{webhook_id}", headers={"Content-Type": "application/json"}, data=body
    )


async def test_webhooks_are_walked_to_the_end_while_others_come_and_go(own: Caller) -> None:
    before = [await subscribe(own) for _ in range(5)]

    seen = []
    async for data in pages(own, WEBHOOKS):
        seen += data
        await subscribe(own)
        await own.ask("DELETE", f"{WEBHOOKS}/{data[-1]['id']}")

    assert [row["id"] for row in seen] == before[::-1]
    assert all(list(row) == WEBHOOK for row in seen)


async def test_a_webhook_is_changed_where_something_is_sent(caller: Caller) -> None:
    webhook_id = await subscribe(caller, description="first")
    before = (await caller.get(f"{WEBHOOKS}/{webhook_id}")).json

    moved = await change(caller, webhook_id, b'{"url": "https://your.app/y", "events": ["shipment.*"]}')
    rested = await change(caller, webhook_id, b'{"status": "disabled", "description": null}')
    same = await change(caller, webhook_id, b"{}")

    assert (moved.status, list(moved.json)) == (200, WEBHOOK)
    assert moved.json == {**before, "url": "https://your.app/y", "events": ["shipment.*"]}
    assert rested.json == {**moved.json, "status": "disabled", "description": None}
    assert same.body == rested.body
    assert (await caller.get(f"{WEBHOOKS}/{webhook_id}")).body == same.body
    assert "Idempotency-Key" not in moved.headers


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"secret": "whsec_x"}', ("/secret", "unknown_field")),
        (b'{"url": null}', ("/url", "wrong_type")),
        (b'{"url": "ftp://your.app"}', ("/url", "bad_url")),
        (b'{"events": []}', ("/events", "wrong_length")),
        (b'{"events": null}', ("/events", "wrong_type")),
        (b'{"events": ["order.lost"]}', ("/events/0", "unknown_value")),
        (b'{"status": "paused"}', ("/status", "unknown_value")),
        (b'{"description": 5}', ("/description", "wrong_type")),
        (b"[]", ("", "wrong_type")),
    ],
)
async def test_a_change_that_is_not_valid_changes_nothing(caller: Caller, body: bytes, fault: tuple[str, str]) -> None:
    webhook_id = await subscribe(caller)

    answer = await change(caller, webhook_id, body)

    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in answer.json["errors"]] == [fault]


async def test_a_change_is_read_as_strictly_as_every_body(caller: Caller) -> None:
    webhook_id = await subscribe(caller)

    twice = await change(caller, webhook_id, b'{"status": "active", "status": "disabled"}')
    plain = await caller.ask("PATCH", f"{WEBHOOKS}/{webhook_id}", headers={"Content-Type": "text/plain"}, data=b"{}")

    assert (twice.status, twice.code) == (400, "malformed_json")
    assert (plain.status, plain.code) == (415, "unsupported_media_type")
    assert (await caller.get(f"{WEBHOOKS}/{webhook_id}")).json["status"] == "active"


async def test_a_deleted_webhook_is_not_found_any_more(caller: Caller) -> None:
    webhook_id = await subscribe(caller)

    deleted = await caller.ask("DELETE", f"{WEBHOOKS}/{webhook_id}")
    again = await caller.ask("DELETE", f"{WEBHOOKS}/{webhook_id}")

    assert (deleted.status, deleted.body) == (204, b"")
    assert "Content-Type" not in deleted.headers
    assert (again.status, again.code) == (404, "not_found")
    assert (await caller.get(f"{WEBHOOKS}/{webhook_id}")).code == "not_found"
    assert (await change(caller, webhook_id, b"{}")).code == "not_found"


async def test_a_webhook_of_another_tenant_is_as_unknown_as_one_that_never_was(own: Caller, caller: Caller) -> None:
    webhook_id = await subscribe(caller)

    for stranger, at in ((own, webhook_id), (caller, "whk_none")):
        for answer in (
            await stranger.get(f"{WEBHOOKS}/{at}"),
            await change(stranger, at, b'{"status": "disabled"}'),
            await stranger.ask("DELETE", f"{WEBHOOKS}/{at}"),
        ):
            assert (answer.status, answer.code) == (404, "not_found")
    assert await walk(own, WEBHOOKS) == []
    assert (await caller.get(f"{WEBHOOKS}/{webhook_id}")).json["status"] == "active"


async def test_the_catalogue_names_every_event_that_can_be_subscribed_to(caller: Caller) -> None:
    answer = await caller.get(f"{WEBHOOKS}/event-types")

    assert (answer.status, list(answer.json)) == (200, ["data", "has_more", "next_cursor"])
    assert [row["type"] for row in answer.json["data"]] == list(EVENT_TYPES)
    assert all(list(row) == ["type", "description"] and row["description"] for row in answer.json["data"])
    assert (answer.json["has_more"], answer.json["next_cursor"]) == (False, None)


@pytest.mark.parametrize(
    ("method", "name", "allowed"),
    [("DELETE", "event-types", "GET, HEAD"), ("PATCH", "event-types", "GET, HEAD"), ("DELETE", "subscribe", "POST")],
)
async def test_what_stands_beside_the_webhooks_is_none(caller: Caller, method: str, name: str, allowed: str) -> None:
    answer = await caller.ask(method, f"{WEBHOOKS}/{name}")

    assert (answer.status, answer.headers["Allow"]) == (405, allowed)
