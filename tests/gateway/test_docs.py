"""The pages under /docs as a client without a browser sees them, and the programs that they show."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from html import unescape
from importlib.metadata import distribution
from pathlib import Path

import aiohttp
import pytest

from chassis.errors import ERRORS
from cli.local.stack import free_ports
from gateway.docs import assets
from services.webhooks import signing
from tests.builders import eventually, movement
from tests.gateway.asking import Caller
from tests.gateway.conftest import Door

PAGES = ("/docs", "/docs/reference", "/docs/idempotency", "/docs/webhooks", "/docs/errors")
LINK = re.compile(r'(?:href|src)="([^"]+)"')


@dataclass(frozen=True)
class Receiver:
    session: aiohttp.ClientSession
    url: str
    secret: str
    log: Path

    async def answers(self, body: bytes, headers: Mapping[str, str]) -> int:
        """The status; 0 while nobody listens."""
        try:
            async with self.session.post(self.url, data=body, headers=headers) as answer:
                return answer.status
        except aiohttp.ClientConnectionError:
            return 0

    async def until_it_listens(self) -> None:
        await eventually(lambda: self.answers(b"", {}), lambda status: status != 0)

    async def told(self) -> str:
        return await asyncio.to_thread(self.log.read_text)


async def page(caller: Caller, path: str) -> str:
    answer = await caller.by("").get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), path
    return answer.body.decode()


def installed(path: str) -> bytes:
    return Path(str(distribution(assets.PACKAGE).locate_file(f"{assets.FOLDER}/{path}"))).read_bytes()


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_runs_and_loads_nothing_that_is_not_ours(door: Door, path: str) -> None:
    answer = await door.caller.by("").get(path)
    rules = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))
    html = answer.body.decode()

    assert rules["default-src"] == "'none'"
    assert "unsafe" not in " ".join(rules.values())
    assert rules.get("script-src") == ("'self'" if path == "/docs/reference" else None)
    assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=|javascript:", html)
    assert not re.findall(r'(?:src|<link[^>]* href)="(?:\w+:)?//', html)


@pytest.mark.parametrize("path", PAGES)
async def test_every_link_of_a_page_leads_somewhere(door: Door, path: str) -> None:
    links = {link for link in LINK.findall(await page(door.caller, path)) if link.startswith(("/", "#"))}

    for link in links:
        target, _, anchor = link.partition("#")
        answer = await door.caller.by("").get(target or path)
        assert answer.status == 200, link
        assert not anchor or anchor.startswith("/") or f'id="{anchor}"' in answer.body.decode(), link


async def test_the_type_of_every_problem_lands_on_its_own_words(door: Door) -> None:
    html = await page(door.caller, "/docs/errors")

    assert re.findall(r'<section id="(\w+)">', html) == list(ERRORS)


async def test_the_first_page_shows_the_five_calls_as_they_can_be_pasted(door: Door) -> None:
    html = unescape(await page(door.caller, "/docs"))

    for path in (
        "/v1/inventory/ledger",
        "/v1/inventory/balance?sku=SKU-0042&warehouse=SEA-1",
        "/v1/shipments",
        "/v1/orders/ord_5k2n9v",
        "/v1/webhooks/subscribe",
    ):
        assert door.caller.base_url + path in html


async def test_swagger_ui_is_served_as_it_was_installed_and_kept_for_ever(door: Door) -> None:
    html = await page(door.caller, "/docs/reference")
    (folder,) = set(re.findall(r'="(/docs/assets/\w+)/', html))

    for path in assets.THEIRS:
        address = f"{folder}/{Path(path).name}"
        answer = await door.caller.by("").get(address)
        again = await door.caller.by("").get(address, headers={"If-None-Match": answer.headers["ETag"]})
        assert answer.body == installed(path)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("swagger-ui.css.map", "application/json"),
        ("icon.svg", "image/svg+xml"),
        ("reference.js", "text/javascript; charset=utf-8"),
    ],
)
async def test_a_file_is_served_as_what_it_is(door: Door, name: str, media_type: str) -> None:
    address = f"{assets.load().folder}/{name}"
    answer = await door.caller.by("").get(address)
    head = await door.caller.by("").ask("HEAD", address)

    assert (answer.status, answer.headers["Content-Type"]) == (200, media_type)
    assert (head.status, head.headers["Content-Type"], head.body) == (200, media_type, b"")


@pytest.mark.parametrize(
    "path",
    [
        "FOLDER/plugin.py",
        "FOLDER/swagger.html",
        "FOLDER/..%2fpages%2fstart.html",
        "FOLDER/%2e%2e",
        "/docs/assets/0123456789abcdef/style.css",
    ],
)
async def test_no_other_file_is_served(door: Door, path: str) -> None:
    assert (await door.caller.get(path.replace("FOLDER", assets.load().folder))).code == "not_found"


@pytest.mark.parametrize("path", [*PAGES, "/docs/assets/x/style.css"])
async def test_the_pages_are_for_reading(door: Door, path: str) -> None:
    answer = await door.caller.by("").ask("POST", path)

    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


# None: one is made for us. The second is published, and has the form of a secret, not the content.
SECRETS = (None, "whsec_REPLACE", "plain words")
IN_PYTHON = [("receive_webhooks.py", secret) for secret in SECRETS]
IN_NODE = [pytest.param(("receive_webhooks.mjs", secret), marks=pytest.mark.slow) for secret in SECRETS]


@pytest.fixture(params=[*IN_PYTHON, *IN_NODE])
async def receiver(request: pytest.FixtureRequest, caller: Caller, tmp_path: Path) -> AsyncIterator[Receiver]:
    """A program that a page shows, written to a file and run as the page says: in Python, and (slow) in Node."""
    name, chosen = request.param
    program = tmp_path / name
    html = await page(caller, "/docs/webhooks")
    shown = re.search(rf'<pre id="{name}">(.*?)</pre>', html, re.DOTALL)
    assert shown
    program.write_text(unescape(shown[1]))
    (port,) = free_ports(1)
    wanted = {"url": f"http://127.0.0.1:{port}/", "events": ["inventory.updated"]}
    asked = wanted if chosen is None else {**wanted, "secret": chosen}
    webhook = (await caller.post("/v1/webhooks/subscribe", asked)).json
    secret = chosen or webhook["secret"]
    log = tmp_path / "log"
    environment = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)}
    interpreter = sys.executable if program.suffix == ".py" else "node"
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            interpreter, str(program), env=environment, stdout=output, stderr=output
        )
        try:
            yield Receiver(caller.session, str(wanted["url"]), secret, log)
        finally:
            process.kill()
            await process.wait()
            await caller.ask("DELETE", f"/v1/webhooks/{webhook['id']}")


async def test_a_receiver_that_is_shown_believes_us_and_nobody_else(receiver: Receiver, caller: Caller) -> None:
    await receiver.until_it_listens()
    moved = await caller.post("/v1/inventory/ledger", movement(5))
    assert moved.status == 200

    await eventually(receiver.told, lambda told: "inventory.updated evt_" in told)

    body, now = b'{"id": "evt_1", "type": "order.updated"}', int(time.time())
    genuine = signing.headers(receiver.secret, message_id="evt_1", timestamp=now, body=body)
    stale = signing.headers(receiver.secret, message_id="evt_1", timestamp=now - 600, body=body)
    foreign = signing.headers("whsec_" + "b" * 32, message_id="evt_1", timestamp=now, body=body)
    several = {**genuine, "webhook-signature": f"v1,{'A' * 43}= {genuine['webhook-signature']}"}
    assert [await receiver.answers(body, headers) for headers in (genuine, several)] == [204, 204]
    for headers in (stale, foreign, {}, {**genuine, "webhook-id": "evt_2"}, {**genuine, "webhook-timestamp": "now"}):
        assert await receiver.answers(body, headers) == 401
    assert await receiver.answers(body + b" ", genuine) == 401
    for reason in ("not sent just now", "not signed with this secret"):
        assert f"refused: {reason}" in await receiver.told()
