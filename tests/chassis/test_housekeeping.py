"""Forgetting: what has served its time goes, in bounded batches, and nothing younger with it."""

import asyncio
from datetime import datetime, timedelta

import pytest
import structlog

from chassis import idempotency, inbox, outbox
from chassis.database import Database
from chassis.housekeeping import BATCH_MAX, Housekeeper
from chassis.idempotency import Claim
from chassis.jetstream import StreamSpec
from tests.chassis.probes import NOW, Admin, until

MOMENT = timedelta(seconds=1)
EVENTS_KEPT = timedelta(hours=72)


@pytest.fixture
def housekeeper(database: Database) -> Housekeeper:
    return Housekeeper(database, lambda: NOW, events_kept=EVENTS_KEPT)


async def claim(database: Database, key: str, at: datetime) -> None:
    wanted = Claim("acc_1:test", key, b"f")
    await database.run(lambda tx: idempotency.claim(tx, wanted, at))


async def keep_events(admin: Admin, **published_at: datetime | None) -> None:
    for event_id, at in published_at.items():
        written = f"'{at.isoformat()}'" if at else "NULL"
        await admin.execute(
            "INSERT INTO outbox (event_id, subject, key, payload, published_at)"
            f" VALUES ('{event_id}', 's', 'k', '', {written})"
        )


async def names(admin: Admin, column: str, table: str) -> list[object]:
    return [name for (name,) in await admin.rows(f"SELECT {column} FROM {table} ORDER BY 1")]


async def test_only_expired_keys_are_forgotten(database: Database, housekeeper: Housekeeper, admin: Admin) -> None:
    await claim(database, "expired", NOW - idempotency.RETENTION)
    await claim(database, "kept", NOW - idempotency.RETENTION + MOMENT)

    assert await housekeeper.purge() == 1

    assert await names(admin, "key", "idempotency_key") == ["kept"]


async def test_an_event_is_forgotten_some_time_after_it_was_published_and_never_before(
    housekeeper: Housekeeper, admin: Admin
) -> None:
    old = NOW - EVENTS_KEPT - MOMENT
    await keep_events(admin, old=old, young=old + 2 * MOMENT, unpublished=None)

    assert await housekeeper.purge() == 1

    assert await names(admin, "event_id", "outbox") == ["unpublished", "young"]


async def test_an_inbox_claim_outlives_the_streams_memory(housekeeper: Housekeeper, admin: Admin) -> None:
    old = NOW - inbox.RETENTION - MOMENT
    for event_id, at in {"old": old, "young": old + 2 * MOMENT}.items():
        await admin.execute(f"INSERT INTO inbox VALUES ('reader', '{event_id}', '{at.isoformat()}')")

    assert await housekeeper.purge() == 1

    assert await names(admin, "event_id", "inbox") == ["young"]


def test_what_is_told_again_is_over_before_its_claim_is_forgotten() -> None:
    lives_for = StreamSpec("ANY", ("any",)).age_max

    assert outbox.TOLD_AGAIN_MAX + lives_for <= inbox.RETENTION


async def test_a_purge_takes_a_bounded_batch_and_the_housekeeper_goes_on_until_all_is_gone(
    housekeeper: Housekeeper, admin: Admin
) -> None:
    old = (NOW - inbox.RETENTION - MOMENT).isoformat()
    fill = f"INSERT INTO inbox SELECT 'reader', n::text, '{old}' FROM generate_series(1, {2 * BATCH_MAX + 1}) n"
    await admin.execute(fill)

    assert await housekeeper.purge() == BATCH_MAX
    running = asyncio.create_task(housekeeper.run())
    await until(lambda: _is_empty(admin), within_s=10)  # far less than the pause between two rounds

    housekeeper.stop()
    await running


async def test_a_key_that_is_claimed_anew_is_neither_waited_for_nor_forgotten(
    database: Database, housekeeper: Housekeeper, admin: Admin
) -> None:
    await claim(database, "reborn", NOW - idempotency.RETENTION)

    async with database.transaction() as tx:
        assert await idempotency.claim(tx, Claim("acc_1:test", "reborn", b"f"), NOW) is None
        assert await housekeeper.purge() == 0

    assert await names(admin, "key", "idempotency_key") == ["reborn"]


async def test_a_housekeeper_whose_database_is_away_tries_again_later(housekeeper: Housekeeper, admin: Admin) -> None:
    await admin.shut()
    try:
        with structlog.testing.capture_logs() as lines:
            running = asyncio.create_task(housekeeper.run())
            await until(lambda: "housekeeping.postponed" in [line["event"] for line in lines])
            assert not running.done()
    finally:
        await admin.open()

    housekeeper.stop()
    await running


async def _is_empty(admin: Admin) -> bool:
    return await admin.count("SELECT count(*) FROM inbox") == 0
