"""Databases and roles: what each may do, and that provisioning can be repeated."""

from collections.abc import Mapping

import psycopg
import pytest
from sqlalchemy import text

from chassis.database import create_engine
from cli.provision import DatabaseUrls, provision

Urls = Mapping[str, DatabaseUrls]


@pytest.fixture(scope="module")
async def urls(postgres: str, role_passwords: Mapping[str, str]) -> Urls:
    return await provision(postgres, role_passwords)


async def value(url: str, query: str) -> object:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return row[0]


async def test_provisioning_again_keeps_what_is_there(
    urls: Urls, postgres: str, role_passwords: Mapping[str, str]
) -> None:
    oids = "SELECT array_agg(oid ORDER BY oid) FROM pg_database"
    before = await value(postgres, oids)

    again = await provision(postgres, role_passwords)

    assert again == urls
    assert await value(postgres, oids) == before
    assert await value(again["orders"].application, "SELECT current_user || '@' || current_database()") == (
        "skutrail_orders@skutrail_orders"
    )


@pytest.mark.parametrize(
    ("setting", "limit"),
    [
        ("lock_timeout", "1500ms"),
        ("statement_timeout", "5s"),
        ("transaction_timeout", "15s"),
        ("idle_in_transaction_session_timeout", "10s"),
    ],
)
async def test_a_process_limits_its_own_sessions_whoever_made_its_role(urls: Urls, setting: str, limit: str) -> None:
    engine = create_engine(urls["inventory"].application, pool_size=1)
    async with engine.connect() as connection:
        shown = (await connection.execute(text(f"SHOW {setting}"))).scalar_one()
    await engine.dispose()

    assert shown == limit
    assert await value(urls["inventory"].application, f"SHOW {setting}") == "0"


async def test_a_role_reaches_no_database_but_its_own(urls: Urls) -> None:
    astray = urls["orders"].application.removesuffix("/skutrail_orders") + "/skutrail_inventory"

    with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
        await value(astray, "SELECT 1")


async def test_the_application_role_makes_no_tables(urls: Urls) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await value(urls["webhooks"].application, "CREATE TABLE mine (id int)")


async def test_strings_compare_byte_for_byte(urls: Urls) -> None:
    query = "SELECT string_agg(sku, ' ' ORDER BY sku) FROM unnest(ARRAY['b', 'ä', 'B', 'a-1', 'a1', 'A']) AS sku"

    assert await value(urls["inventory"].owner, query) == "A B a-1 a1 b ä"
