"""All chains of a database, every balance, every hold and every request: what `skutrail verify` looks at.

Reads page by page: memory does not grow with the ledger, no transaction outlives a page, and whoever writes meanwhile
is not disturbed. An entry, its balance row and its holds are committed together, so each statement sees them agree.
What is recorded behind a page that was read is left for the next audit.

Where every link is sound (each balance the one before plus qty) and the balance row is the last of them, the sum of the
entries is the balance: no sum is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import namedtuple_row

from services.inventory.archive import Link
from services.inventory.chain import JUDGED, START
from services.inventory.domain import StockKey
from services.inventory.request_audit import REQUESTS
from services.inventory.request_store import RequestKey
from services.inventory.store import HAS_MOVED

CONNECTIONS = 2
PARTS = 32  # into which the entries are cut, for the connections to share
ENTRIES_PAGE, BALANCES_PAGE, REQUESTS_PAGE = 20_000, 5_000, 2_000  # some 150 ms each
FOUND_MAX = 1_000  # beyond that it is no news
_OPTIONS = "-c default_transaction_read_only=on -c statement_timeout=60s -c lock_timeout=2s"

# A balance may say anything by now: what is added up of it must not overflow.
_LENGTH = "least(greatest(seq, 0), 1000000000000000)"
_COUNT = f"""
    SELECT count(*) FILTER (WHERE {HAS_MOVED}) AS balances, coalesce(sum({_LENGTH}), 0) AS entries
    FROM balance WHERE true {{scope}}
"""  # noqa: S608 - constants

# Where to cut, by what the balances say of the lengths: wrong ones make uneven parts, but never a gap between them.
_CUTS = f"""
    SELECT cut.* FROM (
        SELECT *, {_LENGTH} AS length, sum({_LENGTH}) OVER (ORDER BY tenant_id, sku, warehouse) AS up_to
        FROM balance WHERE true {{scope}}
    ) b
    JOIN (
        SELECT div(n * CAST(%(entries)s AS numeric), %(parts)s) AS place FROM generate_series(1, %(parts)s - 1) n
    ) part ON place > up_to - length AND place <= up_to
    CROSS JOIN LATERAL (
        SELECT tenant_id, sku, warehouse, seq FROM ledger_entry e
        WHERE (e.tenant_id, e.sku, e.warehouse, e.seq)
            <= (b.tenant_id, b.sku, b.warehouse, CAST(place - (up_to - length) AS bigint)) {{scope}}
        ORDER BY tenant_id DESC, sku DESC, warehouse DESC, seq DESC LIMIT 1
    ) cut
    ORDER BY 1, 2, 3, 4
"""  # noqa: S608 - constants

# A page begins with the entry that was read last: the next one is judged by it.
_LINKS = """
    SELECT * FROM ledger_entry
    WHERE (tenant_id, sku, warehouse, seq) >= (%(tenant_id)s, %(sku)s, %(warehouse)s, %(seq)s) {until} {scope}
    ORDER BY tenant_id, sku, warehouse, seq LIMIT %(limit)s
"""
_UNTIL = """AND (tenant_id, sku, warehouse, seq)
    <= (%(until_tenant_id)s, %(until_sku)s, %(until_warehouse)s, %(until_seq)s)"""
_ENTRIES = f"""
    SELECT tenant_id, sku, warehouse, seq, seq_before, is_sound, has_balance, number
    FROM (
        SELECT *, row_number() OVER page AS number, lead(seq) OVER page IS NULL AS is_last,
            seq_before > 0 OR EXISTS (
                SELECT FROM balance b WHERE b.tenant_id = e.tenant_id AND b.sku = e.sku AND b.warehouse = e.warehouse
            ) AS has_balance
        FROM ({JUDGED.replace("{links}", _LINKS)}) e WINDOW page AS (ORDER BY tenant_id, sku, warehouse, seq)
    ) e
    WHERE is_last OR NOT is_sound OR NOT has_balance
    ORDER BY number
"""  # noqa: S608 - constants

_BALANCES = f"""
    SELECT * FROM (
        SELECT b.*, row_number() OVER page AS number, lead(b.sku) OVER page IS NULL AS is_last,
            count(*) FILTER (WHERE b.{HAS_MOVED} OR last.{HAS_MOVED}) OVER page AS moved,
            coalesce(last.seq, 0) AS last_seq, coalesce(units, 0) AS open,
            b.seq = coalesce(last.seq, 0) AND b.on_hand = coalesce(last.balance, 0)
                AND b.head = coalesce(last.hash, {START}) AS agrees
        FROM (
            SELECT * FROM balance WHERE (tenant_id, sku, warehouse) > (%(tenant_id)s, %(sku)s, %(warehouse)s) {{scope}}
            ORDER BY tenant_id, sku, warehouse LIMIT %(limit)s
        ) b
        LEFT JOIN LATERAL (
            SELECT seq, balance, hash FROM ledger_entry e
            WHERE e.tenant_id = b.tenant_id AND e.sku = b.sku AND e.warehouse = b.warehouse
            ORDER BY seq DESC LIMIT 1
        ) last ON true
        CROSS JOIN LATERAL (
            SELECT sum(open) AS units FROM hold h
            WHERE h.tenant_id = b.tenant_id AND h.sku = b.sku AND h.warehouse = b.warehouse AND h.open > 0
        ) held
        WINDOW page AS (ORDER BY b.tenant_id, b.sku, b.warehouse)
    ) b
    WHERE is_last OR NOT agrees OR held <> open
    ORDER BY number
"""  # noqa: S608 - constants

_STRAY_HOLDS = """
    SELECT tenant_id, sku, warehouse, sum(open) AS open FROM hold h
    WHERE open > 0 AND NOT EXISTS (
        SELECT FROM balance b WHERE b.tenant_id = h.tenant_id AND b.sku = h.sku AND b.warehouse = h.warehouse
    ) {scope}
    GROUP BY tenant_id, sku, warehouse ORDER BY 1, 2, 3 LIMIT %(limit)s
"""

_HASHES = """
    SELECT (
        SELECT hash FROM ledger_entry e
        WHERE e.tenant_id = k.tenant_id AND e.sku = k.sku AND e.warehouse = k.warehouse AND e.seq = k.seq
    ) AS hash
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[])
        WITH ORDINALITY AS k (tenant_id, sku, warehouse, seq, number)
    ORDER BY number
"""

Connection = AsyncConnection[Any]


@dataclass(frozen=True)
class Scope:
    """Which chains; None stands for all."""

    tenant_id: str | None = None
    sku: str | None = None
    warehouse: str | None = None

    @property
    def given(self) -> Mapping[str, str]:
        return {name: value for name, value in vars(self).items() if value is not None}

    def narrow(self, sql: str) -> str:
        conditions = "".join(f" AND {name} = %(only_{name})s" for name in self.given)
        return sql.replace("{scope}", conditions)

    def holds(self, key: StockKey) -> bool:
        return all(getattr(key, name) == value for name, value in self.given.items())

    @property
    def bound(self) -> Mapping[str, str]:
        return {f"only_{name}": value for name, value in self.given.items()}


class Place(NamedTuple):
    """An entry, by the order they are read in."""

    tenant_id: str = ""
    sku: str = ""
    warehouse: str = ""
    seq: int = 0


@dataclass
class Report:
    """What was looked at so far, and what is wrong: of every chain the first entry, by its seq, and a sentence."""

    balances_in_all: int = 0
    entries_in_all: int = 0
    entries: int = 0
    balances: int = 0
    requests: int = 0
    broken: dict[StockKey, tuple[int, str]] = field(default_factory=dict)
    held_wrong: dict[StockKey, str] = field(default_factory=dict)
    requests_wrong: dict[RequestKey, str] = field(default_factory=dict)
    is_cut_short: bool = False

    @property
    def is_whole(self) -> bool:
        return self.found == 0

    @property
    def is_of_nothing(self) -> bool:
        """There was nothing to look at, and nothing is said to be there."""
        return self.is_whole and not (self.entries or self.balances or self.requests)

    @property
    def found(self) -> int:
        return len(self.broken) + len(self.held_wrong) + len(self.requests_wrong)

    def findings(self) -> Iterator[tuple[StockKey | RequestKey, str]]:
        yield from ((key, text) for key, (_, text) in sorted(self.broken.items()))
        yield from sorted(self.held_wrong.items())
        yield from sorted(self.requests_wrong.items())

    def chain_broken(self, key: StockKey, seq: int, text: str) -> None:
        if key in self.broken:
            self.broken[key] = min(self.broken[key], (seq, text))
        elif self._has_room():
            self.broken[key] = seq, text

    def hold_wrong(self, key: StockKey, text: str) -> None:
        if self._has_room():
            self.held_wrong[key] = text

    def request_wrong(self, key: RequestKey, text: str) -> None:
        if self._has_room():
            self.requests_wrong[key] = text

    def _has_room(self) -> bool:
        self.is_cut_short = self.is_cut_short or self.found >= FOUND_MAX
        return not self.is_cut_short


async def audit(url: str, scope: Scope, tell: Callable[[Report], None]) -> Report:
    """Looks at everything in the scope. `tell` hears of every page. Raises psycopg.Error where it cannot go on."""
    look = _Look(scope, Report(), tell)
    async with await _connect(url) as connection:
        cuts = await look.cuts(connection)
    # The balances first: they are one walk, and would otherwise be the last to end.
    parts: Iterator[Callable[[Connection], Awaitable[None]]] = iter(
        [
            look.at_balances,
            look.at_holds,
            look.at_requests,
            *(
                partial(look.at_entries, after=after, until=until)
                for after, until in zip([Place(), *cuts], [*cuts, None], strict=True)
            ),
        ]
    )

    async def work() -> None:
        async with await _connect(url) as connection:
            for part in parts:
                await part(connection)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return look.report


async def compare(url: str, scope: Scope, heads: Iterable[Link], report: Report) -> None:
    """Whether the chains still hold the links that were kept elsewhere: that shows what was rewritten with care."""
    in_scope = (head for head in heads if scope.holds(head.entry.key))
    async with await _connect(url) as connection:
        while some := list(islice(in_scope, BALANCES_PAGE)):
            keys, seqs = [head.entry.key for head in some], [head.entry.seq for head in some]
            tenants, skus, warehouses = map(list, zip(*keys, strict=True))
            cursor = await connection.execute(_HASHES, [tenants, skus, warehouses, seqs])
            for head, row in zip(some, await cursor.fetchall(), strict=True):
                if row.hash != head.hash:
                    text = f"entry {head.entry.seq}, or one before it, is not the one that was exported"
                    report.chain_broken(head.entry.key, head.entry.seq, text)


@dataclass(frozen=True)
class _Look:
    scope: Scope
    report: Report
    tell: Callable[[Report], None]

    async def cuts(self, connection: Connection) -> list[Place]:
        """The entries at which the ledger is cut into parts."""
        [found] = await self._ask(connection, _COUNT)
        self.report.balances_in_all, self.report.entries_in_all = found.balances, int(found.entries)
        rows = await self._ask(connection, _CUTS, entries=found.entries, parts=PARTS)
        return sorted({Place(*row) for row in rows})

    async def at_entries(self, connection: Connection, after: Place, until: Place | None) -> None:
        bounds = {} if until is None else {f"until_{name}": value for name, value in until._asdict().items()}
        sql, count = _ENTRIES.replace("{until}", _UNTIL if until else ""), ENTRIES_PAGE
        while count == ENTRIES_PAGE:
            rows = await self._ask(connection, sql, **after._asdict(), **bounds, limit=ENTRIES_PAGE)
            count = rows[-1].number if rows else 0
            known, news = after, [row for row in rows if Place(*row[:4]) != after]
            for row in news:
                self._judge_entry(row)
            if rows:
                after = Place(*rows[-1][:4])
            self.report.entries += count - (known != Place() and count > 0)
            self.tell(self.report)

    async def at_balances(self, connection: Connection) -> None:
        after, count = Place(), BALANCES_PAGE
        while count == BALANCES_PAGE:
            rows = await self._ask(connection, _BALANCES, **after._asdict(), limit=BALANCES_PAGE)
            for row in rows:
                self._judge_balance(row)
            count = rows[-1].number if rows else 0
            after = Place(*rows[-1][:3]) if rows else after
            self.report.balances += rows[-1].moved if rows else 0
            self.tell(self.report)

    async def at_holds(self, connection: Connection) -> None:
        for row in await self._ask(connection, _STRAY_HOLDS, limit=FOUND_MAX):
            self.report.hold_wrong(StockKey(*row[:3]), f"open holds of {row.open}, and no balance")

    async def at_requests(self, connection: Connection) -> None:
        """A request spans SKUs and warehouses: where only some are looked at, it is not."""
        after, count = ("", ""), REQUESTS_PAGE
        while count == REQUESTS_PAGE and self.scope.sku is None and self.scope.warehouse is None:
            tenant_id, request_id = after
            rows = await self._ask(
                connection, REQUESTS, tenant_id=tenant_id, request_id=request_id, limit=REQUESTS_PAGE
            )
            for row in rows:
                if row.wrong is not None:
                    self.report.request_wrong((row.tenant_id, row.request_id), row.wrong)
            count = rows[-1].number if rows else 0
            self.report.requests += count
            after = (rows[-1].tenant_id, rows[-1].request_id) if rows else after

    def _judge_entry(self, row: Any) -> None:
        if not row.is_sound:
            seq = row.seq_before + 1
            self.report.chain_broken(StockKey(*row[:3]), seq, f"entry {seq} is missing, or not what was recorded")
        elif not row.has_balance:
            self.report.chain_broken(StockKey(*row[:3]), row.seq, "entries without a balance")

    def _judge_balance(self, row: Any) -> None:
        key = StockKey(*row[:3])
        if not row.agrees:
            text = f"the balance of seq {row.seq} is not that of the last entry, seq {row.last_seq}"
            seq = max(row.seq, 1) if row.seq == row.last_seq else max(min(row.seq, row.last_seq), 0) + 1
            self.report.chain_broken(key, seq, f"entry {seq}: {text}")
        if row.held != row.open:
            self.report.hold_wrong(key, f"held is {row.held}, the open holds are {row.open}")

    async def _ask(self, connection: Connection, sql: str, **bound: Any) -> Sequence[Any]:
        cursor = await connection.execute(self.scope.narrow(sql).encode(), {**bound, **self.scope.bound})
        return await cursor.fetchall()


async def _connect(url: str) -> Connection:
    return await AsyncConnection.connect(
        url, autocommit=True, connect_timeout=5, options=_OPTIONS, row_factory=namedtuple_row
    )
