"""Walks over the pages of a list, as a caller takes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

from tests.gateway.asking import Caller

Row = dict[str, Any]


async def pages(caller: Caller, path: str, *, limit: int = 2, **filters: str) -> AsyncIterator[list[Row]]:
    """Page after page, to the end."""
    query = urlencode({"limit": limit, **filters}, quote_via=quote)
    cursor: str | None = ""
    while cursor is not None:
        answer = await caller.get(f"{path}?{query}" + (f"&cursor={cursor}" if cursor else ""))
        assert answer.status == 200, answer.json
        told = answer.json
        assert list(told) == ["data", "has_more", "next_cursor"]
        assert told["has_more"] is (told["next_cursor"] is not None)
        assert len(told["data"]) <= limit
        yield told["data"]
        cursor = told["next_cursor"]


async def walk(caller: Caller, path: str, *, limit: int = 2, **filters: str) -> list[Row]:
    return [row async for data in pages(caller, path, limit=limit, **filters) for row in data]
