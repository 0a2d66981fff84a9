"""skutrail keys, as an operator types it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.provision import DatabaseUrls
from gateway import keys
from tests.gateway.conftest import Door


@dataclass(frozen=True)
class Ended:
    code: int | None
    out: str
    err: str


async def skutrail(*arguments: str, **environment: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cli", "keys", *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Ended(process.returncode, out.decode(), err.decode())


async def test_a_key_is_made_listed_and_revoked(door: Door) -> None:
    database = f"--database-url={door.database_url}"

    made = await skutrail("create", "--account=typed", "--mode=live", "--limit=7/3s", database)

    assert made.code == 0
    assert keys.is_well_formed(made.out.removesuffix("\n"))
    assert "typed/live" in made.err
    assert made.out.strip() not in made.err

    key_id = made.err.partition(":")[0]
    all_listed = await skutrail("list", database)
    assert all_listed.code == 0, all_listed.err
    [listed] = [line for line in all_listed.out.splitlines() if key_id in line]
    assert all(part in listed for part in ("typed/live", made.out.strip()[-4:], "7/3s", "since"))
    assert made.out.strip() not in listed

    assert (await skutrail("revoke", key_id, database)).code == 0
    again = await skutrail("revoke", key_id, database)
    assert (again.code, again.out) == (1, "")
    assert "revoked already" in again.err


async def test_the_database_of_the_running_stack_is_found_in_its_home(door: Door, tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"databases": {"gateway": door.database_url}}))

    made = await skutrail("create", "--account=found", "--mode=test", SKUTRAIL_HOME=str(tmp_path))

    assert made.out.startswith("sk_test_")


async def test_what_is_mistyped_is_told_in_one_line_and_makes_nothing(door: Door, tmp_path: Path) -> None:
    database = f"--database-url={door.database_url}"
    tries = [
        ("create", "--account=Acme", "--mode=test", database),
        ("create", "--account=acme", "--mode=prod", database),
        ("create", "--account=acme", "--mode=test", "--limit=lots", database),
        ("list", "--database-url=postgresql://nobody:x@127.0.0.1:1/none"),
        ("list", "--database-url=gateway"),
        ("list",),
    ]

    for arguments in tries:
        ended = await skutrail(*arguments, SKUTRAIL_HOME=str(tmp_path))

        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("skutrail: ")
        assert ended.err.count("\n") == 1, ended.err


async def test_a_database_without_the_table_is_told_in_one_line(databases: Mapping[str, DatabaseUrls]) -> None:
    ended = await skutrail("list", f"--database-url={databases['orders'].application}")

    assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
    assert ended.err.startswith('skutrail: In that database relation "api_key" does not exist.')


async def test_where_no_stack_runs_is_told_in_full() -> None:
    ended = await skutrail("list", SKUTRAIL_HOME="nowhere")

    assert f"No stack runs in {Path.cwd()}/nowhere." in ended.err
