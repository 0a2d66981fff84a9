"""A receiver of webhooks as a customer runs one: it verifies every delivery and takes each event once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import standardwebhooks

from tests.builders import eventually
from tests.webhooks.receiving import Received, Receiver, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""In the standard form."""

Event = Mapping[str, Any]


@dataclass
class Subscriber:
    receiver: Receiver
    secret: str
    _events: dict[str, Event] = field(default_factory=dict, init=False)
    _read: int = field(default=0, init=False)
    """How many deliveries were verified already."""

    @property
    def url(self) -> str:
        return self.receiver.url

    @property
    def deliveries(self) -> list[Received]:
        """All that arrived, repetitions too, in the order of their arrival."""
        return self.receiver.requests

    def events(self) -> dict[str, Event]:
        """Each event once, by the id it was delivered under. Fails for a delivery that does not verify."""
        for delivery in self.deliveries[self._read :]:
            event = self.verified(delivery)
            assert event["id"] == delivery.headers["webhook-id"]
            assert self._events.setdefault(event["id"], event) == event
            self._read += 1
        return self._events

    def verified(self, delivery: Received) -> Event:
        standardwebhooks.Webhook(self.secret).verify(delivery.body, delivery.headers)
        event: Event = json.loads(delivery.body)
        assert list(event) == ["id", "type", "timestamp", "data"]
        return event

    async def events_until(self, holds: Callable[[list[Event]], object], within_s: float = 10) -> list[Event]:
        """Waits for the events, in the order of their first arrival, until they are as wanted."""

        async def arrived() -> list[Event]:
            return list(self.events().values())

        return await eventually(arrived, holds, within_s=within_s)


@asynccontextmanager
async def subscriber(secret: str) -> AsyncIterator[Subscriber]:
    """Listens on loopback, and answers 204 until told otherwise."""
    async with receiving() as receiver:
        yield Subscriber(receiver, secret)


def signs_raw(secret: str, delivery: Received) -> bool:
    """Whether one of the signatures is that of twenty hand-written lines: the whole secret, as it is, is the key."""
    signed = f"{delivery.headers['webhook-id']}.{delivery.headers['webhook-timestamp']}.".encode() + delivery.body
    expected = base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()
    return f"v1,{expected}" in delivery.headers["webhook-signature"].split(" ")
