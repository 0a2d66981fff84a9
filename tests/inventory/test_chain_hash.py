"""One rule of hashing in three places: the domain, what auditors ask a database, and what filled old entries in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.migrate import ROOT, upgrade
from cli.provision import DatabaseUrls
from services.inventory import audit
from services.inventory.audit import Scope
from services.inventory.chain import CHAIN_HASH
from services.inventory.domain import Entry, Reason, StockKey, chain_hash
from tests.inventory.conftest import fresh_database
from tests.inventory.ledgers import START, chain

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
_INT64 = st.integers(-(2**63), 2**63 - 1)
_ENTRIES = st.builds(
    Entry,
    id=_TEXT,
    key=st.builds(StockKey, _TEXT, _TEXT, _TEXT),
    seq=_INT64,
    qty=_INT64,
    balance=_INT64,
    reason=st.sampled_from([reason for reason in Reason if reason]),
    reference=st.none() | st.just("") | st.just("-") | _TEXT,
    created_at=st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),
)
_BOTH = f"""
    SELECT chain_hash(%(previous)s, e), {CHAIN_HASH.format(previous="%(previous)s")} FROM (
        SELECT (ROW(%(tenant)s, %(sku)s, %(warehouse)s, %(seq)s, %(id)s, %(qty)s, %(balance)s, %(reason)s,
                    %(reference)s, %(created_at)s, NULL)::ledger_entry).*
    ) e
"""


async def test_postgresql_hashes_an_entry_as_the_domain_does(databases: Mapping[str, DatabaseUrls]) -> None:
    await asyncio.to_thread(_compare, databases["inventory"].application)


def _compare(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:

        @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
        @given(_ENTRIES, st.binary(min_size=32, max_size=32))
        def agree(entry: Entry, previous: bytes) -> None:
            (tenant, sku, warehouse), rest = entry.key, entry._asdict()
            bound = {**rest, "tenant": tenant, "sku": sku, "warehouse": warehouse, "previous": previous}
            bound |= {"reason": int(entry.reason)}
            del bound["key"]
            expected = chain_hash(previous, entry)
            assert connection.execute(_BOTH.encode(), bound).fetchone() == (expected, expected)

        agree()


def test_no_two_entries_say_the_same() -> None:
    """What stands beside each other in the content is kept apart, and no reference is not an empty one."""
    entry = Entry("inv_1", StockKey("t", "a", "b"), 1, 1, 1, Reason.RECEIPT, None, START)
    others = [
        entry._replace(key=StockKey("t", "ab", "")),
        entry._replace(seq=11, qty=1),
        entry._replace(seq=1, qty=11),
        entry._replace(reference=""),
        entry._replace(reference="-"),
        entry._replace(reference="="),
    ]

    assert len({chain_hash(bytes(32), one) for one in (entry, *others)}) == len(others) + 1


async def test_what_was_recorded_before_there_were_hashes_is_a_whole_chain_now(
    postgres: str, databases: Mapping[str, DatabaseUrls]
) -> None:
    chains = [chain(StockKey(f"tenant-{n}/live", f"SKU-{n}", "SEA-1"), 1 + n % 4) for n in range(8)]
    async with fresh_database(postgres, databases["inventory"]) as place:
        await asyncio.to_thread(_upgrade_to, "0003", place.owner)
        async with await psycopg.AsyncConnection.connect(place.owner) as connection:
            for links in chains:
                await _record_without_hashes(connection, [entry for entry, _ in links])

        await asyncio.to_thread(upgrade, "inventory", place.owner)
        report = await audit.audit(place.application, Scope(), lambda report: None)

        assert report.is_whole, list(report.findings())
        assert (report.entries, report.balances) == (sum(map(len, chains)), len(chains))
        async with await psycopg.AsyncConnection.connect(place.application) as connection:
            rows = await connection.execute("SELECT id, hash FROM ledger_entry")
            hashes = {(entry.id, entry_hash) for links in chains for entry, entry_hash in links}
            assert {(row[0], row[1]) for row in await rows.fetchall()} == hashes


async def _record_without_hashes(connection: psycopg.AsyncConnection, entries: list[Entry]) -> None:
    for e in entries:
        await connection.execute(
            "INSERT INTO ledger_entry (tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [*e.key, e.seq, e.id, e.qty, e.balance, int(e.reason), e.reference, e.created_at],
        )
    last = entries[-1]
    await connection.execute(
        "INSERT INTO balance (tenant_id, sku, warehouse, on_hand, seq, updated_at) VALUES (%s, %s, %s, %s, %s, %s)",
        [*last.key, last.balance, last.seq, last.created_at],
    )


def _upgrade_to(revision: str, owner_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "chassis" / "migrations"))
    config.set_main_option("version_locations", str(ROOT / "services" / "inventory" / "migrations"))
    config.set_main_option("path_separator", "newline")
    engine = sqlalchemy.create_engine(owner_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
