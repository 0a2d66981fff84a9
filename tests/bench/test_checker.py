"""The bench counts only what its checker has checked. So the checker itself is shown every fault it must find."""

from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from bench.check import Checker, Connection
from bench.fill import fill
from cli.provision import DatabaseUrls

TENANT, TAG = "bench/test", "run1"
SKUS, BEFORE, LENGTH = 3, 5, 15
WRITTEN = SKUS * (LENGTH - BEFORE)

_ADD_KEYS = """
    INSERT INTO idempotency_key (tenant_id, key, fingerprint, created_at, expires_at)
    SELECT %s, %s || '-' || n, '', now(), now() FROM generate_series(1, %s) n
"""


@pytest.fixture
async def connection(postgres: str, databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Connection]:
    """The inventory's own tables, in a transaction that is rolled back: what is planted here nobody else sees."""
    database = urlsplit(databases["inventory"].owner).path
    url = urlunsplit(urlsplit(postgres)._replace(path=database))
    async with await psycopg.AsyncConnection.connect(url) as connection:
        yield connection
        await connection.rollback()


@pytest.fixture
async def checker(connection: Connection) -> Checker:
    """It has seen chains of BEFORE entries; since then they have become LENGTH entries long."""
    checker = Checker(connection)
    await fill(connection, TENANT, skus=SKUS, length=BEFORE)
    await checker.remember()
    await fill(connection, TENANT, skus=SKUS, length=LENGTH)
    await connection.execute(_ADD_KEYS, [TENANT, TAG, WRITTEN])
    return checker


async def test_a_ledger_that_holds_what_was_accepted_is_without_fault(checker: Checker) -> None:
    findings = await checker.check(accepted=WRITTEN, sent=WRITTEN, tag=TAG)

    assert findings.written == WRITTEN
    assert not findings.faults


async def test_a_second_check_looks_only_at_what_is_new(connection: Connection, checker: Checker) -> None:
    await checker.check(accepted=WRITTEN, sent=WRITTEN, tag=TAG)
    await fill(connection, TENANT, skus=1, length=LENGTH + 1)
    await connection.execute(_ADD_KEYS, [TENANT, "run2", 1])

    findings = await checker.check(accepted=1, sent=1, tag="run2")

    assert findings.written == 1
    assert not findings.faults


async def test_what_was_sent_but_never_answered_may_be_written_or_not(checker: Checker) -> None:
    findings = await checker.check(accepted=WRITTEN - 2, sent=WRITTEN + 3, tag=TAG)

    assert not findings.faults


@pytest.mark.parametrize(
    ("planted", "accepted", "found"),
    [
        pytest.param("SELECT 1", WRITTEN + 1, "entries written", id="an_accepted_movement_that_is_not_there"),
        pytest.param("SELECT 1", WRITTEN - 1, "entries written", id="an_entry_that_nobody_was_told_of"),
        pytest.param("DELETE FROM ledger_entry WHERE seq = 9 AND sku = 'SKU-2'", WRITTEN - 1, "gaps", id="a_gap"),
        pytest.param(
            "DELETE FROM ledger_entry WHERE seq = 6 AND sku = 'SKU-2'", WRITTEN - 1, "gaps", id="a_gap_at_the_start"
        ),
        pytest.param(
            "DELETE FROM ledger_entry WHERE seq = 15 AND sku = 'SKU-2'", WRITTEN, "last entry", id="a_lost_last_entry"
        ),
        pytest.param(
            "UPDATE ledger_entry SET balance = balance + 1 WHERE seq = 9 AND sku = 'SKU-2'",
            WRITTEN,
            "plus qty",
            id="a_wrong_balance_in_the_trail",
        ),
        pytest.param(
            "UPDATE balance SET on_hand = on_hand + 1 WHERE sku = 'SKU-2'", WRITTEN, "last entry", id="a_wrong_balance"
        ),
        pytest.param(
            "DELETE FROM idempotency_key WHERE key = 'run1-3'", WRITTEN, "keys", id="a_movement_without_its_key"
        ),
    ],
)
async def test_a_planted_fault_is_found(
    connection: Connection, checker: Checker, planted: str, accepted: int, found: str
) -> None:
    await connection.execute(planted)

    findings = await checker.check(accepted=accepted, sent=accepted, tag=TAG)

    assert any(found in fault for fault in findings.faults), findings
