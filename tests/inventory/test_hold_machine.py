"""Whatever happens to stock, in whatever order: requests, holds and levels are what a naive model says they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chassis.database import Database, create_engine
from chassis.errors import Fault
from chassis.ids import new_id
from services.inventory import operations
from services.inventory.domain import Movement, Reason
from services.inventory.requests import Policy
from tests.inventory.conftest import Inventory, Place
from tests.inventory.hold_model import EXPIRED, UNDER_WAY, Model
from tests.inventory.test_tampering import look

START = datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC)
SKUS, WAREHOUSES = ("X", "Y"), ("A", "B", "C")
skus, warehouses = st.sampled_from((*SKUS, "X")), st.sampled_from(WAREHOUSES)
names = st.integers(0, 14).map("shp_{}".format)  # few: what is known already must come up too
units = st.integers(1, 6)
SETTINGS = settings(
    deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None, print_blob=True
)


class Wanted(NamedTuple):
    name: str
    lines: list[tuple[str, int]]
    policy: Policy
    priority: int
    lasts: int | None


requests = st.builds(
    Wanted,
    name=names,
    lines=st.lists(st.tuples(skus, units | st.just(12)), min_size=1, max_size=3),
    policy=st.sampled_from(Policy),
    priority=st.sampled_from([0, 0, 0, 1, 100]),
    lasts=st.sampled_from([None, None, 0, 60, 4_000]),
)

_REQUESTS = """
    SELECT a.request_id, a.status, a.version, a.expires_at,
        (SELECT jsonb_object_agg(sku, missing) FROM allocation_line l WHERE missing > 0
            AND l.tenant_id = a.tenant_id AND l.request_id = a.request_id) AS missing,
        (SELECT jsonb_agg(jsonb_build_array(sku, warehouse, open, consumed)) FROM hold h
            WHERE h.tenant_id = a.tenant_id AND h.request_id = a.request_id) AS holds
    FROM allocation a WHERE tenant_id = :tenant
"""
_HELD = """
    SELECT sku, warehouse, held, on_hand, (SELECT coalesce(sum(open), 0) FROM hold h WHERE
        h.tenant_id = b.tenant_id AND h.sku = b.sku AND h.warehouse = b.warehouse) AS open
    FROM balance b WHERE tenant_id = :tenant
"""
_WRONG = f"SELECT * FROM ({_HELD}) b WHERE held <> open OR held < 0 OR held > on_hand"


class Timed(Inventory):
    """An inventory whose clock is the model's."""

    model: Model

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.model.now)


class Machine(RuleBasedStateMachine):
    def __init__(self, database: Database, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        super().__init__()
        self.run, self.model = run, Model()
        self.inventory = Timed(database, new_id("tenant"))
        self.inventory.model = self.model
        self.waker = self.inventory.waker
        self.told: dict[str, tuple[int, object]] = {}

    @initialize(
        stock=st.lists(st.tuples(skus, warehouses, units), min_size=2, max_size=5),
        requests=st.lists(requests, min_size=2, max_size=6),
    )
    def begin(self, stock: list[tuple[str, str, int]], requests: list[Wanted]) -> None:
        for sku, warehouse, qty in stock:
            self.receipt(sku, warehouse, qty)
        self.allocate(requests)

    @rule(sku=skus, warehouse=warehouses, qty=units)
    def receipt(self, sku: str, warehouse: str, qty: int) -> None:
        assert self._moves(qty, Reason.RECEIPT, sku, warehouse)
        self.model.add((sku, warehouse), qty)

    @rule(sku=skus, warehouse=warehouses, qty=units, reference=st.none() | names)
    def pick(self, sku: str, warehouse: str, qty: int, reference: str | None) -> None:
        self._picks(sku, warehouse, qty, reference)

    @rule(qty=units, data=st.data())
    def pick_what_is_held(self, qty: int, data: st.DataObject) -> None:
        """As a warehouse does: with the request's id, at a place where something is held for it."""
        held = [(name, *place) for name, request in self.model.requests.items() for place in request.open]
        if held:
            name, sku, warehouse = data.draw(st.sampled_from(sorted(held)))
            self._picks(sku, warehouse, qty, name)

    @rule(sku=skus, warehouse=warehouses, change=st.integers(-6, 6).filter(bool))
    def adjust(self, sku: str, warehouse: str, change: int) -> None:
        done = self._moves(change, Reason.ADJUSTMENT, sku, warehouse)
        assert done == self.model.adjust((sku, warehouse), change)

    @rule(data=st.data())
    def fall_short(self, data: st.DataObject) -> None:
        """Fewer are found than are held."""
        places = [place for place in self.model.on_hand if self.model.held(place)]
        if places:
            sku, warehouse = place = data.draw(st.sampled_from(sorted(places)))
            lost = data.draw(st.integers(self.model.free(place) + 1, self.model.on_hand[place]))
            self.adjust(sku, warehouse, -lost)

    @rule(sku=skus, places=st.permutations(WAREHOUSES), qty=units)
    def transfer(self, sku: str, places: list[str], qty: int) -> None:
        giver, taker, _ = places
        out = Movement(self.inventory.key(sku, giver), -qty, Reason.TRANSFER)
        into = self.inventory.key(sku, taker)
        moving = self.inventory.database.run_pipelined(
            lambda p: operations.record_transfer(p, out, into, self.inventory.clock, new_id)
        )
        if self.model.transfer(sku, giver, taker, qty):
            assert len(self.run(moving).entries) == 2
        else:
            with pytest.raises(Fault) as refused:
                self.run(moving)
            assert refused.value.code == "insufficient_stock"

    @rule(requests=st.lists(requests, min_size=1, max_size=3))
    def allocate(self, requests: list[Wanted]) -> None:
        for one in requests:
            self._allocates(one)

    @rule(name=names)
    def release(self, name: str) -> None:
        self.model.release(name)
        stands = self.run(self.inventory.release(name))
        self._is_as_the_model_says(name, stands.status, stands.held)

    @rule(name=names)
    def dispatch(self, name: str) -> None:
        if not self.model.dispatch(name):
            with pytest.raises(Fault, match="no such request"):
                self.run(self.inventory.dispatch(name))
            return
        stands = self.run(self.inventory.dispatch(name))
        self._is_as_the_model_says(name, stands.status, stands.held)

    @rule(warehouse=warehouses, is_active=st.booleans())
    def switch(self, warehouse: str, is_active: bool) -> None:
        self.run(self.inventory.put_warehouse(warehouse, active=is_active))
        (self.model.inactive.discard if is_active else self.model.inactive.add)(warehouse)

    @rule(seconds=st.sampled_from([1, 60, 3_600]), is_woken=st.booleans())
    def time_passes(self, seconds: int, is_woken: bool) -> None:
        self.model.passes(seconds)
        if is_woken:
            self.wake()

    @rule()
    def sweep(self) -> None:
        while self.run(self.waker.expire_due()):
            pass

    @rule()
    def wake(self) -> None:
        self.model.wake()
        while self.run(self.waker.serve_waiting()):
            pass
        assert self.run(self.inventory.serveable()) == []

    @invariant()
    def requests_stand_as_the_model_says(self) -> None:
        rows = self.run(self.inventory.ask(_REQUESTS))
        assert {row.request_id for row in rows} == self.model.requests.keys()
        for row in rows:
            request, holds = self.model.requests[row.request_id], row.holds or []
            is_over = row.status in UNDER_WAY and request.is_over(self.model.now)
            assert (EXPIRED if is_over else row.status) == request.status, row.request_id
            opened = {(sku, warehouse): qty for sku, warehouse, qty, _ in holds if qty and not is_over}
            picked = {(sku, warehouse): qty for sku, warehouse, _, qty in holds if qty}
            assert (opened, picked) == (request.open, request.picked), row.request_id
            assert ({} if is_over else row.missing or {}) == request.missing, row.request_id
            self._is_told_by_version(row.request_id, row.version, (row.status, sorted(opened), row.missing))

    @invariant()
    def levels_are_as_the_model_says(self) -> None:
        waiting = {
            sku: sum(one.missing.get(sku, 0) for one in self.model.requests.values() if one.status in UNDER_WAY)
            for sku in SKUS
        }
        for level in self.run(self.inventory.levels()):
            place = level.sku, level.warehouse
            assert level.on_hand == self.model.on_hand.get(place, 0), place
            assert level.held == self.model.held(place), place
            assert level.waiting == waiting[level.sku], place

    @invariant()
    def what_is_held_is_the_sum_of_the_open_holds_and_on_hand(self) -> None:
        assert self.run(self.inventory.ask(_WRONG)) == []

    def teardown(self) -> None:
        report = self.run(look(self.inventory))
        for name in self.model.requests:
            self.run(self.inventory.release(name))  # the next one's waker looks at all tenants
        assert report.is_whole, list(report.findings())

    def _allocates(self, one: Wanted) -> None:
        wanted: dict[str, int] = {}
        for sku, qty in one.lines:
            wanted[sku] = wanted.get(sku, 0) + qty
        expires_at = None if one.lasts is None else self.model.now + one.lasts
        self.model.allocate(one.name, wanted, one.policy is Policy.PARTIAL, one.priority, expires_at)
        ends = None if one.lasts is None else self.inventory.clock() + timedelta(seconds=one.lasts)

        options = {"policy": one.policy, "priority": one.priority, "expires_at": ends}
        stands = self.run(self.inventory.allocate(one.name, *one.lines, **options))

        self._is_as_the_model_says(one.name, stands.status, stands.held)

    def _moves(self, qty: int, reason: Reason, sku: str, warehouse: str, **more: str) -> bool:
        outcome = self.run(self.inventory.move(qty, reason, sku=sku, warehouse=warehouse, **more))
        assert not isinstance(outcome.answer, Fault) or outcome.answer.code == "insufficient_stock"
        return not isinstance(outcome.answer, Fault)

    def _picks(self, sku: str, warehouse: str, qty: int, reference: str | None) -> None:
        done = self._moves(qty, Reason.PICK, sku, warehouse, **({"reference": reference} if reference else {}))
        assert done == self.model.pick((sku, warehouse), qty, reference)

    def _is_as_the_model_says(self, name: str, status: int, held: Any) -> None:
        request = self.model.requests[name]
        assert status == request.status
        assert {(line.sku, line.warehouse): line.qty for line in held} == request.has

    def _is_told_by_version(self, name: str, version: int, stands: object) -> None:
        """A reader ignores a version that it has seen: so nothing may change under one."""
        seen, before = self.told.get(name, (0, None))
        assert version > seen or (version == seen and stands == before) or _was_only_picked(before, stands)
        self.told[name] = version, stands


def _was_only_picked(before: Any, stands: Any) -> bool:
    return bool(before) and before[0] == stands[0] and set(stands[1]) <= set(before[1])


def run(place: Place, profile: settings) -> None:
    """On a loop of its own: hypothesis does not await."""
    loop = asyncio.new_event_loop()
    database = Database(create_engine(place.application))
    try:
        run_state_machine_as_test(partial(Machine, database, loop.run_until_complete), settings=profile)
    finally:
        loop.run_until_complete(database.engine.dispose())
        loop.close()


def test_holds_live_as_the_model_says(place: Place) -> None:
    run(place, settings(SETTINGS, max_examples=25, stateful_step_count=50))


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_holds_live_as_the_model_says_for_long(place: Place) -> None:
    run(place, settings(SETTINGS, max_examples=500, stateful_step_count=60, phases=[Phase.generate, Phase.shrink]))
