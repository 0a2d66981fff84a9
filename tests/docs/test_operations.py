"""The page for operators: what it tells to ask a database, the databases answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import psycopg

from cli.provision import DatabaseUrls

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
WATCH = PAGE.split("\n## What to watch\n")[1].split("\n## ")[0]


def queries() -> Mapping[str, str]:
    """By the number behind each."""
    found = re.findall(r"^    (SELECT.*?;) +-- (\d)$", WATCH, re.MULTILINE | re.DOTALL)
    return {number: query for query, number in found}


async def test_what_is_to_be_watched_can_be_asked_by_the_role_of_each_process(
    databases: Mapping[str, DatabaseUrls],
) -> None:
    asked = {"1": ("inventory", "shipments", "orders", "webhooks"), "3": ("webhooks",)}
    asked["2"] = asked["1"]
    assert queries().keys() == asked.keys()

    for number, names in asked.items():
        for name in names:
            async with await psycopg.AsyncConnection.connect(databases[name].application) as connection:
                answer = await connection.execute(queries()[number])
                assert await answer.fetchone(), (number, name)


def test_every_row_that_a_signal_leads_to_is_there() -> None:
    signals = [line.split("|")[1:-1] for line in WATCH.splitlines() if line.startswith("| ")][1:]
    rows = [line for line in PAGE.split("| What you see |")[1].splitlines() if line.startswith("| ")]

    assert len(signals) == 8
    for *_, row in signals:
        assert any(line.split("|")[1].strip().startswith(row.strip()) for line in rows), row
