"""Holding stock for requests: allocate, serve those that wait, release, expire, send back what no longer fits.

A request waits where its stock is short, and needs no message to be served: the queue is asked of the state again and
again (waker.py), so nothing that frees stock can be missed. What may follow what is told by requests.TRANSITIONS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from chassis import outbox
from chassis.clock import Clock
from chassis.errors import Fault
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline, Rows
from services.inventory import events, queue_store, request_store, requests, store
from services.inventory.domain import Stock, StockKey
from services.inventory.request_store import Described, Known, RequestKey, SkuKey
from services.inventory.requests import (
    FACT_OF_END,
    TRANSITIONS,
    AllocationStatus,
    Hold,
    HoldChange,
    StockRequest,
)
from services.inventory.shelf import Decision, Shelf
from services.inventory.sourcing import Coordinates
from skutrail.v1 import events_pb2, inventory_pb2

QUEUE_MAX = 200  # of those that could be served, looked at in one transaction
EXPLAINED_MAX = 50  # of those that one shortfall sends back: why they wait
EXPLAINED_SKUS_MAX = requests.LINES_MAX  # of all of them: those of one fit
EXPLAINED_LOOK_UPS_MAX = 10_000  # for all of them; the first may cost more
UNDECIDED = b""  # in the place of a decision that is over


async def allocate(
    pipeline: Pipeline, wanted: Sequence[StockRequest], clock: Clock, new_id: IdMaker
) -> list[inventory_pb2.Allocation | Fault]:
    """Holds stock for each request, or makes it wait; one outcome per request, in order. A request that is known is
    told how it stands; one that is not valid is refused."""
    valid = {_key(request): request for request in wanted if not requests.faults_of(request)}
    stands = await _allocate_valid(pipeline, valid, clock, new_id) if valid else {}
    return [
        events.allocation_message(request.id, stands[_key(request)]) if _key(request) in stands else refusal(request)
        for request in wanted
    ]


async def serve(pipeline: Pipeline, keys: Sequence[RequestKey], clock: Clock, new_id: IdMaker) -> int:
    """Holds what there is now for requests that wait, in the order of rank; returns how many got something."""
    [rows] = await pipeline.ask(request_store.finding(keys))
    skus = _skus(known.request for known in request_store.known_of(rows).values())
    if not skus:
        return 0
    shelf, _ = await _open_shelf(pipeline, skus, clock, new_id)
    served = await _serve_in_turn(pipeline, shelf, skus, set(keys), yields=False)
    await _announce(pipeline, served, clock(), new_id)
    return len(served)


async def release(
    pipeline: Pipeline, tenant_id: str, request_id: str, clock: Clock, new_id: IdMaker
) -> inventory_pb2.Allocation:
    """Gives back what is still held and ends the waiting. A request never seen is closed before it comes."""
    key = tenant_id, request_id
    [known] = await pipeline.ask(request_store.finding([key]))
    if not known:
        closed = StockRequest(tenant_id, request_id, ())
        pipeline.tell(*request_store.adding_requests([(closed, AllocationStatus.RELEASED, None)], clock()))
        await pipeline.flush()
    else:
        if request_store.known_of(known)[key].request.is_over(clock()):
            await expire(pipeline, [key], clock, new_id)
        await _end_and_announce(pipeline, [key], AllocationStatus.RELEASED, clock, new_id)
    return await describe(pipeline, key)


async def expire(pipeline: Pipeline, keys: Collection[RequestKey], clock: Clock, new_id: IdMaker) -> int:
    """Ends requests whose time is over; returns how many. Whoever needs the stock does it, not the sweeper alone."""
    return len(await _end_and_announce(pipeline, sorted(keys), AllocationStatus.EXPIRED, clock, new_id))


async def send_back(
    pipeline: Pipeline, key: StockKey, on_hand: int, now: datetime, new_id: IdMaker
) -> list[events_pb2.Event]:
    """Makes room below `on_hand` at a key that is locked: the youngest holds that no longer fit wait again, whole. Why
    they wait is decided anew with it: what they were held by is over."""
    stocks, holds = await pipeline.ask(store.reading([key]), request_store.open_holds_youngest_first(key))
    stock = store.stocks_of(stocks)[key]
    losers = requests.requests_that_no_longer_fit(stock._replace(on_hand=on_hand), request_store.holds_of(holds))
    freed = await _free(pipeline, [(key.tenant_id, loser) for loser in losers], AllocationStatus.WAITING, now)
    plans = await _why_they_wait(pipeline, freed, stock._replace(on_hand=on_hand), now)
    await _give_status(pipeline, {one: (AllocationStatus.WAITING, plans[one]) for one in freed})
    stands = await _describe(pipeline, freed)
    return [
        events.inventory_shortfall(key, on_hand, stock.held - on_hand, losers, now, new_id),
        *(events.allocation_changed(one, stands[one], now, new_id) for one in freed),
    ]


async def expire_at(pipeline: Pipeline, key: StockKey, clock: Clock, new_id: IdMaker) -> bool:
    """Ends the requests that hold stock at a key that is locked, and may not any more. False where there are none."""
    [rows] = await pipeline.ask(request_store.expired_at([(key.tenant_id, key.sku)], clock()))
    return bool(rows) and await expire(pipeline, _keys(rows), clock, new_id) > 0


async def describe(pipeline: Pipeline, key: RequestKey) -> inventory_pb2.Allocation:
    return events.allocation_message(key[1], await stand(pipeline, key))


async def stand(pipeline: Pipeline, key: RequestKey) -> Described:
    """How a request that is known stands."""
    return (await _describe(pipeline, [key]))[key]


@dataclass(frozen=True)
class Claimed:
    """Requests and all that they hold, locked."""

    known: Mapping[RequestKey, Known]
    holds: Sequence[Hold]
    stocks: Mapping[StockKey, Stock]


async def lock(pipeline: Pipeline, keys: Sequence[RequestKey]) -> Claimed:
    """Locks what the requests hold, then the requests, and reads both anew."""
    [rows] = await pipeline.ask(request_store.open_holds(keys))
    before = {hold.key for hold in request_store.holds_of(rows)}
    locked, known, rows = await pipeline.ask(
        store.locking(before), request_store.locking(keys), request_store.open_holds(keys)
    )
    stocks, holds = store.stocks_of(locked), request_store.holds_of(rows)
    # Before its lock, one that waited may have been held elsewhere. Locked out of order, hence perhaps repeated.
    if late := {hold.key for hold in holds} - before:
        stocks |= store.stocks_of((await pipeline.ask(store.locking(late)))[0])
    return Claimed(request_store.known_of(known), holds, stocks)


def refusal(request: StockRequest) -> Fault:
    return Fault("validation_failed", "The allocation is not valid.", fields=requests.faults_of(request))


async def _allocate_valid(
    pipeline: Pipeline, wanted: Mapping[RequestKey, StockRequest], clock: Clock, new_id: IdMaker
) -> Mapping[RequestKey, Described]:
    [found] = await pipeline.ask(request_store.finding(wanted))
    known = request_store.known_of(found)
    over = [key for key, one in known.items() if one.request.is_over(clock())]
    if over:
        await expire(pipeline, over, clock, new_id)
    new = {key: request for key, request in wanted.items() if key not in known}
    stands = await _allocate_new(pipeline, new, clock, new_id) if new else {}
    return {**stands, **(await _describe(pipeline, known) if known else {})}


async def _allocate_new(
    pipeline: Pipeline, new: Mapping[RequestKey, StockRequest], clock: Clock, new_id: IdMaker
) -> Mapping[RequestKey, Described]:
    skus = _skus(new.values())
    shelf, [contested] = await _open_shelf(pipeline, skus, clock, new_id, request_store.contested(skus))
    decisions, joining = _decide_new(shelf, new, {(row.tenant_id, row.sku) for row in contested})
    _tell_new(pipeline, shelf, new, decisions)
    # Who comes to a queue does not pass those before it.
    served = await _serve_in_turn(pipeline, shelf, skus, joining, yields=True) if joining else []
    stands = {key: _as_decided(new[key], decision) for key, decision in decisions.items()}
    return {**stands, **(await _describe(pipeline, served) if served else {})}


def _decide_new(
    shelf: Shelf, new: Mapping[RequestKey, StockRequest], contested: set[SkuKey]
) -> tuple[dict[RequestKey, Decision], set[RequestKey]]:
    """A decision per request, and which of them come to a SKU that others wait for: they begin by waiting too."""
    decisions: dict[RequestKey, Decision] = {}
    joining = set()
    for key, request in new.items():
        if request.is_over(shelf.now):
            decisions[key] = shelf.pass_over(request, AllocationStatus.EXPIRED)
        elif contested & _skus([request]):
            decisions[key] = shelf.pass_over(request, AllocationStatus.WAITING)
            joining.add(key)
        else:
            decisions[key] = shelf.decide(request, request.wanted)
            shelf.hold(request, decisions[key])
        contested |= {(request.tenant_id, sku) for sku, units in decisions[key].missing.items() if units}
    return decisions, joining


def _tell_new(
    pipeline: Pipeline,
    shelf: Shelf,
    new: Mapping[RequestKey, StockRequest],
    decisions: Mapping[RequestKey, Decision],
) -> None:
    rows = [
        (request, decisions[key].status, events.plan_message(decisions[key], shelf.now).SerializeToString())
        for key, request in new.items()
    ]
    pipeline.tell(*request_store.adding_requests(rows, shelf.now))
    lines = {key: request.wanted for key, request in new.items()}
    pipeline.tell(*request_store.adding_lines(lines, {key: decision.missing for key, decision in decisions.items()}))
    shelf.tell(pipeline)


async def _serve_in_turn(
    pipeline: Pipeline, shelf: Shelf, skus: Collection[SkuKey], ours: Collection[RequestKey], *, yields: bool
) -> list[RequestKey]:
    """Holds what there is for those of ours that wait, in the order of rank; returns who got something.

    `yields`: to those that are not ours and could be served before; it is not for us to serve them.
    """
    locked, queue = await pipeline.ask(
        request_store.locking(ours), queue_store.serveable_of(skus, shelf.now, QUEUE_MAX)
    )
    known = {key: one for key, one in request_store.known_of(locked).items() if one.status is AllocationStatus.WAITING}
    served: dict[RequestKey, Decision] = {}
    spent: Counter[SkuKey] = Counter()
    blocked: set[SkuKey] = set()
    for waiting in queue_store.waiting_of(queue):
        if waiting.key not in known and not yields:
            continue
        if waiting.key in known and not waiting.skus & blocked:
            tenant_id, request = waiting.key[0], known[waiting.key].request
            left = {sku: units - spent[tenant_id, sku] for sku, units in waiting.left_over.items()}
            decision = shelf.decide(request, waiting.missing, left=left)
            if decision.takes_something:
                shelf.hold(request, decision)
                served[waiting.key] = decision
                if not waiting.has_waited_long:  # what was kept for those that have was never left over
                    spent.update({(tenant_id, sku): units for sku, units in decision.taken.items()})
                continue
        # It fitted when the queue was read. What there is of these SKUs from now on is for it, not for those behind it.
        blocked |= waiting.skus
    if served:
        plans = {key: events.plan_message(one, shelf.now).SerializeToString() for key, one in served.items()}
        pipeline.tell(*request_store.changing_requests({k: (one.status, plans[k]) for k, one in served.items()}))
        pipeline.tell(*request_store.setting_missing({key: one.missing for key, one in served.items()}))
        shelf.tell(pipeline)
    return list(served)


async def _open_shelf(
    pipeline: Pipeline, skus: Collection[SkuKey], clock: Clock, new_id: IdMaker, *more: store.Query
) -> tuple[Shelf, list[Rows]]:
    """Locks the stock of the SKUs, and asks more behind the locks. What holds some of it and has expired is ended
    first: it decides nothing any more."""
    questions = (request_store.locking_stocks(skus), request_store.reading_sites(skus), *more)
    over, stocks, sites, *answers = await pipeline.ask(request_store.expired_at(skus, clock()), *questions)
    if over:
        await expire(pipeline, _keys(over), clock, new_id)
        stocks, sites, *answers = await pipeline.ask(*questions)
    return Shelf(store.stocks_of(stocks), request_store.sites_of(sites), clock()), answers


async def _end_and_announce(
    pipeline: Pipeline, keys: Sequence[RequestKey], status: AllocationStatus, clock: Clock, new_id: IdMaker
) -> list[RequestKey]:
    ended = await _end(pipeline, keys, status, clock())
    await _announce(pipeline, ended, clock(), new_id)
    return ended


async def _end(
    pipeline: Pipeline, keys: Sequence[RequestKey], status: AllocationStatus, now: datetime
) -> list[RequestKey]:
    """Frees what the requests still hold, and gives them the status; returns those that may take it."""
    freed = await _free(pipeline, keys, status, now)
    await _give_status(pipeline, dict.fromkeys(freed, (status, None)))
    return list(freed)


async def _free(
    pipeline: Pipeline, keys: Sequence[RequestKey], status: AllocationStatus, now: datetime
) -> dict[RequestKey, StockRequest]:
    """Frees what is still held by those of the requests that may take the status, and returns them: it is theirs to
    be given."""
    claimed = await lock(pipeline, keys)
    freed = {
        key: claimed.known[key].request
        for key in keys
        if key in claimed.known and status in TRANSITIONS[claimed.known[key].status]
    }
    holds = [hold for hold in claimed.holds if (hold.key.tenant_id, hold.request_id) in freed]
    if holds:
        stocks = dict(claimed.stocks)
        for hold in holds:
            stocks[hold.key] = stocks[hold.key]._replace(held=stocks[hold.key].held - hold.open)
        changes = [HoldChange(hold.key, hold.request_id, FACT_OF_END[status], hold.open) for hold in holds]
        pipeline.tell(*store.saving_stocks([stocks[key] for key in sorted({hold.key for hold in holds})]))
        pipeline.tell(*request_store.ending_holds(changes))
        pipeline.tell(*request_store.adding_facts(changes, now))
    if freed:
        pipeline.tell(*request_store.missing_all(freed, waits=status is AllocationStatus.WAITING))
    return freed


async def _give_status(pipeline: Pipeline, changed: Mapping[RequestKey, tuple[AllocationStatus, bytes | None]]) -> None:
    if changed:
        pipeline.tell(*request_store.changing_requests(changed))
        await pipeline.flush()


async def _why_they_wait(
    pipeline: Pipeline, freed: Mapping[RequestKey, StockRequest], short: Stock, now: datetime
) -> dict[RequestKey, bytes]:
    """The decision that gives them nothing, by what else there is. Whoever serves them decides by what is locked then.

    Only of the first: stock is locked meanwhile, and thousands can lose at once. The others are undecided until
    something comes for them. `short`: the stock that became less, as it will be once that is saved.
    """
    plans = dict.fromkeys(freed, UNDECIDED)
    explained = _first_few(freed)
    skus = _skus(explained.values())
    if not skus:
        return plans
    stocks, sites, standing = await pipeline.ask(
        request_store.reading_stocks(skus, now), request_store.reading_sites(skus), request_store.describing(explained)
    )
    left = store.stocks_of(stocks)
    left[short.key] = left[short.key]._replace(on_hand=short.on_hand)
    shelf, stands = Shelf(left, request_store.sites_of(sites), now), request_store.described_of(standing)
    rests = {key: _not_picked(request, stands[key].holds) for key, request in explained.items()}
    return plans | _passed_over(shelf, explained, rests)


def _first_few(freed: Mapping[RequestKey, StockRequest]) -> dict[RequestKey, StockRequest]:
    """What is read for them is bounded as well."""
    explained: dict[RequestKey, StockRequest] = {}
    skus: set[SkuKey] = set()
    for key, request in islice(freed.items(), EXPLAINED_MAX):
        skus |= _skus([request])
        if len(skus) > EXPLAINED_SKUS_MAX:
            break
        explained[key] = request
    return explained


def _passed_over(
    shelf: Shelf, explained: Mapping[RequestKey, StockRequest], rests: Mapping[RequestKey, Mapping[str, int]]
) -> dict[RequestKey, bytes]:
    """The same for all that want the same: it is decided once. As many as cost EXPLAINED_LOOK_UPS_MAX, and the first
    in any case: that is no more than to allocate it."""
    plans: dict[RequestKey, bytes] = {}
    decided: dict[tuple[frozenset[tuple[str, int]], Coordinates | None], bytes] = {}
    look_ups = 0
    for key, request in explained.items():
        same = frozenset(rests[key].items()), request.destination
        if same not in decided:
            look_ups += shelf.look_ups(request.tenant_id, rests[key])
            if decided and look_ups > EXPLAINED_LOOK_UPS_MAX:
                continue
            decision = shelf.pass_over(request, AllocationStatus.WAITING, rests[key])
            decided[same] = events.plan_message(decision, shelf.now).SerializeToString()
        plans[key] = decided[same]
    return plans


def _not_picked(request: StockRequest, holds: Sequence[Hold]) -> dict[str, int]:
    rest = Counter(request.wanted)
    for hold in holds:
        rest[hold.key.sku] -= hold.consumed
    return {sku: units for sku, units in rest.items() if units}


async def _announce(pipeline: Pipeline, keys: Sequence[RequestKey], now: datetime, new_id: IdMaker) -> None:
    if keys:
        stands = await _describe(pipeline, keys)
        outbox.tell_together(pipeline, [events.allocation_changed(key, stands[key], now, new_id) for key in keys])


async def _describe(pipeline: Pipeline, keys: Iterable[RequestKey]) -> dict[RequestKey, Described]:
    return request_store.described_of((await pipeline.ask(request_store.describing(keys)))[0])


def _as_decided(request: StockRequest, decision: Decision) -> Described:
    """How a request stands that was new."""
    places = decision.plan.placements
    holds = [Hold(StockKey(request.tenant_id, one.sku, one.warehouse), request.id, one.qty) for one in places]
    return Described(decision.status, 1, holds)


def _key(request: StockRequest) -> RequestKey:
    return request.tenant_id, request.id


def _keys(rows: Rows) -> list[RequestKey]:
    return sorted((row.tenant_id, row.request_id) for row in rows)


def _skus(wanted: Iterable[StockRequest]) -> set[SkuKey]:
    return {(request.tenant_id, sku) for request in wanted for sku in request.wanted}
