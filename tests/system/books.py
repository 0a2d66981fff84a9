"""What the databases say after a storm, and what must be true of it. The rules are pure, so they can be tested, too."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from cli.local.stack import Stack
from services.webhooks.domain import EVENT_TYPES
from tests.system.outboxes import ANNOUNCERS, Announced, announced

Place = tuple[str, str]
"""SKU and warehouse."""


@dataclass(frozen=True)
class Entry:
    id: str
    sku: str
    warehouse: str
    seq: int
    qty: int
    balance: int
    created_at: datetime
    reference: str | None = None

    @property
    def place(self) -> Place:
        return self.sku, self.warehouse


@dataclass(frozen=True)
class Balance:
    sku: str
    warehouse: str
    on_hand: int
    held: int
    seq: int


@dataclass(frozen=True)
class Hold:
    request_id: str
    sku: str
    warehouse: str
    open: int


@dataclass(frozen=True)
class Shipment:
    id: str
    order_id: str
    status: str
    line_items: list[dict[str, Any]]
    allocations: list[dict[str, Any]]


@dataclass(frozen=True)
class Parcel:
    shipment_id: str
    warehouse: str
    label_status: str
    tracking_number: str | None
    reference: str = ""


@dataclass(frozen=True)
class Books:
    entries: list[Entry]
    balances: list[Balance]
    holds: list[Hold]
    shipments: list[Shipment]
    parcels: list[Parcel]
    labels: int
    announced: list[Announced]
    parked: int
    """Events that a consumer gave up, of whatever tenant."""


async def read_books(stack: Stack, tenant_id: str) -> Books:
    """All that the services know of a tenant, as the owners of their databases see it."""
    own = {"tenant": tenant_id}

    async def rows(service: str, kind: type[Any], query: str) -> list[Any]:
        async with await psycopg.AsyncConnection.connect(stack.databases[service].owner) as connection:
            cursor = connection.cursor(row_factory=class_row(kind))
            return await (await cursor.execute(query, own)).fetchall()

    outboxes = [await announced(stack, name, tenant_id) for name in ANNOUNCERS]
    return Books(
        entries=await rows("inventory", Entry, _ENTRIES),
        balances=await rows("inventory", Balance, _BALANCES),
        holds=await rows("inventory", Hold, _HOLDS),
        shipments=await rows("shipments", Shipment, _SHIPMENTS),
        parcels=await rows("shipments", Parcel, _PARCELS),
        labels=(await rows("shipments", dict, _LABELS))[0]["count"],
        announced=[one for outbox in outboxes for one in outbox if one.type in EVENT_TYPES],
        parked=sum([(await rows(name, dict, _PARKED))[0]["count"] for name in (*ANNOUNCERS, "webhooks")]),
    )


def faults_of_the_ledger(books: Books, acknowledged: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """`acknowledged`: the answers 200 that callers were given, by entry id."""
    recorded = {entry.id: entry for entry in books.entries}
    for lost in acknowledged.keys() - recorded.keys():
        yield f"lost: {acknowledged[lost]}"
    for surplus in recorded.keys() - acknowledged.keys():
        yield f"recorded, though nobody was told: {recorded[surplus]}"
    for entry_id in recorded.keys() & acknowledged.keys():
        entry, told = recorded[entry_id], acknowledged[entry_id]
        if (*entry.place, entry.qty, entry.balance) != tuple(told[k] for k in ("sku", "warehouse", "qty", "balance")):
            yield f"recorded {entry}, told {told}"
    yield from faults_of_chains(books)


def faults_of_chains(books: Books) -> Iterator[str]:
    """Chains, balances and open holds, held against each other."""
    held: Counter[Place] = Counter()
    for hold in books.holds:
        held[hold.sku, hold.warehouse] += hold.open
    chains: dict[Place, list[Entry]] = defaultdict(list)
    for entry in sorted(books.entries, key=lambda entry: entry.seq):
        chains[entry.place].append(entry)
    for balance in books.balances:
        place = balance.sku, balance.warehouse
        chain = chains.pop(place, [])
        yield from _faults_of_chain(chain)
        if (balance.on_hand, balance.seq) != (sum(entry.qty for entry in chain), len(chain)):
            yield f"{place}: {balance} is not the sum of its {len(chain)} entries"
        if balance.held != held[place] or not 0 <= balance.held <= balance.on_hand:
            yield f"{place}: {balance}, and {held[place]} in open holds"
    for place in chains:
        yield f"{place}: entries without a balance"


def _faults_of_chain(chain: list[Entry]) -> Iterator[str]:
    balance = 0
    for number, entry in enumerate(chain, start=1):
        balance += entry.qty
        if (entry.seq, entry.balance) != (number, balance) or balance < 0:
            yield f"entry {number} of its chain, with {balance} on hand, is {entry}"
        if entry.created_at < chain[max(number - 2, 0)].created_at:
            yield f"time runs backwards before {entry}"


def faults_of_shipments(books: Books, acknowledged: Iterable[str]) -> Iterator[str]:
    """`acknowledged`: the ids that callers were given."""
    shipments = {shipment.id: shipment for shipment in books.shipments}
    for shipment_id in shipments.keys() ^ set(acknowledged):
        yield f"either lost, or there though nobody was told: {shipment_id}"
    for hold in books.holds:
        if hold.open and hold.request_id not in shipments:
            yield f"held for nobody: {hold}"
    free: Counter[str] = Counter()
    for balance in books.balances:
        free[balance.sku] += balance.on_hand - balance.held
    for shipment in books.shipments:
        yield from _faults_of_shipment(shipment, books, free)


def _faults_of_shipment(shipment: Shipment, books: Books, free: Mapping[str, int]) -> Iterator[str]:
    held = {(h.sku, h.warehouse): h.open for h in books.holds if h.request_id == shipment.id and h.open}
    allocated = {(line["sku"], line["warehouse"]): line["qty"] for line in shipment.allocations}
    labels = {p.warehouse for p in books.parcels if p.shipment_id == shipment.id and p.label_status == "ready"}
    wanted = sum(line["qty"] for line in shipment.line_items)
    if held != allocated:
        yield f"{shipment} says {allocated}, inventory holds {held}"
    if shipment.status == "label_ready":
        if sum(allocated.values()) != wanted or labels < {warehouse for _, warehouse in allocated}:
            yield f"{shipment} has {allocated} of {wanted}, labels for {labels}"
    elif shipment.status != "backordered":
        yield f"{shipment} has not come to an end"
    elif all(free[line["sku"]] >= line["qty"] for line in shipment.line_items):
        yield f"{shipment} waits, though {dict(free)} is free"


def faults_of_labels(books: Books) -> Iterator[str]:
    """One label and one tracking number per parcel, and each number once."""
    numbers = Counter(parcel.tracking_number for parcel in books.parcels if parcel.tracking_number)
    yield from (f"tracking number {number} was given {count} times" for number, count in numbers.items() if count > 1)
    if books.labels != numbers.total():
        yield f"{books.labels} labels for {numbers.total()} tracking numbers"


def faults_of_events(books: Books, delivered: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """`delivered`: what one subscriber of everything was sent, by event id."""
    announced = {row.event_id: row for row in books.announced}
    for missing in announced.keys() - delivered.keys():
        yield f"never delivered: {announced[missing]}"
    for surplus in delivered.keys() - announced.keys():
        yield f"delivered, though never announced: {delivered[surplus]}"
    told = {event["data"]["id"] for event in delivered.values() if event["type"] == "inventory.updated"}
    for entry in books.entries:
        if entry.id not in told:
            yield f"without its event: {entry}"
    for row in books.announced:
        if not row.is_published:
            yield f"not marked as published: {row}"
    versions = Counter(row.version for row in books.announced if row.version is not None)
    yield from (f"announced {count} times: {version}" for version, count in versions.items() if count > 1)
    if books.parked:
        yield f"{books.parked} events were parked"


_ENTRIES = """
    SELECT id, sku, warehouse, seq, qty, balance, created_at, reference FROM ledger_entry WHERE tenant_id = %(tenant)s
"""
_BALANCES = "SELECT sku, warehouse, on_hand, held, seq FROM balance WHERE tenant_id = %(tenant)s"
_HOLDS = "SELECT request_id, sku, warehouse, open FROM hold WHERE tenant_id = %(tenant)s"
_SHIPMENTS = "SELECT id, order_id, status, line_items, allocations FROM shipment WHERE tenant_id = %(tenant)s"
_PARCELS = """
    SELECT shipment_id, warehouse, label_status, tracking_number, reference FROM parcel WHERE tenant_id = %(tenant)s
"""
_LABELS = "SELECT count(*) AS count FROM label WHERE tenant_id = %(tenant)s"
_PARKED = "SELECT count(*) AS count FROM parked_event"
