"""What is allowed: movements of stock. Pure: no I/O, no clock, no randomness. Requests for stock: requests.py."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple

from chassis.errors import Fault, FieldFault

QTY_MAX = 1_000_000_000
MOVEMENTS_MAX = 1_000  # per call
NAME_LENGTH_MAX = 64  # sku, warehouse
REFERENCE_LENGTH_MAX = 128
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHAIN_START = bytes(32)  # what the first entry of a chain takes for its predecessor's hash


class Reason(IntEnum):
    """The values of the contract; UNKNOWN is what a caller sent and nobody knows."""

    UNKNOWN = 0
    RECEIPT = 1
    PICK = 2
    ADJUSTMENT = 3
    TRANSFER = 4


# Values of the write path are named tuples: a frozen dataclass takes six times as long to make.
class StockKey(NamedTuple):
    """Where a chain of entries and a balance live."""

    tenant_id: str
    sku: str
    warehouse: str


class Stock(NamedTuple):
    """A balance row: units on hand, units held of them, and the last entry of the chain: its place and its hash."""

    key: StockKey
    on_hand: int = 0
    held: int = 0
    seq: int = 0
    head: bytes = CHAIN_START
    updated_at: datetime | None = None

    @property
    def available(self) -> int:
        return self.on_hand - self.held


class Movement(NamedTuple):
    """A wish to change stock: `qty` is what the caller sent; `signed_qty` says what it means."""

    key: StockKey
    qty: int
    reason: Reason
    reference: str | None = None
    # What must be right before it, where the caller names it.
    expected_balance: int | None = None
    expected_seq: int | None = None


class Entry(NamedTuple):
    """A movement as it was recorded."""

    id: str
    key: StockKey
    seq: int
    qty: int
    balance: int
    reason: Reason
    reference: str | None
    created_at: datetime


class Recorded(NamedTuple):
    """The decision to record: the entry, the stock after it, and how many units of the request's own hold it used."""

    entry: Entry
    stock: Stock
    consumed: int


def signed_qty(reason: Reason, qty: int) -> int:
    """The change of the balance. A pick always takes stock out, so 5 and -5 both mean -5."""
    return -abs(qty) if reason is Reason.PICK else qty


def movement_faults(movement: Movement) -> list[FieldFault]:
    """Everything that is wrong with a movement by itself."""
    faults = [*name_faults("/sku", movement.key.sku), *name_faults("/warehouse", movement.key.warehouse)]
    if movement.reason is Reason.UNKNOWN:
        faults.append(FieldFault("/reason", "unknown_value", "One of receipt, pick, adjustment, transfer."))
    if movement.reference is not None and not _is_text(movement.reference, REFERENCE_LENGTH_MAX):
        faults.append(FieldFault("/reference", "invalid_text", f"0 to {REFERENCE_LENGTH_MAX} printable characters."))
    if movement.qty == 0 or abs(movement.qty) > QTY_MAX:
        faults.append(FieldFault("/qty", "out_of_range", f"A whole number, not 0, at most {QTY_MAX} either way."))
    elif movement.reason is Reason.RECEIPT and movement.qty < 0:
        faults.append(FieldFault("/qty", "out_of_range", "A receipt adds stock: qty is above 0."))
    return faults


def transfer_faults(qty: int, from_warehouse: str, to_warehouse: str) -> list[FieldFault]:
    """What is wrong with a transfer beyond its two movements."""
    faults = []
    if not 1 <= qty <= QTY_MAX:
        faults.append(FieldFault("/qty", "out_of_range", f"1 to {QTY_MAX}."))
    if from_warehouse == to_warehouse:
        faults.append(FieldFault("/to_warehouse", "same_warehouse", "Another warehouse than from_warehouse."))
    return faults


def name_faults(pointer: str, name: str) -> list[FieldFault]:
    """What is wrong with a SKU or the name of a warehouse."""
    if name and _is_text(name, NAME_LENGTH_MAX):
        return []
    return [FieldFault(pointer, "invalid_text", f"1 to {NAME_LENGTH_MAX} printable characters.")]


def decide(stock: Stock, movement: Movement, own_hold: int, now: datetime, entry_id: str) -> Recorded | Fault:
    """Records the movement or refuses it. `own_hold`: open units held for the request that the pick names."""
    if (broken := conflict(stock, movement)) is not None:
        return broken
    qty = signed_qty(movement.reason, movement.qty)
    if qty < 0:
        # An adjustment states a physical fact: it may eat into what is held. Nothing else may.
        takes_held = movement.reason is Reason.ADJUSTMENT
        available = stock.on_hand if takes_held else stock.available + own_hold
        if -qty > available:
            return _short(-qty, available)
    consumed = min(own_hold, -qty) if movement.reason is Reason.PICK else 0
    entry = Entry(
        id=entry_id,
        key=movement.key,
        seq=stock.seq + 1,
        qty=qty,
        balance=stock.on_hand + qty,
        reason=movement.reason,
        reference=movement.reference,
        created_at=max(now, stock.updated_at or now),  # time never runs backwards within a chain
    )
    head = chain_hash(stock.head, entry)
    after = Stock(stock.key, entry.balance, stock.held - consumed, entry.seq, head, entry.created_at)
    return Recorded(entry, after, consumed)


def chain_hash(previous: bytes, entry: Entry) -> bytes:
    """SHA-256 of the predecessor's hash and of what the entry says, a line each: whoever changes one entry breaks all
    that follow. No text holds a line break, and the mark tells an empty reference from none.

    The same in SQL, for what a database holds already: CHAIN_HASH (services/inventory/chain.py).
    """
    key, age = entry.key, entry.created_at - _EPOCH
    reference = "-" if entry.reference is None else f"={entry.reference}"
    micros = (age.days * 86_400 + age.seconds) * 1_000_000 + age.microseconds
    content = (
        f"{key.tenant_id}\n{key.sku}\n{key.warehouse}\n{entry.seq}\n{entry.id}\n{entry.qty}\n{entry.balance}\n"
        f"{int(entry.reason)}\n{reference}\n{micros}"
    )
    return sha256(previous + content.encode()).digest()


def conflict(stock: Stock, movement: Movement) -> Fault | None:
    """A precondition that does not hold."""
    if movement.expected_balance not in (None, stock.on_hand):
        detail = f"The balance is {stock.on_hand}, not {movement.expected_balance}."
        return Fault("version_conflict", detail, expected=movement.expected_balance, actual=stock.on_hand)
    if movement.expected_seq not in (None, stock.seq):
        detail = f"The last entry's seq is {stock.seq}, not {movement.expected_seq}."
        return Fault("version_conflict", detail, expected=movement.expected_seq, actual=stock.seq)
    return None


def _short(requested: int, available: int) -> Fault:
    detail = f"{requested} requested, {available} available."
    return Fault("insufficient_stock", detail, requested=requested, available=available)


def _is_text(text: str, length_max: int) -> bool:
    """Printable Unicode without control characters, no white space at either end."""
    return len(text) <= length_max and text == text.strip() and text.isprintable()
