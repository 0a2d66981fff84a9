"""What must be true of shipments, stock, labels, orders and events once everything has come to rest. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from chassis.jetstream import ConsumerSpec, connected
from cli.local.stack import Stack
from services.inventory.audit import Scope, audit
from services.orders import topology as orders
from services.shipments import topology as shipments
from services.webhooks import topology as webhooks
from tests.system.books import (
    Books,
    Shipment,
    faults_of_chains,
    faults_of_events,
    faults_of_labels,
    read_books,
)
from tests.system.lives import Life
from tests.system.subscriber import Subscriber

CONSUMERS: Sequence[ConsumerSpec] = (*shipments.CONSUMERS, *orders.CONSUMERS, *webhooks.CONSUMERS)
Lines = Mapping[str, Mapping[str, int]]
"""Units of each kind, by SKU."""
LEFT, WAITING, ENDED = ("shipped", "delivered"), ("backordered",), ("canceled", "failed")


async def faults_of_rest(stack: Stack, life: Life, hears: Subscriber) -> list[str]:
    """All that is not at rest, or not as it must be; a few of each kind."""
    books = await read_books(stack, life.tenant.id)
    found = [
        *_some(faults_of_entries(books, life.receipts)),
        *_some(faults_of_ends(books, life.ends)),
        *_some(faults_of_picks(books)),
        *_some(faults_of_holds(books)),
        *_some(faults_of_chains(books)),
        *_some(faults_of_labels(books)),
        *_some(faults_of_sales(books, {p.reference: await life.sandbox.sales(p.reference) for p in books.parcels})),
        *_some(faults_of_lines(books, {order_id: await _told_of_lines(life, order_id) for order_id in life.order_ids})),
        *_some(faults_of_events(books, hears.events())),
        *_some([fault async for fault in _faults_of_consumers(stack)]),
    ]
    return found or [fault async for fault in _faults_of_the_audit(stack, life.tenant.id)]


def faults_of_entries(books: Books, receipts: Mapping[str, Any]) -> Iterator[str]:
    """What was received is recorded once; all else is picks of shipments."""
    received = {entry.id for entry in books.entries if entry.reference is None}
    yield from (f"lost: {receipts[entry_id]}" for entry_id in receipts.keys() - received)
    yield from (f"recorded, though nobody was told: {entry_id}" for entry_id in received - receipts.keys())


def faults_of_ends(books: Books, ends: Mapping[str, str]) -> Iterator[str]:
    """Each shipment that somebody was told of is there once, where it must have come to."""
    statuses = {shipment.id: shipment.status for shipment in books.shipments}
    for shipment_id in statuses.keys() | ends.keys():
        if statuses.get(shipment_id) != ends.get(shipment_id):
            yield f"{shipment_id} must be {ends.get(shipment_id)} and is {statuses.get(shipment_id)}"


def faults_of_picks(books: Books) -> Iterator[str]:
    """What left was picked exactly once, where it was allocated; nothing else was."""
    left = {shipment.id: shipment for shipment in books.shipments if shipment.status in LEFT}
    picked: dict[str, list[tuple[str, str, int]]] = {shipment_id: [] for shipment_id in left}
    for entry in books.entries:
        if entry.reference is not None:
            picked.setdefault(entry.reference, []).append((entry.sku, entry.warehouse, -entry.qty))
    for shipment_id, picks in picked.items():
        wanted = _allocated(left[shipment_id]) if shipment_id in left else []
        if sorted(picks) != wanted:
            yield f"{shipment_id}: picked {picks} for {wanted}"
    for shipment in left.values():
        if sum(qty for *_, qty in _allocated(shipment)) != sum(line["qty"] for line in shipment.line_items):
            yield f"left without all of it: {shipment}"


def faults_of_holds(books: Books) -> Iterator[str]:
    """Only who waits holds anything, and just what it says."""
    holds: dict[str, list[tuple[str, str, int]]] = {}
    for hold in books.holds:
        if hold.open:
            holds.setdefault(hold.request_id, []).append((hold.sku, hold.warehouse, hold.open))
    waiting = {shipment.id: _allocated(shipment) for shipment in books.shipments if shipment.status in WAITING}
    for shipment_id in holds.keys() | waiting.keys():
        if sorted(holds.get(shipment_id, [])) != waiting.get(shipment_id, []):
            yield f"{shipment_id} says {waiting.get(shipment_id)}, inventory holds {holds.get(shipment_id)}"
    for shipment in books.shipments:
        if shipment.status in ENDED and shipment.allocations:
            yield f"ended, and still with stock: {shipment}"


def faults_of_sales(books: Books, sales: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """A label for every parcel that left, and no other that was not given back.

    `sales`: how many labels the carrier itself says it sold, and took back, by reference.
    """
    left = {shipment.id: shipment for shipment in books.shipments if shipment.status in LEFT}
    in_use: Counter[str] = Counter()
    for parcel in books.parcels:
        sold, voided = sales[parcel.reference]
        in_use[parcel.shipment_id] += sold - voided
        settled = _GIVEN_BACK | _USED if parcel.shipment_id in left else _GIVEN_BACK
        if (parcel.label_status, sold, voided) not in settled:
            yield f"{parcel}: {sold} labels sold and {voided} given back"
    for shipment in left.values():
        warehouses = {line["warehouse"] for line in shipment.allocations}
        if in_use[shipment.id] != len(warehouses):
            yield f"{in_use[shipment.id]} labels in use for {shipment}"


# A label's state with us, and how many the carrier sold and took back.
_USED = {("ready", 1, 0)}
_GIVEN_BACK = {("none", 0, 0), ("voided", 1, 1)}


def faults_of_lines(books: Books, told: Mapping[str, Lines]) -> Iterator[str]:
    """What each order tells of its lines adds up, and is what its shipments make of them."""
    for order_id, lines in told.items():
        wanted = _lines(shipment for shipment in books.shipments if shipment.order_id == order_id)
        if lines != wanted:
            yield f"{order_id} tells {lines}, its shipments make {wanted}"
        for line in lines.values():
            if line["ordered"] != sum(line.values()) - line["ordered"]:
                yield f"{order_id} does not add up: {line}"


_IN_A_LINE = ("ordered", "waiting", "allocated", "shipped", "canceled")


async def _told_of_lines(life: Life, order_id: str) -> Lines:
    told = (await life.tenant.api.get(f"/v1/orders/{order_id}/lines")).json
    return {line.pop("sku"): line for line in told.get("data", [])}


def _lines(of_order: Iterable[Shipment]) -> Lines:
    lines: dict[str, dict[str, int]] = {}
    for shipment in of_order:
        for item in shipment.line_items:
            line = lines.setdefault(item["sku"], dict.fromkeys(_IN_A_LINE, 0))
            held = sum(qty for sku, _, qty in _allocated(shipment) if sku == item["sku"])
            line["ordered"] += item["qty"]
            if shipment.status in LEFT:
                line["shipped"] += item["qty"]
            elif shipment.status in ENDED:
                line["canceled"] += item["qty"]
            else:
                line["allocated"] += held
                line["waiting"] += item["qty"] - held
    return lines


async def _faults_of_consumers(stack: Stack) -> AsyncIterator[str]:
    """Nothing is under way: what was, when its taker died, has come again."""
    async with connected(stack.nats_url) as js:
        for spec in CONSUMERS:
            info = await js.consumer_info(spec.stream, spec.name)
            if info.num_pending or info.num_ack_pending:
                yield f"{spec.name}: {info.num_pending} to come, {info.num_ack_pending} under way"


async def _faults_of_the_audit(stack: Stack, tenant_id: str) -> AsyncIterator[str]:
    """What `skutrail verify` finds."""
    report = await audit(stack.databases["inventory"].application, Scope(tenant_id=tenant_id), lambda _: None)
    for key, text in report.findings():
        yield f"{key}: {text}"


def _allocated(shipment: Shipment) -> list[tuple[str, str, int]]:
    return sorted((line["sku"], line["warehouse"], line["qty"]) for line in shipment.allocations)


def _some(faults: Iterable[str]) -> list[str]:
    return list(faults)[:5]
