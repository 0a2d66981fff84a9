"""skutrail verify, export and import, as an operator types them: out of one database and into another."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chassis.clock import utc_now
from chassis.database import Database, create_engine
from services.inventory import archive, audit
from services.inventory.audit import Scope
from services.inventory.domain import Reason
from tests.inventory.conftest import Inventory, Place
from tests.inventory.ledgers import fill

TENANTS = ("acme/live", "acme/test", "ümlaut/test")
ENTRIES = "SELECT * FROM ledger_entry ORDER BY tenant_id, sku, warehouse, seq"
BALANCES = """
    SELECT tenant_id, sku, warehouse, on_hand, seq, head, updated_at FROM balance WHERE seq > 0
    ORDER BY tenant_id, sku, warehouse
"""


@dataclass(frozen=True)
class Ended:
    code: int | None
    out: str
    err: str


async def skutrail(*arguments: str, given: bytes = b"", **environment: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *arguments),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(given)
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def recorded(place: Place) -> Place:
    """A database in which something happened: movements of every kind, a hold, a refusal, and a long chain."""
    database = Database(create_engine(place.application, pool_size=2))
    for tenant in TENANTS:
        inventory = Inventory(database, tenant)
        await inventory.move(120, reference="PO-2026-00814")
        await inventory.move(-7, Reason.ADJUSTMENT, reference='Überweisung \\ № "7"')
        await inventory.move(3, Reason.PICK, reference="")
        await inventory.move(5, sku="S K U", warehouse="倉庫-1")
        await inventory.move(1, Reason.PICK, sku="NEVER")
        await inventory.allocate(f"shp_{tenant}", ("SKU-1", 10))
    await database.engine.dispose()
    async with await psycopg.AsyncConnection.connect(place.owner) as connection:
        await fill(connection, inventory.key("LONG"), 100)
    return place


async def rows_of(place: Place, query: str) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(place.owner) as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def test_a_trail_goes_out_and_comes_back_as_it_was(recorded: Place, other_place: Place, tmp_path: Path) -> None:
    file = tmp_path / "trail.ndjson"

    exported = await skutrail("export", str(file), SKUTRAIL_DATABASE_URL=recorded.application)
    imported = await skutrail("import", str(file), SKUTRAIL_INVENTORY_OWNER_URL=other_place.owner)
    verified = await skutrail("verify", f"--against={file}", SKUTRAIL_DATABASE_URL=other_place.application)

    assert (exported.code, exported.out) == (0, ""), exported.err
    assert (imported.code, imported.err) == (0, exported.err)
    assert verified == Ended(0, "112 entries, 7 balances. All is whole.\n", "")
    assert await rows_of(other_place, ENTRIES) == await rows_of(recorded, ENTRIES)
    assert await rows_of(other_place, BALANCES) == await rows_of(recorded, BALANCES)
    assert await rows_of(other_place, "SELECT sum(held) FROM balance") == [(0,)]
    *lines, manifest = file.read_bytes().splitlines(keepends=True)
    told = json.loads(manifest)["manifest"]
    assert told["sha256"] == hashlib.sha256(b"".join(lines)).hexdigest()
    assert (told["entries"], told["chains"]) == (112, 7)
    assert list(json.loads(lines[0])) == [
        *("tenant_id", "sku", "warehouse", "seq", "id", "qty", "balance", "reason", "reference", "created_at", "hash")
    ]


async def test_what_is_there_already_is_not_written_over(recorded: Place, tmp_path: Path) -> None:
    file = tmp_path / "trail.ndjson"
    file.write_text("mine")
    lines = await exported_from(recorded)

    exported, imported = await asyncio.gather(
        skutrail("export", str(file), SKUTRAIL_DATABASE_URL=recorded.application),
        skutrail("import", "-", given=b"".join(lines), SKUTRAIL_INVENTORY_OWNER_URL=recorded.owner),
    )

    assert (exported.code, file.read_text()) == (1, "mine")
    assert (imported.code, imported.out) == (1, "")
    assert "needs an empty one" in imported.err


async def exported_from(place: Place) -> list[bytes]:
    lines: list[bytes] = []
    await asyncio.to_thread(archive.export, place.application, lines.append, utc_now())
    return lines


def resigned(lines: Sequence[bytes]) -> list[bytes]:
    """With a manifest that agrees with the lines, as whoever changed them would write it."""
    *entries, manifest = lines
    told = json.loads(manifest)
    chains = [key for key, _ in groupby(entries, lambda line: line.partition(b'"seq"')[0])]
    told["manifest"] |= {"entries": len(entries), "chains": len(chains)}
    told["manifest"] |= {"sha256": hashlib.sha256(b"".join(entries)).hexdigest()}
    return [*entries, json.dumps(told, separators=(",", ":")).encode() + b"\n"]


DAMAGES = {
    "a byte": lambda lines: [lines[0], lines[1].replace(b"PO-2026", b"PO-2027"), *lines[2:]],
    "a byte of the manifest": lambda lines: [*lines[:-1], lines[-1].replace(b'"chains":7', b'"chains":8')],
    "cut off between lines": lambda lines: lines[:-1],
    "cut off within a line": lambda lines: [*lines[:5], lines[5][:40]],
    "a line lost": lambda lines: lines[:3] + lines[4:],
    "a line lost, and the manifest made to agree": lambda lines: resigned(lines[:1] + lines[2:]),
    "an entry changed, and the manifest made to agree": lambda lines: resigned(
        [lines[0], lines[1].replace(b"PO-2026", b"PO-2027"), *lines[2:]]
    ),
    "a chain twice": lambda lines: resigned([*lines[:-1], *lines[:3], lines[-1]]),
    "something behind the manifest": lambda lines: [*lines, lines[0]],
    "another format": lambda lines: [*lines[:-1], lines[-1].replace(b"trail/1", b"trail/2")],
    "nothing": lambda lines: [],
    "something else": lambda lines: [b"hello\n"],
    "a number too large": lambda lines: [
        lines[0],
        lines[1].replace(b'"qty":120', b'"qty":99999999999999999999'),
        *lines[2:],
    ],
}


async def test_a_damaged_file_leaves_nothing_behind(recorded: Place, other_place: Place) -> None:
    lines = await exported_from(recorded)

    for what, damage in DAMAGES.items():
        damaged = damage(lines)
        assert damaged != lines, what
        with pytest.raises(archive.Damaged):
            await asyncio.to_thread(archive.take_back, other_place.owner, damaged)
        assert await rows_of(other_place, ENTRIES) == [], what
        assert await rows_of(other_place, BALANCES) == [], what


async def test_an_export_shows_a_chain_that_was_rewritten_with_care(recorded: Place) -> None:
    """Whoever may write everything may make every hash anew: only what was kept elsewhere tells."""
    lines = await exported_from(recorded)
    async with await psycopg.AsyncConnection.connect(recorded.owner) as connection:
        await connection.execute("DELETE FROM ledger_entry WHERE sku = 'LONG' AND seq = 100")
        await connection.execute(
            "UPDATE balance b SET seq = e.seq, on_hand = e.balance, head = e.hash FROM ledger_entry e"
            " WHERE e.seq = 99 AND b.sku = 'LONG' AND e.sku = b.sku"
        )

    report = await audit.audit(recorded.application, Scope(), lambda report: None)
    assert report.is_whole
    await audit.compare(recorded.application, Scope(), archive.Reading(lines).heads(), report)

    assert {key.sku: seq for key, (seq, _) in report.broken.items()} == {"LONG": 100}


async def test_verify_names_what_is_broken_and_looks_only_where_it_is_told(recorded: Place) -> None:
    async with await psycopg.AsyncConnection.connect(recorded.owner) as connection:
        await connection.execute("UPDATE ledger_entry SET qty = qty + 1 WHERE tenant_id = 'acme/live' AND seq = 2")

    broken = await skutrail("verify", SKUTRAIL_DATABASE_URL=recorded.application)
    elsewhere = await audit.audit(recorded.application, Scope(tenant_id="acme/test"), lambda report: None)
    sku_elsewhere = await audit.audit(recorded.application, Scope(sku="LONG"), lambda report: None)
    warehouse = await audit.audit(recorded.application, Scope(warehouse="SEA-1"), lambda report: None)

    assert (broken.code, broken.err) == (1, "")
    assert "acme/live  SKU-1  SEA-1: entry 2 is missing, or not what was recorded" in broken.out
    assert broken.out.endswith("Broken: 1.\n")
    assert (elsewhere.is_whole, elsewhere.entries) == (True, 4)
    assert (sku_elsewhere.is_whole, sku_elsewhere.entries) == (True, 100)
    assert (warehouse.is_whole, warehouse.entries) == (False, 109)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        (["--tenant=nobody"], "the tenant nobody"),
        (["--tenant=acme/live", "--sku=NEVER"], "the tenant acme/live, the sku NEVER"),
        (["--warehouse=sea-1"], "the warehouse sea-1"),
    ],
)
async def test_where_nothing_is_recorded_verify_tells_so_instead_of_a_verdict(
    recorded: Place, option: list[str], named: str
) -> None:
    ended = await skutrail("verify", *option, SKUTRAIL_DATABASE_URL=recorded.application)

    assert ended == Ended(2, "", f"skutrail: nothing is recorded of {named}: is it spelled right?\n")


async def test_a_tenant_that_only_waits_is_known_and_an_empty_database_is_whole(place: Place) -> None:
    empty = await skutrail("verify", SKUTRAIL_DATABASE_URL=place.application)
    database = Database(create_engine(place.application, pool_size=1))
    await Inventory(database, "acme/live").allocate("shp_1", ("SKU-1", 1))
    await database.engine.dispose()

    waiting = await skutrail("verify", "--tenant=acme/live", SKUTRAIL_DATABASE_URL=place.application)

    assert empty == waiting == Ended(0, "0 entries, 0 balances. All is whole.\n", "")


async def test_trouble_is_no_verdict(tmp_path: Path, databases: Any) -> None:
    all_ended = await asyncio.gather(
        skutrail("verify", SKUTRAIL_HOME=str(tmp_path)),  # where no stack runs
        skutrail("verify", SKUTRAIL_DATABASE_URL=databases["gateway"].application),
    )

    for ended in all_ended:
        assert (ended.code, ended.out) == (2, ""), ended
        assert ended.err.count("\n") == 1
