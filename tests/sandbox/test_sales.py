"""Labels are sold once per key, found again, given back or used; whatever is asked, over real HTTP."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pypdfium2
import pytest
import zxingcpp

from tests.sandbox.running import ORDER, REFERENCE, Sandbox, running_sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with running_sandbox() as running:
        yield running


async def test_a_label_carries_its_tracking_number(sandbox: Sandbox) -> None:
    bought = await sandbox.buy()

    document = base64.b64decode(bought.json.pop("label"))
    image = pypdfium2.PdfDocument(document)[0].render(scale=203 / 72).to_pil()
    assert bought.status == 201
    assert bought.json == {
        "tracking_number": zxingcpp.read_barcodes(image)[0].text,
        "reference": REFERENCE,
        "carrier": "sandbox",
        "service": "sandbox_ground",
        "status": "sold",
    }


async def test_the_same_key_is_the_same_sale_however_often_it_comes(sandbox: Sandbox) -> None:
    together = await asyncio.gather(*(sandbox.buy() for _ in range(10)))
    later = await sandbox.buy()

    assert {reply.status for reply in (*together, later)} == {201}
    assert all(reply.json == later.json for reply in together)
    assert await sandbox.sales() == (1, 0)


async def test_another_key_is_another_sale_and_another_number(sandbox: Sandbox) -> None:
    together = await asyncio.gather(*(sandbox.buy(f"att_{n}") for n in range(5)))

    numbers = {reply.json["tracking_number"] for reply in together}
    assert len(numbers) == 5
    assert await sandbox.sales() == (5, 0)
    assert {label["tracking_number"] for label in await sandbox.found()} == numbers


async def test_a_key_does_not_buy_two_different_things(sandbox: Sandbox) -> None:
    await sandbox.buy()

    other = await sandbox.buy(service="sandbox_express")

    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert await sandbox.sales() == (1, 0)


async def test_what_was_sold_is_found_by_its_reference_as_it_was_sold(sandbox: Sandbox) -> None:
    assert await sandbox.found() == []

    bought = await sandbox.buy()

    assert await sandbox.found() == [bought.json]
    assert await sandbox.found("shp_1-2") == []


async def test_the_same_sale_is_the_same_label_in_any_process(sandbox: Sandbox) -> None:
    async with running_sandbox() as another:
        assert (await sandbox.buy()).json == (await another.buy("att_2")).json


async def test_a_label_is_given_back_once_however_often_it_is_asked(sandbox: Sandbox) -> None:
    number = (await sandbox.buy()).json["tracking_number"]

    together = await asyncio.gather(*(sandbox.void(number) for _ in range(5)))

    assert {(reply.status, reply.json["status"]) for reply in together} == {(200, "voided")}
    assert await sandbox.sales() == (1, 1)
    assert [label["status"] for label in await sandbox.found()] == ["voided"]
    assert (await sandbox.buy()).json["status"] == "voided"


async def test_a_label_that_was_used_is_not_taken_back(sandbox: Sandbox) -> None:
    number = (await sandbox.buy()).json["tracking_number"]
    await sandbox.scan(number, "in_transit")

    refused = await sandbox.void(number)

    assert (refused.status, refused.json["code"]) == (409, "label_used")
    assert await sandbox.sales() == (1, 0)


async def test_a_label_is_either_given_back_or_used(sandbox: Sandbox) -> None:
    numbers = [(await sandbox.buy(f"att_{n}")).json["tracking_number"] for n in range(10)]

    for number in numbers:
        void, scan = await asyncio.gather(sandbox.void(number), sandbox.scan(number, "delivered"))
        assert sorted([void.status, scan.status]) in ([200, 409], [201, 409])


async def test_a_parcel_is_where_it_was_taken_to(sandbox: Sandbox) -> None:
    number = (await sandbox.buy()).json["tracking_number"]
    assert await sandbox.scans(number) == []

    for status in ("in_transit", "in_transit", "delivered"):
        assert (await sandbox.scan(number, status)).status == 201

    assert await sandbox.scans(number) == ["in_transit", "delivered"]


async def test_what_was_sold_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "register.sqlite3"
    async with running_sandbox(file) as before:
        bought = (await before.buy()).json
        await before.scan(bought["tracking_number"], "in_transit")
        given_back = (await before.buy("att_2")).json
        await before.void(given_back["tracking_number"])

    async with running_sandbox(file) as after:
        assert await after.found() == [bought, {**given_back, "status": "voided"}]
        assert (await after.buy()).json == bought
        assert await after.scans(bought["tracking_number"]) == ["in_transit"]
        assert await after.sales() == (2, 1)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["/void", "/scans"])
async def test_a_number_that_was_never_sold_is_not_found(sandbox: Sandbox, path: str) -> None:
    refused = await sandbox.post(f"/v1/labels/SKTT0/{path.strip('/')}", {"status": "delivered"})

    assert (refused.status, refused.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"service": "ups_ground"}, "invalid"),
        ({"reference": ""}, "invalid"),
        ({"weight": 3}, "invalid"),
        ({"ship_to": {"name": "Ada"}}, "invalid"),
    ],
)
async def test_an_order_that_cannot_be_printed_is_refused(sandbox: Sandbox, more: dict[str, object], code: str) -> None:
    refused = await sandbox.post("/v1/labels", {**ORDER, **more}, {"Idempotency-Key": "att_1"})

    assert (refused.status, refused.json["code"]) == (422, code)
    assert refused.headers["Content-Type"].startswith("application/problem+json")


async def test_whatever_cannot_be_answered_is_a_problem_with_a_code(sandbox: Sandbox) -> None:
    async with sandbox.session.post(f"{sandbox.url}/v1/labels", data=b"{", headers={"Idempotency-Key": "a"}) as broken:
        assert (broken.status, (await broken.json(content_type=None))["code"]) == (400, "malformed")
    refusals = [
        await sandbox.post("/v1/labels", ORDER),
        await sandbox.get("/v1/labels"),
        await sandbox.get("/v1/sales"),
        await sandbox.get("/v1/nothing"),
        await sandbox.post("/v1/sales"),
    ]

    assert [(reply.status, reply.json["code"]) for reply in refusals] == [
        (400, "idempotency_key_required"),
        (400, "reference_required"),
        (400, "reference_required"),
        (404, "not_found"),
        (405, "method_not_allowed"),
    ]
