"""Small lives of shipments through the REST door, told to somebody who repeats each request until it is answered.

A story is one shipment from its request to its end. Whatever dies meanwhile, it goes on as a caller would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import aiohttp

from chassis.clock import utc_now
from tests.builders import ADDRESS, Body, Tenant, eventually, movement
from tests.gateway.asking import Answer
from tests.sandbox.running import Sandbox
from tests.system.load import Outcome, outcome_of

EAST, WEST = "EAST", "WEST"
HERE, THERE, LATE, RARE, NEVER = "SKU-HERE", "SKU-THERE", "SKU-LATE", "SKU-RARE", "SKU-NEVER"
WITHIN_S, AGAIN_S = 40.0, 0.1
EXPIRES_AFTER = timedelta(seconds=4)


@dataclass(frozen=True)
class Told:
    """A request under its key, and what was answered."""

    path: str
    key: str
    sent: Body
    answer: Answer


@dataclass
class Life:
    tenant: Tenant
    sandbox: Sandbox
    told: list[Told] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    """The status in which each shipment must come to rest, by id."""

    @property
    def receipts(self) -> dict[str, Body]:
        """The acknowledged entries, by id."""
        return {t.answer.json["id"]: t.answer.json for t in self.told if t.path == "/v1/inventory/ledger"}

    @property
    def order_ids(self) -> Sequence[str]:
        return sorted({t.sent["order_id"] for t in self.told if t.path == "/v1/shipments"})

    async def write(self, path: str, sent: Body, status: int) -> Answer:
        """Asks under one key until there is an answer, which must have the status."""
        key = str(uuid4())

        async def once() -> Answer | None:
            return await self._try(lambda: self.tenant.api.post(path, sent, idempotency_key=key))

        answer = await eventually(once, lambda answer: answer is not None, within_s=WITHIN_S, poll_s=AGAIN_S)
        assert answer is not None
        assert answer.status == status, answer
        self.told.append(Told(path, key, sent, answer))
        return answer

    async def receive(self, qty: int, sku: str, warehouse: str) -> None:
        await self.write("/v1/inventory/ledger", movement(qty, sku, warehouse=warehouse), 200)

    async def request(self, lines: Body, *, end: str, order_id: str = "", name: str = "", **more: object) -> str:
        """A shipment of {sku: qty}, which is to end so; returns its id."""
        wanted = {
            "order_id": order_id or f"ord_{uuid4().hex[:12]}",
            "ship_to": {**ADDRESS, "name": name or ADDRESS["name"]},
            "line_items": [{"sku": sku, "qty": qty} for sku, qty in lines.items()],
            **more,
        }
        shipment_id = str((await self.write("/v1/shipments", wanted, 202)).json["id"])
        self.ends[shipment_id] = end
        return shipment_id

    async def dispatch(self, shipment_id: str, status: int = 200) -> None:
        await self.write(f"/v1/shipments/{shipment_id}/dispatch", {}, status)

    async def cancel(self, shipment_id: str, status: int = 200) -> None:
        await self.write(f"/v1/shipments/{shipment_id}/cancel", {}, status)

    async def sees(self, shipment_id: str, what: Callable[[Body], object]) -> Body:
        """The shipment, once it is so."""

        async def once() -> Body:
            answer = await self._try(lambda: self.tenant.api.get(f"/v1/shipments/{shipment_id}"))
            return dict(answer.json) if answer is not None else {"status": "", "parcels": []}

        return await eventually(once, what, within_s=WITHIN_S, poll_s=AGAIN_S)

    async def sees_status(self, shipment_id: str, status: str) -> Body:
        return await self.sees(shipment_id, lambda shipment: shipment["status"] == status)

    async def leave(self, shipment_id: str) -> None:
        """Dispatches it when it has its labels, and lets the carrier deliver it."""
        await self.sees_status(shipment_id, "label_ready")
        await self.dispatch(shipment_id)
        for parcel in (await self.sees_status(shipment_id, "shipped"))["parcels"]:
            assert (await self.sandbox.scan(parcel["tracking_number"], "delivered")).status == 201
        await self.sees_status(shipment_id, "delivered")

    async def _try(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """The answer; None where the outcome is unknown."""
        try:
            answer = await ask()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        return None if outcome_of(answer) is Outcome.UNKNOWN else answer


Story = Callable[[Life], Awaitable[None]]


async def live(life: Life, stories: Sequence[Story]) -> None:
    """Stock in two warehouses, then all stories at once."""
    for sku, warehouse in ((HERE, EAST), (THERE, WEST)):
        await life.receive(10, sku, warehouse)
    await life.receive(1, RARE, EAST)
    await asyncio.gather(*(story(life) for story in stories))


async def leaves_from_two_warehouses(life: Life) -> None:
    shipment_id = await life.request({HERE: 1, THERE: 1}, end="delivered", order_id="ord_1")
    await life.leave(shipment_id)
    await life.cancel(shipment_id, status=409)


async def waits_and_leaves(life: Life) -> None:
    shipment_id = await life.request({LATE: 2}, end="delivered")
    await life.sees_status(shipment_id, "backordered")
    await life.dispatch(shipment_id, status=409)
    await life.receive(2, LATE, WEST)
    await life.leave(shipment_id)


async def is_canceled_with_its_labels(life: Life) -> None:
    shipment_id = await life.request({HERE: 1, THERE: 1}, end="canceled", order_id="ord_1")
    await life.sees_status(shipment_id, "label_ready")
    await life.cancel(shipment_id)


async def is_canceled_at_once(life: Life) -> None:
    """Wherever it is by then: its label may be about to be bought."""
    await life.cancel(await life.request({HERE: 1}, end="canceled", order_id="ord_1"))


async def is_canceled_with_a_part(life: Life) -> None:
    shipment_id = await life.request({RARE: 2}, end="canceled", order_id="ord_1", allocation="partial")
    await life.sees_status(shipment_id, "backordered")
    await life.cancel(shipment_id)


async def waits_for_ever(life: Life) -> None:
    await life.sees_status(await life.request({NEVER: 1}, end="backordered"), "backordered")


async def leaves_after_trouble_with_the_carrier(life: Life) -> None:
    await life.leave(await life.request({HERE: 1}, end="delivered", name="SANDBOX_5XX x1"))


async def is_canceled_with_a_label_in_doubt(life: Life) -> None:
    shipment_id = await life.request({THERE: 1}, end="canceled", name="SANDBOX_LATE_SUCCESS")
    await life.sees(shipment_id, lambda shipment: [p for p in shipment["parcels"] if p["label_status"] != "none"])
    await life.cancel(shipment_id)


async def is_canceled_with_a_label_that_is_not_sold(life: Life) -> None:
    shipment_id = await life.request({THERE: 1}, end="canceled", name="SANDBOX_5XX")
    await life.sees(shipment_id, lambda shipment: [p for p in shipment["parcels"] if p["label_status"] == "unknown"])
    await life.cancel(shipment_id)


async def expires(life: Life) -> None:
    limit = (utc_now() + EXPIRES_AFTER).isoformat()
    shipment_id = await life.request({HERE: 1}, end="failed", hold_expires_at=limit)
    await life.sees_status(shipment_id, "failed")


EVERYDAY: Sequence[Story] = (
    leaves_from_two_warehouses,
    waits_and_leaves,
    is_canceled_with_its_labels,
    is_canceled_at_once,
    is_canceled_with_a_part,
    waits_for_ever,
)
TROUBLE: Sequence[Story] = (
    leaves_after_trouble_with_the_carrier,
    is_canceled_with_a_label_in_doubt,
    is_canceled_with_a_label_that_is_not_sold,
)
