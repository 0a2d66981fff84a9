"""The pages under /docs in a real browser: they are drawn, the calls can be tried, and nobody else is asked.

Needs chromium, which no Python package carries: on Debian, apt install chromium.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.gateway.asking import Caller
from tests.gateway.test_docs import PAGES
from tests.running import RunningStack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REFERENCE = "/docs/reference"
PHONE_WIDTH = 360
WAIT_MS = 100_000  # drawing takes a second, and many on a machine that is busy

# It was scrolled to, and nothing lies over it.
IS_ON_TOP = """selector => {
  const block = document.querySelector(selector), { left, top } = block.getBoundingClientRect();
  return top >= 0 && top < 20 && block.contains(document.elementFromPoint(left + 50, top + 5));
}"""


@dataclass
class Tab:
    """A page, all that it said to the console, and whom it asked."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        self.said.append(f"{message.type}: {message.text}")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    assert program, "these tests drive a real browser; on Debian and Ubuntu: apt install chromium"
    # A browser refuses to sandbox itself as root, which is what a container runs it as.
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        await browser.close()


@pytest.fixture
async def tab(browser: Browser, stack: RunningStack) -> AsyncIterator[Tab]:
    context = await browser.new_context(base_url=stack.base_url, viewport={"width": 1200, "height": 900})
    context.set_default_timeout(WAIT_MS)
    tab = Tab(await context.new_page())
    tab.page.on("console", tab.hear)
    tab.page.on("pageerror", lambda error: tab.said.append(str(error)))
    tab.page.on("request", lambda request: tab.asked.append(request.url))
    yield tab
    await context.close()


@pytest.fixture
async def newcomer(stack: RunningStack, caller: Caller) -> Caller:
    """Somebody whose account has no past."""
    return caller.by(await stack.create_key(f"docs-{os.urandom(4).hex()}"))


def assert_kept_to_itself(tab: Tab, base_url: str) -> None:
    assert tab.said == []
    assert tab.asked
    assert [url for url in tab.asked if not url.startswith((f"{base_url}/", "data:"))] == []


async def open_reference(tab: Tab) -> None:
    await tab.page.goto(REFERENCE)
    await tab.page.locator(".opblock").first.wait_for()


async def authorize(tab: Tab, key: str) -> None:
    await tab.page.get_by_role("button", name="Authorize", exact=True).click()
    await tab.page.get_by_label("auth-bearer-value").fill(key)
    await tab.page.get_by_label("Apply credentials").first.click()
    await tab.page.locator(".btn-done").first.click()


async def try_out(tab: Tab, operation: str) -> tuple[int, Any]:
    """Sends what the page suggests, and reads from the page what came back: the status and the body."""
    block = tab.page.locator(f"[id^='operations-'][id$='-{operation}']")
    await block.locator(".opblock-summary-control").click()
    await block.get_by_role("button", name="Try it out").click()
    await block.get_by_role("button", name="Execute").click()
    answered = block.locator(".live-responses-table .response")
    await answered.wait_for()
    status = await answered.locator(".response-col_status").inner_text()
    body = await answered.locator(".response-col_description .highlight-code code").first.inner_text()
    return int(status.split()[0]), json.loads(body)


async def test_the_reference_shows_every_operation_and_event(tab: Tab, stack: RunningStack, caller: Caller) -> None:
    document = (await caller.get("/openapi.json")).json
    await open_reference(tab)

    shown = await tab.page.locator(".opblock").evaluate_all("blocks => blocks.map(block => block.id)")

    operations = [operation for path in document["paths"].values() for operation in path.values()]
    told = {f"operations-{operation['tags'][0]}-{operation['operationId']}" for operation in operations}
    assert told <= {*shown}
    assert len(shown) == len(told) + len(document["webhooks"])
    assert_kept_to_itself(tab, stack.base_url)


async def test_the_five_calls_can_be_tried_from_the_page(tab: Tab, stack: RunningStack, newcomer: Caller) -> None:
    await open_reference(tab)
    await authorize(tab, newcomer.key)

    status, moved = await try_out(tab, "record_movement")
    assert (status, moved["sku"], moved["balance"]) == (200, "SKU-0042", 120)
    assert (await newcomer.get(f"/v1/inventory/ledger/{moved['id']}")).json["reference"] == "PO-2026-00814"

    status, balance = await try_out(tab, "get_balance")
    assert (status, balance["warehouse"], balance["balance"]) == (200, "SEA-1", 120)

    status, shipment = await try_out(tab, "create_shipment")
    assert (status, shipment["status"], shipment["label_url"]) == (202, "queued", None)

    order = "/v1/orders/ord_5k2n9v"
    await newcomer.get_until(order, lambda told: told.status == 200 and told.json["status"] == "allocated")
    status, order = await try_out(tab, "get_order")
    assert (status, order["status"]) == (200, "allocated")
    assert order["allocations"] == [{"warehouse": "SEA-1", "qty": 2, "shipment_id": shipment["id"]}]

    status, webhook = await try_out(tab, "subscribe")
    assert (status, webhook["events"]) == (201, ["shipment.created", "inventory.updated"])
    assert (await newcomer.get(f"/v1/webhooks/{webhook['id']}")).json["url"] == webhook["url"]
    assert_kept_to_itself(tab, stack.base_url)


async def test_a_link_to_a_call_opens_it(tab: Tab) -> None:
    await tab.page.goto("/docs")

    await tab.page.locator("a[href$='get_order']").click()

    await tab.page.locator("#operations-Orders-get_order.is-open").wait_for()
    await tab.page.wait_for_function(IS_ON_TOP, arg="#operations-Orders-get_order")


async def test_the_page_forgets_the_key(tab: Tab, newcomer: Caller) -> None:
    await open_reference(tab)
    await authorize(tab, newcomer.key)
    await tab.page.locator(".btn.authorize.locked").wait_for()

    kept = await tab.page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    await tab.page.reload()

    assert kept == '[{},{},""]'
    await tab.page.locator(".btn.authorize.unlocked").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
async def test_a_page_fits_a_phone_by_day_and_by_night(tab: Tab, stack: RunningStack, path: str, scheme: Any) -> None:
    await tab.page.emulate_media(color_scheme=scheme)
    await tab.page.set_viewport_size({"width": PHONE_WIDTH, "height": 720})
    await tab.page.goto(path, wait_until="networkidle")

    assert await tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH
    light = await tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")
    assert_kept_to_itself(tab, stack.base_url)


async def test_an_open_call_fits_a_phone(tab: Tab) -> None:
    await tab.page.set_viewport_size({"width": PHONE_WIDTH, "height": 720})
    await open_reference(tab)

    await tab.page.locator("[id$='-record_movement'] .opblock-summary-control").click()
    await tab.page.get_by_role("button", name="Try it out").wait_for()

    assert await tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH
