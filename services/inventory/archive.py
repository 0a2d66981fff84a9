"""The trail as a file, and back: what `skutrail export` writes and `skutrail import` takes.

NDJSON: one entry a line, by tenant, SKU, warehouse and seq; the last line is the manifest, with the SHA-256 of all
bytes before it. Both ways stream. Holds, idempotency keys and events are no part of the trail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import psycopg
from msgspec import Meta

from services.inventory import chain
from services.inventory.chain import Whole
from services.inventory.domain import Entry, Reason, StockKey

FORMAT = "skutrail-trail/1"
LINE_BYTES_MAX = 64 * 1024
_PAGE = 5_000  # entries a round trip
_OPTIONS = "-c timezone=UTC -c lock_timeout=5s -c statement_timeout=0"

_COLUMNS = "tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at, hash"
_TYPES = ("text", "text", "text", "int8", "text", "int8", "int8", "int2", "text", "timestamptz", "bytea")
_TRAIL = f"SELECT {_COLUMNS} FROM ledger_entry ORDER BY tenant_id, sku, warehouse, seq"  # noqa: S608 - constants
_TAKE = f"COPY ledger_entry ({_COLUMNS}) FROM STDIN (FORMAT binary)"

# Whoever writes waits until the import is committed, and so until there is something to lose.
_LOCK = "LOCK TABLE ledger_entry, balance, allocation IN SHARE ROW EXCLUSIVE MODE"
_IS_EMPTY = """
    SELECT NOT EXISTS (SELECT FROM ledger_entry) AND NOT EXISTS (SELECT FROM balance)
        AND NOT EXISTS (SELECT FROM allocation) AND NOT EXISTS (SELECT FROM idempotency_key)
"""
_MAKE_BALANCES = """
    INSERT INTO balance (tenant_id, sku, warehouse, on_hand, seq, head, updated_at)
    SELECT DISTINCT ON (tenant_id, sku, warehouse) tenant_id, sku, warehouse, balance, seq, hash, created_at
    FROM ledger_entry ORDER BY tenant_id, sku, warehouse, seq DESC
"""

_NAMES: Mapping[int, Any] = {int(reason): reason.name.lower() for reason in Reason}
_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    created_at: datetime
    entries: int
    chains: int
    sha256: _Sha256


class _LastLine(msgspec.Struct, forbid_unknown_fields=True):
    manifest: Manifest


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    tenant_id: str
    sku: str
    warehouse: str
    seq: _Int64
    id: str
    qty: _Int64
    balance: _Int64
    reason: Literal["receipt", "pick", "adjustment", "transfer"]
    reference: str | None
    created_at: Annotated[datetime, Meta(tz=True)]
    hash: _Sha256


class Link(NamedTuple):
    """An entry and the hash that stands beside it."""

    entry: Entry
    hash: bytes


class Damaged(ValueError):
    """The file is not as it was exported, or was never an export."""


def export(url: str, write: Callable[[bytes], object], now: datetime) -> Manifest:
    """Writes the whole trail, as it was at one instant. Raises psycopg.Error."""
    digest, entries, chains, last = hashlib.sha256(), 0, 0, None
    encode = msgspec.json.Encoder().encode
    with psycopg.connect(url, connect_timeout=5, options=_OPTIONS) as connection:
        connection.read_only = True
        with connection.cursor("trail", binary=True) as rows:
            rows.itersize = _PAGE
            for row in rows.execute(_TRAIL.encode()):
                line = encode(_line(row)) + b"\n"
                digest.update(line)
                write(line)
                entries, chains, last = entries + 1, chains + (row[:3] != last), row[:3]
    manifest = Manifest(FORMAT, now, entries, chains, digest.hexdigest())
    write(encode(_LastLine(manifest)) + b"\n")
    return manifest


def take_back(owner_url: str, lines: Iterable[bytes]) -> Manifest:
    """Fills an empty inventory database, all or nothing, as the role that owns it.

    Raises Damaged; ValueError where the database is not empty; psycopg.Error.
    """
    with psycopg.connect(owner_url, connect_timeout=5, options=_OPTIONS) as connection:
        connection.execute(_LOCK)
        if connection.execute(_IS_EMPTY).fetchone() != (True,):
            raise ValueError("There is something in this database already. An import needs an empty one.")
        reading = Reading(lines)
        try:
            with connection.cursor().copy(_TAKE.encode()) as copy:
                copy.set_types(_TYPES)
                for (entry_id, key, seq, qty, balance, reason, reference, at), entry_hash in reading.sound_links():
                    copy.write_row((*key, seq, entry_id, qty, balance, int(reason), reference, at, entry_hash))
        except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
            raise Damaged(f"No ledger holds this: {error.diag.message_primary}.") from error
        connection.execute(_MAKE_BALANCES)
    assert reading.manifest is not None
    with psycopg.connect(owner_url, connect_timeout=5, options=_OPTIONS, autocommit=True) as connection:
        connection.execute("ANALYZE ledger_entry, balance")
    return reading.manifest


class Reading:
    """The lines of a file, checked while they go by. `manifest` is there when all have, and agrees with them."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.manifest: Manifest | None = None

    def sound_links(self) -> Iterator[Link]:
        """Every link follows from the one before it in its chain, or Damaged is raised."""
        key, whole = None, Whole()
        for number, link in enumerate(self.links(), 1):
            if link.entry.key != key:
                key, whole = link.entry.key, Whole()
            if not chain.is_sound(whole, *link):
                raise Damaged(f"Line {number}: the entry does not follow from the one before it.")
            whole = Whole(link.entry.seq, link.hash, link.entry.balance)
            yield link

    def heads(self) -> Iterator[Link]:
        """The last link of every chain."""
        last: Link | None = None
        for link in self.links():
            if last is not None and link.entry.key != last.entry.key:
                yield last
            last = link
        if last is not None:
            yield last

    def links(self) -> Iterator[Link]:
        digest, entries, chains, key = hashlib.sha256(), 0, 0, None
        decode = msgspec.json.Decoder(_Line).decode
        for raw in self._lines:
            if self.manifest is not None:
                raise Damaged("Something follows the manifest.")
            if raw.startswith(b'{"manifest"'):
                self.manifest = _decoded(msgspec.json.Decoder(_LastLine).decode, raw, entries + 1).manifest
                continue
            link = _link(_decoded(decode, raw, entries + 1))
            digest.update(raw)
            entries, chains, key = entries + 1, chains + (link.entry.key != key), link.entry.key
            yield link
        if self.manifest is None:
            raise Damaged("The last line, the manifest, is missing: the file was cut off.")
        if self.manifest.format != FORMAT:
            raise Damaged(f"The format is {self.manifest.format}, not {FORMAT}.")
        if (self.manifest.entries, self.manifest.chains, self.manifest.sha256) != (entries, chains, digest.hexdigest()):
            raise Damaged("The entries are not those that the manifest speaks of.")


def _line(row: tuple[Any, ...]) -> _Line:
    *_, reason, reference, created_at, entry_hash = row
    tenant_id, sku, warehouse, seq, entry_id, qty, balance = row[:7]
    name = _NAMES[reason]
    return _Line(tenant_id, sku, warehouse, seq, entry_id, qty, balance, name, reference, created_at, entry_hash.hex())


def _link(line: _Line) -> Link:
    key = StockKey(line.tenant_id, line.sku, line.warehouse)
    reason = Reason[line.reason.upper()]
    entry = Entry(line.id, key, line.seq, line.qty, line.balance, reason, line.reference, line.created_at)
    return Link(entry, bytes.fromhex(line.hash))


def _decoded(decode: Callable[[bytes], Any], raw: bytes, number: int) -> Any:
    try:
        return decode(raw)
    except msgspec.MsgspecError as error:
        raise Damaged(f"Line {number} cannot be read: {error}.") from error
