"""The register: what was sold, what was given back, how far each parcel is. One SQLite file, or memory.

Calls run one after the other on a thread of their own, each in a transaction: the event loop never waits for the disk,
and no two sales can cross. A kill of the process loses nothing that was answered; a power cut may lose the last moment.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from chassis.clock import Clock, utc_now
from sandbox.numbers import tracking_number
from sandbox.orders import Order
from sandbox.problems import Refusal

T = TypeVar("T")

SALES_KEPT = 1_000_000  # the oldest beyond them are forgotten
FOUND_MAX = 20

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS sale (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    idempotency_key TEXT NOT NULL UNIQUE,
    reference TEXT NOT NULL,
    tracking_number TEXT NOT NULL UNIQUE,
    what BLOB NOT NULL,
    is_voided INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS sale_by_reference ON sale (reference, id);
CREATE TABLE IF NOT EXISTS scan (
    tracking_number TEXT NOT NULL REFERENCES sale (tracking_number) ON DELETE CASCADE,
    status TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (tracking_number, status)
);
CREATE TABLE IF NOT EXISTS strike (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    reference TEXT NOT NULL UNIQUE,
    times INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Sale:
    """A label that was sold."""

    tracking_number: str
    order: Order
    is_voided: bool


@dataclass(frozen=True)
class Seen:
    """A scan. A parcel is seen once in each status."""

    status: str
    at: str
    """RFC 3339."""


@dataclass(frozen=True)
class Tally:
    """How many labels were sold for a reference, and how many of them given back."""

    sold: int
    voided: int


class Register:
    """Close it when nobody uses it any more."""

    def __init__(self, file: str = "", clock: Clock = utc_now) -> None:
        """`file`: where it lies, made where it is missing; in memory if empty. One process at a time may hold it."""
        if file:
            Path(file).touch(mode=0o600)  # it holds names and addresses
        self._db = sqlite3.connect(file or ":memory:", check_same_thread=False)
        self._db.executescript(_SCHEMA)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="register")
        self._clock = clock

    async def sell(self, key: str, order: Order) -> Sale:
        """The sale of this key, made now if there is none. Raises Refusal `idempotency_key_reused` on another order."""
        return await self._run(lambda: self._sell(key, order))

    async def find(self, reference: str) -> Sequence[Sale]:
        """What was sold for a reference, oldest first, at most FOUND_MAX."""
        return await self._run(lambda: self._find(reference))

    async def void(self, number: str) -> Sale:
        """Raises Refusal `not_found`, or `label_used` when the parcel was seen."""
        return await self._run(lambda: self._void(number))

    async def scan(self, number: str, status: str) -> Sequence[Seen]:
        """Raises Refusal `not_found`, or `label_voided`."""
        return await self._run(lambda: self._scan(number, status, self._clock()))

    async def scans(self, number: str) -> Sequence[Seen]:
        """Oldest first. Raises Refusal `not_found`."""
        return await self._run(lambda: self._scans(self._sale(number).tracking_number))

    async def tally(self, reference: str) -> Tally:
        return await self._run(lambda: self._tally(reference))

    async def strike(self, reference: str) -> int:
        """Counts a fault that strikes a purchase for this reference: 1 for the first."""
        return await self._run(lambda: self._strike(reference))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        def transaction() -> T:
            with self._db:
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    def _sell(self, key: str, order: Order) -> Sale:
        known = self._one("idempotency_key", key)
        if known is None:
            return self._insert(key, order)
        if known.order != order:
            raise Refusal("idempotency_key_reused", "The Idempotency-Key was used for another order.")
        return known

    def _insert(self, key: str, order: Order) -> Sale:
        sale = Sale(tracking_number(order.reference, self._tally(order.reference).sold + 1), order, is_voided=False)
        inserted = self._db.execute(
            "INSERT INTO sale (idempotency_key, reference, tracking_number, what) VALUES (?, ?, ?, ?)",
            (key, order.reference, sale.tracking_number, msgspec.json.encode(order)),
        )
        assert inserted.lastrowid is not None
        self._db.execute("DELETE FROM sale WHERE id <= ?", (inserted.lastrowid - SALES_KEPT,))
        return sale

    def _find(self, reference: str) -> Sequence[Sale]:
        query = f"SELECT {_COLUMNS} FROM sale WHERE reference = ? ORDER BY id LIMIT ?"  # noqa: S608 - a constant
        return [_sale(row) for row in self._db.execute(query, (reference, FOUND_MAX))]

    def _void(self, number: str) -> Sale:
        sale = self._sale(number)
        if self._scans(number):
            raise Refusal("label_used", "The label was used: the parcel was seen.")
        self._db.execute("UPDATE sale SET is_voided = 1 WHERE tracking_number = ?", (number,))
        return Sale(sale.tracking_number, sale.order, is_voided=True)

    def _scan(self, number: str, status: str, now: datetime) -> Sequence[Seen]:
        if self._sale(number).is_voided:
            raise Refusal("label_voided", "The label was given back.")
        at = now.isoformat().replace("+00:00", "Z")
        self._db.execute("INSERT INTO scan VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (number, status, at))
        return self._scans(number)

    def _scans(self, number: str) -> Sequence[Seen]:
        query = "SELECT status, at FROM scan WHERE tracking_number = ? ORDER BY at, rowid"
        return [Seen(*row) for row in self._db.execute(query, (number,))]

    def _tally(self, reference: str) -> Tally:
        query = "SELECT count(*), coalesce(sum(is_voided), 0) FROM sale WHERE reference = ?"
        return Tally(*self._db.execute(query, (reference,)).fetchone())

    def _strike(self, reference: str) -> int:
        self._db.execute(
            "INSERT INTO strike (reference, times) VALUES (?, 1)"
            " ON CONFLICT (reference) DO UPDATE SET times = times + 1",
            (reference,),
        )
        counted = self._db.execute("SELECT id, times FROM strike WHERE reference = ?", (reference,))
        newest, times = counted.fetchone()
        self._db.execute("DELETE FROM strike WHERE id <= ?", (newest - SALES_KEPT,))
        return int(times)

    def _sale(self, number: str) -> Sale:
        sale = self._one("tracking_number", number)
        if sale is None:
            raise Refusal("not_found", "No such label was sold.")
        return sale

    def _one(self, column: str, value: str) -> Sale | None:
        query = f"SELECT {_COLUMNS} FROM sale WHERE {column} = ?"  # noqa: S608 - columns come from this file alone
        row = self._db.execute(query, (value,)).fetchone()
        return None if row is None else _sale(row)


_COLUMNS = "tracking_number, what, is_voided"


def _sale(row: tuple[str, bytes, int]) -> Sale:
    number, what, is_voided = row
    return Sale(number, msgspec.json.decode(what, type=Order), bool(is_voided))
