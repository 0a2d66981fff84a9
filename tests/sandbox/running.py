"""The sandbox carrier in this process, over real HTTP, and short words for asking it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.app import make_app
from sandbox.faults import Pace
from sandbox.register import Register
from sandbox.serving import serving

REFERENCE = "shp_1-1"
ORDER = {
    "reference": REFERENCE,
    "order_id": "ord_1",
    "service": "sandbox_ground",
    "ship_from": "SEA-1",
    "ship_to": {
        "name": "Ada Lovelace",
        "line1": "1 Shoreline Dr",
        "city": "Seattle",
        "state": "WA",
        "postal": "98101",
        "country": "US",
    },
}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Any
    json: Any


@dataclass(frozen=True)
class Sandbox:
    """Who asks it."""

    url: str
    session: aiohttp.ClientSession

    async def buy(self, key: str = "att_1", *, name: str = "Ada Lovelace", **more: Any) -> Reply:
        ship_to = {**ORDER["ship_to"], "name": name}  # type: ignore[dict-item]
        return await self.post("/v1/labels", {**ORDER, "ship_to": ship_to, **more}, {"Idempotency-Key": key})

    async def void(self, number: str) -> Reply:
        return await self.post(f"/v1/labels/{number}/void")

    async def scan(self, number: str, status: str) -> Reply:
        return await self.post(f"/v1/labels/{number}/scans", {"status": status})

    async def scans(self, number: str) -> list[str]:
        seen = (await self.get(f"/v1/labels/{number}/scans")).json["scans"]
        return [scan["status"] for scan in seen]

    async def found(self, reference: str = REFERENCE) -> list[dict[str, Any]]:
        labels: list[dict[str, Any]] = (await self.get(f"/v1/labels?reference={reference}")).json["labels"]
        return labels

    async def sales(self, reference: str = REFERENCE) -> tuple[int, int]:
        """How many labels were sold, and how many of them given back."""
        tally = (await self.get(f"/v1/sales?reference={reference}")).json
        return tally["sold"], tally["voided"]

    async def get(self, path: str) -> Reply:
        async with self.session.get(self.url + path) as response:
            return Reply(response.status, response.headers, await response.json(content_type=None))

    async def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        async with self.session.post(self.url + path, json=body, headers=headers) as response:
            text = await response.text()
            return Reply(response.status, response.headers, await response.json(content_type=None) if text else None)


@asynccontextmanager
async def running_sandbox(file: Path | None = None, pace: Pace | None = None) -> AsyncIterator[Sandbox]:
    """A sandbox of its own, at a port that is free. In memory where no file is named."""
    register = Register(str(file) if file else "")
    try:
        async with serving(make_app(register, pace), "127.0.0.1:0") as url, aiohttp.ClientSession() as session:
            yield Sandbox(url, session)
    finally:
        await register.close()
