"""A caller of the API, as tests need one: a real HTTP client with a key and short words."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from gateway.keys import EXAMPLE_KEY

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem; empty for an answer that is none."""
        is_problem = self.headers.get("Content-Type") == "application/problem+json"
        return str(self.json["code"]) if is_problem else ""


@dataclass(frozen=True)
class Caller:
    session: aiohttp.ClientSession
    base_url: str
    key: str = EXAMPLE_KEY

    def by(self, key: str) -> Caller:
        return replace(self, key=key)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def get_until(self, path: str, holds: Callable[[Answer], bool]) -> Answer:
        """The first answer of which it holds: what follows by events takes a moment."""
        async with asyncio.timeout(20):
            while True:
                answer = await self.get(path)
                if holds(answer):
                    return answer
                await asyncio.sleep(0.05)

    async def post(self, path: str, body: Any = None, *, idempotency_key: str = "", **options: Any) -> Answer:
        """`body` is sent as JSON; bytes are sent as they are."""
        headers = CIMultiDict(options.pop("headers", {}))
        headers.setdefault("Content-Type", "application/json")
        if idempotency_key:
            headers.add("Idempotency-Key", idempotency_key)
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        return await self.ask("POST", path, headers=headers, data=data, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        """`body` is sent as JSON."""
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return await self.ask("PUT", path, headers=headers, data=json.dumps(body).encode(), **options)

    async def ask(self, method: str, path: str, *, headers: Headers = (), data: Any = None) -> Answer:
        """The path goes out as it is written."""
        sent = CIMultiDict(headers)
        if self.key:
            sent.setdefault("Authorization", f"Bearer {self.key}")
        url = URL(self.base_url + path, encoded=True)
        async with self.session.request(method, url, headers=sent, data=data, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await response.read())
