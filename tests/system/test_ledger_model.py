"""Random histories against the running system: every reply is what a small model of the ledger foretells."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.builders import Body, Tenant, eventually, movement
from tests.gateway.asking import Answer
from tests.system.model import Model, Place, Request

T = TypeVar("T")

WAREHOUSES = ("EAST", "WEST")
BOUNDS = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

letters = st.sampled_from("AAB")
warehouses = st.sampled_from(WAREHOUSES)
changes = st.one_of(
    st.tuples(st.just("receipt"), st.integers(1, 12)),
    st.tuples(st.just("pick"), st.integers(-9, 9).filter(bool)),
    st.tuples(st.sampled_from(["adjustment", "transfer"]), st.integers(-12, 12).filter(bool)),
)
ENOUGH_FOR_NOBODY = 1_000_000_000


@dataclass(frozen=True)
class Told:
    """A keyed write, and what was answered to it."""

    key: str
    sent: Body
    answer: Answer


class Ledger(RuleBasedStateMachine):
    """One history, on SKUs of its own. Its rules run in a thread beside the event loop of the client."""

    def __init__(self, tenant: Tenant, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.tenant, self.loop = tenant, loop
        self.run_id = uuid4().hex[:12]
        self.model = Model(WAREHOUSES)
        self.told: list[Told] = []

    @rule(letter=letters, warehouse=warehouses, change=changes)
    def record(self, letter: str, warehouse: str, change: tuple[str, int]) -> None:
        reason, qty = change
        self.check_record(movement(qty, self.sku(letter), reason=reason, warehouse=warehouse))

    @precondition(lambda self: self.model.requests)
    @rule(data=st.data(), warehouse=warehouses, qty=st.integers(1, 6))
    def pick_for_a_shipment(self, data: st.DataObject, warehouse: str, qty: int) -> None:
        request = data.draw(st.sampled_from(self.model.requests))
        self.check_record(movement(qty, request.sku, reason="pick", warehouse=warehouse, reference=request.id))

    @precondition(lambda self: self.held_places())
    @rule(data=st.data())
    def adjust_below_what_is_held(self, data: st.DataObject) -> None:
        sku, warehouse = data.draw(st.sampled_from(self.held_places()))
        on_hand = self.model.on_hand[sku, warehouse]
        left = data.draw(st.integers(0, on_hand - self.model.available((sku, warehouse)) - 1))
        self.check_record(movement(left - on_hand, sku, reason="adjustment", warehouse=warehouse))

    @rule(letter=letters, qty=st.integers(1, 8))
    def ship(self, letter: str, qty: int) -> None:
        shipment_id = self.ask(self.tenant.ship(qty, self.sku(letter)))
        self.ask(self.tenant.shipment_that_is(shipment_id, "backordered", "allocated", "label_ready"))
        self.model.ship(shipment_id, self.sku(letter), qty)
        self.check_settled(self.sku(letter))

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def repeat_an_earlier_write(self, data: st.DataObject) -> None:
        earlier = data.draw(st.sampled_from(self.told))

        again = self.post(earlier.sent, earlier.key)

        assert (again.status, again.body) == (earlier.answer.status, earlier.answer.body)
        assert again.headers["Idempotent-Replayed"] == "true"

    @precondition(lambda self: self.told)
    @rule(data=st.data(), more=st.integers(1, 9))
    def use_an_earlier_key_for_another_write(self, data: st.DataObject, more: int) -> None:
        earlier = data.draw(st.sampled_from(self.told))

        refused = self.post({**earlier.sent, "qty": earlier.sent["qty"] + 100 + more}, earlier.key)

        assert (refused.status, refused.code) == (422, "idempotency_key_reused")

    @rule(letter=letters, wrong=st.sampled_from([{"qty": 0}, {"qty": -1}, {"qty": 1.5}, {"reason": "gift"}, {"x": 1}]))
    def send_what_is_not_valid_and_use_its_key_again(self, letter: str, wrong: Body) -> None:
        valid, key = movement(1, self.sku(letter), warehouse="EAST"), str(uuid4())

        refused = self.post({**valid, **wrong}, key)

        assert (refused.status, refused.code) == (422, "validation_failed")
        self.check_record(valid, key)

    def teardown(self) -> None:
        sums: Counter[Place] = Counter()
        for told in self.told:
            if told.answer.status == 200:
                entry = told.answer.json
                sums[entry["sku"], entry["warehouse"]] += entry["qty"]
        for place, on_hand in self.model.on_hand.items():
            assert self.ask(self.tenant.balance(*place)) == sums[place] == on_hand
        for request in self.model.requests:
            self.check_shipment(request)

    def check_record(self, sent: Body, key: str = "") -> None:
        key = key or str(uuid4())
        status, facts = self.model.record(sent)

        answer = self.post(sent, key)

        assert (answer.status, answer.code) == (status, "" if status == 200 else "insufficient_stock"), answer
        assert {name: answer.json[name] for name in facts} == facts
        assert "Idempotent-Replayed" not in answer.headers
        self.told.append(Told(key, sent, answer))
        if status == 200:
            self.check_settled(sent["sku"])

    def check_settled(self, sku: str) -> None:
        """Waiting requests are served beside the call that brought their stock: soon, and exactly as foretold."""
        if not any(request.sku == sku for request in self.model.requests):
            return
        expected = {warehouse: self.model.available((sku, warehouse)) for warehouse in WAREHOUSES}
        self.ask(eventually(lambda: self.available(sku), lambda seen: seen == expected))

    async def available(self, sku: str) -> dict[str, int]:
        """Asked of the ledger by picks that it must refuse."""
        picks = [
            await self.tenant.record(ENOUGH_FOR_NOBODY, sku, reason="pick", warehouse=warehouse)
            for warehouse in WAREHOUSES
        ]
        return dict(zip(WAREHOUSES, [int(pick.json["available"]) for pick in picks], strict=True))

    def check_shipment(self, request: Request) -> None:
        status = "backordered" if request.waits else "label_ready"
        allocations = [{"sku": request.sku, "warehouse": w, "qty": qty} for w, qty in request.allocations().items()]

        async def seen() -> tuple[str, list[Body]]:
            shipment = await self.tenant.shipment(request.id)
            return shipment["status"], shipment["allocations"]

        self.ask(eventually(seen, lambda found: found == (status, allocations)))

    def post(self, sent: Body, key: str) -> Answer:
        return self.ask(self.tenant.api.post("/v1/inventory/ledger", sent, idempotency_key=key))

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(question, self.loop).result(timeout=30)

    def held_places(self) -> list[Place]:
        return sorted({(request.sku, warehouse) for request in self.model.requests for warehouse in request.open})

    def sku(self, letter: str) -> str:
        return f"{self.run_id}-{letter}"


async def test_every_reply_is_what_the_model_foretells(tenant: Tenant) -> None:
    loop = asyncio.get_running_loop()

    def histories() -> None:
        run_state_machine_as_test(lambda: Ledger(tenant, loop), settings=BOUNDS)  # type: ignore[arg-type]

    await asyncio.to_thread(histories)
