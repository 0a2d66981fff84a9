"""Words that the tests of the whole system share: a tenant and what it does, and waiting for what must come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import aiohttp

from gateway.keys import Mode
from gateway.limits import Limit
from tests.gateway.asking import Answer, Caller
from tests.running import RunningStack

T = TypeVar("T")
Body = dict[str, Any]

SKU, WAREHOUSE = "SKU-1", "SEA-1"
ADDRESS = {
    "name": "Ada Lovelace",
    "line1": "1 Shoreline Dr",
    "city": "Seattle",
    "state": "WA",
    "postal": "98101",
    "country": "US",
}
UNLIMITED = Limit(1_000_000, 1)
POLL_S = 0.02


def movement(
    qty: int, sku: str = SKU, *, reason: str = "receipt", warehouse: str = WAREHOUSE, reference: str | None = None
) -> Body:
    body = {"sku": sku, "warehouse": warehouse, "qty": qty, "reason": reason}
    return body if reference is None else {**body, "reference": reference}


def shipment(qty: int, sku: str = SKU, *, order_id: str = "") -> Body:
    """A shipment of one line; of an order of its own where none is named."""
    lines = [{"sku": sku, "qty": qty}]
    return {"order_id": order_id or f"ord_{uuid4().hex[:12]}", "ship_to": ADDRESS, "line_items": lines}


@dataclass(frozen=True)
class Tenant:
    """An account in a mode, with a key that no rate limit holds back."""

    id: str
    api: Caller

    async def record(self, qty: int, sku: str = SKU, *, key: str = "", **words: Any) -> Answer:
        return await self.api.post("/v1/inventory/ledger", movement(qty, sku, **words), idempotency_key=key)

    async def receive(self, qty: int, sku: str = SKU, *, warehouse: str = WAREHOUSE) -> Body:
        """A receipt, and its entry."""
        answer = await self.record(qty, sku, warehouse=warehouse)
        assert answer.status == 200, answer
        return dict(answer.json)

    async def balance(self, sku: str = SKU, warehouse: str = WAREHOUSE) -> int:
        answer = await self.api.get(f"/v1/inventory/balance?sku={sku}&warehouse={warehouse}")
        assert answer.status == 200, answer
        return int(answer.json["balance"])

    async def ship(self, qty: int, sku: str = SKU, *, order_id: str = "") -> str:
        """Requests a shipment; returns its id."""
        answer = await self.api.post("/v1/shipments", shipment(qty, sku, order_id=order_id))
        assert answer.status == 202, answer
        return str(answer.json["id"])

    async def shipment(self, shipment_id: str) -> Body:
        answer = await self.api.get(f"/v1/shipments/{shipment_id}")
        assert answer.status == 200, answer
        return dict(answer.json)

    async def shipment_that_is(self, shipment_id: str, *statuses: str, within_s: float = 10) -> Body:
        """The shipment, once it has one of the statuses."""
        return await eventually(
            lambda: self.shipment(shipment_id), lambda seen: seen["status"] in statuses, within_s=within_s
        )

    async def subscribe(self, url: str, *events: str, secret: str) -> str:
        """Returns the subscription's id."""
        body = {"url": url, "events": list(events), "secret": secret}
        answer = await self.api.post("/v1/webhooks/subscribe", body)
        assert answer.status == 201, answer
        return str(answer.json["id"])


async def open_tenant(
    stack: RunningStack, session: aiohttp.ClientSession, *, account: str = "", mode: Mode = "test"
) -> Tenant:
    """A tenant of an account, and where none is named of one that nobody has used."""
    account = account or f"acct-{uuid4().hex[:12]}"
    key = await stack.create_key(account, mode=mode, limit=UNLIMITED)
    return Tenant(f"{account}/{mode}", Caller(session, stack.base_url, key))


async def eventually(
    ask: Callable[[], Awaitable[T]], holds: Callable[[T], object], *, within_s: float = 10, poll_s: float = POLL_S
) -> T:
    """Asks until the answer holds, and returns it. Fails with the last answer when it does not hold in time."""
    deadline = time.monotonic() + within_s
    while not holds(answer := await ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {within_s:.0f} s still: {answer!r}")
        await asyncio.sleep(poll_s)
    return answer


def without(body: Mapping[str, Any], *names: str) -> Body:
    return {name: value for name, value in body.items() if name not in names}
