"""The published preview, taken at its word: every request is sent as printed, every answer is held against the printed.

`api-preview.txt` is a verbatim copy of what was published. Where an answer cannot be the same to the letter (ids and
times are made anew), its prefix or form must be.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pypdfium2
import pytest
import zxingcpp
from psycopg import sql

from cli.local.stack import Stack
from tests.builders import eventually, movement
from tests.gateway.asking import Answer, Caller
from tests.running import RunningStack

PREVIEW = (Path(__file__).parent / "api-preview.txt").read_text()

_REQUEST_LINE = re.compile(r"^(GET|POST) (\S+) HTTP/1\.1\n", re.MULTILINE)
_HEADER = re.compile(r"([A-Za-z-]+): ([^{\n]+)\n?")
_STATUS_LINE = re.compile(r"HTTP/1\.1 (\d{3}) [A-Z]+\n")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ID = re.compile(r"([a-z]{3}_)[0-9a-z]+")


@dataclass
class Published:
    """One printed exchange. The headers and the body are what is sent, character by character."""

    method: str
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""
    status: int | None = None
    """Printed for the ledger write alone."""
    answer: Any = None


def published(text: str) -> Iterator[Published]:
    """The exchanges of the preview. Answers follow directly behind the last header or the body."""
    decode = json.JSONDecoder().raw_decode
    for line in _REQUEST_LINE.finditer(text):
        exchange, at = Published(line[1], line[2]), line.end()
        while header := _HEADER.match(text, at):
            exchange.headers.append((header[1], header[2]))
            at = header.end()
        if exchange.method == "POST":
            _, end = decode(text, at)
            exchange.body, at = text[at:end], end
        if status := _STATUS_LINE.match(text, at):
            exchange.status, at = int(status[1]), status.end()
        exchange.answer, _ = decode(text, at)
        yield exchange


LEDGER, BALANCE, SHIPMENT, ORDER, SUBSCRIBE = published(PREVIEW)


@pytest.fixture(scope="module")
async def caller(stack: RunningStack, session: aiohttp.ClientSession) -> Caller:
    """Adds nothing of its own: the printed requests carry their key. Its tenant has no past."""
    for service in ("inventory", "shipments", "orders", "webhooks"):
        await forget(stack.system.stack, service, "local/test")
    return Caller(session, stack.base_url, key="")


async def forget(stack: Stack, service: str, tenant_id: str) -> None:
    """Deletes all that a service knows of a tenant: the printed key and order id may have been used before."""
    database = stack.postgres_url.rpartition("/")[0] + f"/skutrail_{service}"
    async with await psycopg.AsyncConnection.connect(database) as connection:
        # Foreign keys are not looked at, and immutable tables are not immutable, for a replica.
        await connection.execute("SET session_replication_role = replica")
        columns = await connection.execute(
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id'"
        )
        for (table,) in await columns.fetchall():
            await connection.execute(
                sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(sql.Identifier(table)), [tenant_id]
            )


async def send(caller: Caller, exchange: Published) -> Answer:
    body = BytesIO(exchange.body.encode()) if exchange.body else None
    return await caller.ask(exchange.method, exchange.path, headers=exchange.headers, data=body)


def resemble(answer: Any, printed: Any) -> bool:
    """The same fields in the same order, the same types and values; ids by prefix, times by form."""
    if isinstance(printed, dict):
        same_fields = isinstance(answer, dict) and list(answer) == list(printed)
        return same_fields and all(resemble(answer[name], printed[name]) for name in printed)
    if isinstance(printed, list):
        same_length = isinstance(answer, list) and len(answer) == len(printed)
        return same_length and all(map(resemble, answer, printed))
    if isinstance(printed, str) and _TIME.fullmatch(printed):
        return isinstance(answer, str) and _TIME.fullmatch(answer) is not None
    if isinstance(printed, str) and (made := _ID.fullmatch(printed)):
        return isinstance(answer, str) and answer.startswith(made[1]) and _ID.fullmatch(answer) is not None
    return type(answer) is type(printed) and bool(answer == printed)


def test_the_preview_prints_five_exchanges() -> None:
    assert [(e.method, e.path.partition("?")[0]) for e in published(PREVIEW)] == [
        ("POST", "/v1/inventory/ledger"),
        ("GET", "/v1/inventory/balance"),
        ("POST", "/v1/shipments"),
        ("GET", "/v1/orders/ord_5k2n9v"),
        ("POST", "/v1/webhooks/subscribe"),
    ]
    assert [len(e.headers) for e in published(PREVIEW)] == [3, 1, 2, 1, 2]
    assert all(("Authorization", "Bearer sk_test_REPLACE") in e.headers for e in published(PREVIEW))


async def test_the_ledger_write_answers_as_printed_down_to_the_balance(caller: Caller) -> None:
    stocked = await caller.by("sk_test_REPLACE").post("/v1/inventory/ledger", movement(300, "SKU-0042"))
    assert stocked.json["balance"] == 300

    answer = await send(caller, LEDGER)

    assert LEDGER.status is not None
    assert answer.status == LEDGER.status
    assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
    assert answer.headers["Idempotency-Key"] == "0b7a1f4e-9c3a-4f67-a5b1-8d2e4a7c9f12"
    assert resemble(answer.json, LEDGER.answer), answer.body

    again = await send(caller, LEDGER)

    assert (again.status, again.body) == (answer.status, answer.body)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_the_balance_answers_as_printed(caller: Caller) -> None:
    answer = await send(caller, BALANCE)

    assert answer.status == 200
    assert resemble(answer.json, BALANCE.answer), answer.body


async def test_the_shipment_is_queued_and_its_order_becomes_what_is_printed(caller: Caller) -> None:
    answer = await send(caller, SHIPMENT)

    assert answer.status == 202
    assert resemble(answer.json, SHIPMENT.answer), answer.body
    assert answer.headers["Location"] == f"/v1/shipments/{answer.json['id']}"

    # At once the order is there; allocated it is when the stock is held, and stays so when its label is ready.
    at_once = await send(caller, ORDER)
    assert at_once.status == 200
    assert list(at_once.json) == list(ORDER.answer)

    order = await eventually(lambda: send(caller, ORDER), lambda seen: seen.json["status"] not in ("queued",))
    assert resemble(order.json, ORDER.answer), order.body
    assert order.json["id"] == "ord_5k2n9v"
    assert order.json["allocations"][0]["shipment_id"] == answer.json["id"]


async def test_the_shipments_label_opens_without_a_key_and_scans(caller: Caller) -> None:
    created = await send(caller, SHIPMENT)
    with_key = caller.by("sk_test_REPLACE")

    shipment = await eventually(
        lambda: with_key.get(created.headers["Location"]), lambda seen: seen.json["status"] == "label_ready"
    )
    url = shipment.json["label_url"]
    assert url.startswith(f"{caller.base_url}/v1/shipments/{created.json['id']}/label?")
    label = await caller.get(url.removeprefix(caller.base_url))

    assert (label.status, label.headers["Content-Type"]) == (200, "application/pdf")
    document = pypdfium2.PdfDocument(label.body)
    assert [page.get_size() for page in document] == [(288.0, 432.0)]
    found = zxingcpp.read_barcodes(document[0].render(scale=203 / 72, grayscale=True).to_pil())
    tracking_numbers = [parcel["tracking_number"] for parcel in shipment.json["parcels"]]
    assert [(code.format, code.text) for code in found] == [(zxingcpp.BarcodeFormat.Code128, tracking_numbers[0])]
    assert len(tracking_numbers) == 1


async def test_the_subscription_answers_as_printed_and_never_with_its_secret(caller: Caller) -> None:
    answer = await send(caller, SUBSCRIBE)

    assert answer.status == 201
    assert resemble(answer.json, SUBSCRIBE.answer), answer.body
    assert answer.headers["Location"] == f"/v1/webhooks/{answer.json['id']}"
    assert b"whsec_REPLACE" not in answer.body
