"""The adapter keeps the carrier's contract, whatever the wire does: at the real sandbox, and at strange answers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pypdfium2
import pytest
import zxingcpp
from aiohttp import web

from chassis.consumer import WORKERS_TOGETHER
from cli.local.stack import free_ports
from sandbox.faults import Pace
from services.shipments import listener, topology
from services.shipments.carriers.port import (
    CarrierFailure,
    CarrierRefused,
    CarrierUnavailable,
    OutcomeUnknown,
    Purchase,
    Sold,
    Tracking,
)
from services.shipments.carriers.sandbox import ANSWER_BYTES_MAX, CONNECTIONS_MAX, SandboxCarrier
from services.shipments.domain import Address, Line
from services.shipments.label_steps import AT_ONCE_MAX, BEGIN_WITHIN_S
from services.shipments.one_by_one import IN_VAIN_MAX, LOCK_WAIT_AGAIN_MS
from services.shipments.steps import Steps
from services.shipments.stragglers import STRAGGLERS_MAX
from services.shipments.sweeper import AT_ONCE_MAX as SWEPT_AT_ONCE_MAX
from services.shipments.sweeper import watches
from tests.builders import eventually
from tests.shipments.selling import Selling, carrier_at, selling

ADA = Address("Ada Lovelace", "1 Shoreline Dr", None, "Seattle", "WA", "98101", "US")
PURCHASE = Purchase("att_1", "shp_1-1", "ord_1", "SEA-1", ADA, "sandbox_ground", [Line("SKU-0042", 2)])
SOON = timedelta(seconds=0.3)


@pytest.fixture
async def shop() -> AsyncIterator[Selling]:
    async with selling() as both:
        yield both


def sent_to(name: str) -> Purchase:
    return replace(PURCHASE, ship_to=replace(ADA, name=name))


async def sold_by(carrier: SandboxCarrier) -> Sold:
    return Sold(PURCHASE.reference, (await carrier.buy(PURCHASE)).tracking_number)


async def test_a_purchase_gives_a_label_that_carries_its_tracking_number(shop: Selling) -> None:
    label = await shop.carrier.buy(PURCHASE)

    image = pypdfium2.PdfDocument(label.content)[0].render(scale=203 / 72).to_pil()
    assert zxingcpp.read_barcodes(image)[0].text == label.tracking_number
    assert (label.carrier, label.service) == ("sandbox", "sandbox_ground")


async def test_a_purchase_that_is_repeated_under_its_key_is_one_sale(shop: Selling) -> None:
    first, second = await asyncio.gather(shop.carrier.buy(PURCHASE), shop.carrier.buy(PURCHASE))

    assert first == second
    assert await shop.sandbox.sales(PURCHASE.reference) == (1, 0)


async def test_a_repetition_may_carry_other_lines(shop: Selling) -> None:
    """Stock that was lost and came back in other quantities is bought for under the attempt that stands."""
    first = await shop.carrier.buy(PURCHASE)

    assert await shop.carrier.buy(replace(PURCHASE, lines=[Line("SKU-0042", 1)])) == first


async def test_a_label_is_found_by_its_reference_and_only_then(shop: Selling) -> None:
    assert await shop.carrier.find_by_reference("shp_1-1") is None

    label = await shop.carrier.buy(PURCHASE)

    assert await shop.carrier.find_by_reference("shp_1-1") == label
    assert await shop.carrier.find_by_reference("shp_1-2") is None


async def test_a_label_that_was_given_back_is_not_found_and_not_sold_again(shop: Selling) -> None:
    sold = await sold_by(shop.carrier)

    for _ in range(2):
        await shop.carrier.void(sold)

    assert await shop.sandbox.sales(PURCHASE.reference) == (1, 1)
    assert await shop.carrier.find_by_reference(PURCHASE.reference) is None
    with pytest.raises(CarrierRefused):
        await shop.carrier.buy(PURCHASE)


async def test_a_label_that_was_used_or_never_sold_is_not_taken_back(shop: Selling) -> None:
    sold = await sold_by(shop.carrier)
    await shop.sandbox.scan(sold.tracking_number, "in_transit")

    with pytest.raises(CarrierRefused) as used:
        await shop.carrier.void(sold)
    with pytest.raises(CarrierRefused):
        await shop.carrier.void(replace(sold, tracking_number="SKTT0/../x ?"))

    assert used.value.code == "label_used"


async def test_a_parcel_is_tracked_from_scan_to_scan(shop: Selling) -> None:
    sold = await sold_by(shop.carrier)

    seen = [await shop.carrier.track(sold)]
    for status in ("in_transit", "delivered"):
        await shop.sandbox.scan(sold.tracking_number, status)
        seen.append(await shop.carrier.track(sold))

    assert seen == [Tracking.PRE_TRANSIT, Tracking.IN_TRANSIT, Tracking.DELIVERED]


async def test_a_parcel_that_the_carrier_does_not_know_cannot_be_told(shop: Selling) -> None:
    with pytest.raises(CarrierUnavailable):
        await shop.carrier.track(Sold("shp_1-1", "SKTT0"))


@pytest.mark.parametrize(
    ("name", "failure", "code"),
    [
        ("SANDBOX_REJECT_ADDRESS", CarrierRefused, "address_rejected"),
        ("SANDBOX_RATE_LIMIT", CarrierUnavailable, "carrier_unavailable"),
        ("SANDBOX_5XX", OutcomeUnknown, "carrier_outcome_unknown"),
        ("SANDBOX_EMPTY_200", OutcomeUnknown, "carrier_outcome_unknown"),
        ("SANDBOX_TIMEOUT", OutcomeUnknown, "carrier_outcome_unknown"),
    ],
)
async def test_a_fault_is_the_failure_it_stands_for_and_sells_nothing(
    name: str, failure: type[CarrierFailure], code: str
) -> None:
    async with selling(answers_within=SOON) as shop:
        for _ in range(2):
            with pytest.raises(failure) as failed:
                await shop.carrier.buy(sent_to(name))
            assert failed.value.code == code

        assert await shop.carrier.find_by_reference(PURCHASE.reference) is None


async def test_a_sale_whose_answer_is_lost_is_found(shop: Selling) -> None:
    with pytest.raises(OutcomeUnknown):
        await shop.carrier.buy(sent_to("SANDBOX_LATE_SUCCESS"))

    found = await shop.carrier.find_by_reference(PURCHASE.reference)

    assert found is not None
    assert await shop.sandbox.sales(PURCHASE.reference) == (1, 0)


async def test_a_sale_that_comes_too_late_is_found_in_the_end_and_is_the_only_one() -> None:
    async with selling(answers_within=SOON, pace=Pace(slow_s=1.0)) as shop:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await shop.carrier.buy(sent_to("SANDBOX_SLOW_30S"))
        assert await shop.carrier.find_by_reference(PURCHASE.reference) is None

        await eventually(lambda: shop.carrier.find_by_reference(PURCHASE.reference), lambda label: label is not None)

        assert await shop.sandbox.sales(PURCHASE.reference) == (1, 0)


async def test_a_carrier_that_is_away_has_sold_nothing() -> None:
    (port,) = free_ports(1)
    async with carrier_at(f"http://127.0.0.1:{port}") as carrier:
        await is_unavailable(carrier)


async def test_a_carrier_that_lets_nobody_in_has_sold_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as before:
        before.connect(full.getsockname())  # nobody accepts: the queue is full, and whoever comes next is not heard
        async with carrier_at(f"http://127.0.0.1:{full.getsockname()[1]}", connect_within_s=0.2) as carrier:
            await is_unavailable(carrier)


async def is_unavailable(carrier: SandboxCarrier) -> None:
    for asked in (
        carrier.buy(PURCHASE),
        carrier.find_by_reference("shp_1-1"),
        carrier.void(Sold("shp_1-1", "SKTT0")),
        carrier.track(Sold("shp_1-1", "SKTT0")),
    ):
        with pytest.raises(CarrierUnavailable):
            await asked


SALE = '{"tracking_number": "T1", "reference": "%s", "carrier": "x", "service": "y", "status": "sold", "label": "%s"}'


@pytest.mark.parametrize(
    ("status", "text", "headers", "failure"),
    [
        (201, "<html>", {}, OutcomeUnknown),
        (201, '{"tracking_number": 5}', {}, OutcomeUnknown),
        (201, SALE % ("shp_2-1", "JVBERi0="), {}, OutcomeUnknown),  # another parcel's
        (201, SALE % ("shp_1-1", "PGh0bWw+"), {}, OutcomeUnknown),  # no PDF
        (201, SALE % ("shp_1-1", "?"), {}, OutcomeUnknown),
        (201, SALE % ("shp_1-1", ""), {}, OutcomeUnknown),
        (201, " " * (ANSWER_BYTES_MAX + 1), {}, OutcomeUnknown),
        (302, "", {"Location": "/elsewhere"}, OutcomeUnknown),
        (400, "?", {}, CarrierRefused),
        (401, "", {}, CarrierUnavailable),
        (502, "", {}, OutcomeUnknown),
        (503, "", {}, OutcomeUnknown),
        (503, "", {"Retry-After": "1"}, CarrierUnavailable),
    ],
)
async def test_a_strange_answer_to_a_purchase_is_never_taken_for_a_label(
    status: int, text: str, headers: dict[str, str], failure: type[CarrierFailure]
) -> None:
    async with answering(status, text, headers) as carrier:
        with pytest.raises(failure) as failed:
            await carrier.buy(PURCHASE)

    assert failed.value.code in ("carrier_outcome_unknown", "carrier_unavailable", "carrier_refused")


@pytest.mark.parametrize(("status", "text"), [(200, ""), (200, "[]"), (404, ""), (500, "")])
async def test_a_strange_answer_to_a_question_is_none(status: int, text: str) -> None:
    async with answering(status, text, {}) as carrier:
        with pytest.raises(CarrierUnavailable):
            await carrier.find_by_reference("shp_1-1")
        with pytest.raises(CarrierUnavailable):
            await carrier.track(Sold("shp_1-1", "T1"))


@pytest.mark.parametrize(
    ("status", "text", "failure"),
    [(200, "", OutcomeUnknown), (200, '{"status": "sold"}', OutcomeUnknown), (500, "", OutcomeUnknown)],
)
async def test_a_label_counts_as_given_back_only_when_the_carrier_says_so(
    status: int, text: str, failure: type[CarrierFailure]
) -> None:
    async with answering(status, text, {}) as carrier:
        with pytest.raises(failure):
            await carrier.void(Sold("shp_1-1", "T1"))


def answering(status: int, text: str, headers: dict[str, str]) -> AbstractAsyncContextManager[SandboxCarrier]:
    """A carrier that says this to everything."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    @asynccontextmanager
    async def run() -> AsyncIterator[SandboxCarrier]:
        runner = web.ServerRunner(web.Server(answer))  # type: ignore[arg-type]
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with carrier_at(f"http://127.0.0.1:{runner.addresses[0][1]}") as carrier:
            yield carrier
        await runner.cleanup()

    return run()


@pytest.mark.parametrize(
    ("hint", "service"),
    [
        (None, "sandbox_ground"),
        ("ups_ground", "sandbox_ground"),
        ("whatever", "sandbox_ground"),
        ("fedex_EXPRESS_saver", "sandbox_express"),
        ("ups_next_day", "sandbox_express"),
        ("fedex_standard_overnight", "sandbox_express"),
        ("ups_2nd_day_air", "sandbox_express"),
    ],
)
async def test_every_hint_maps_to_one_of_two_services(shop: Selling, hint: str | None, service: str) -> None:
    assert shop.carrier.choose_service(hint) == service


def test_there_is_a_connection_for_all_that_may_be_under_way_at_once() -> None:
    workers = sum(listener.WORKERS.get(spec, WORKERS_TOGETHER) for spec in (topology.LABEL_STEPS, topology.VOID_STEPS))
    ask_a_carrier = (Steps.buy_labels, Steps.void_labels, Steps.track)
    swept = [watch for watch in watches().values() if watch.step in ask_a_carrier]

    under_way = workers * AT_ONCE_MAX + 2 * STRAGGLERS_MAX + len(swept) * SWEPT_AT_ONCE_MAX

    assert len(swept) == len(ask_a_carrier)
    assert under_way <= CONNECTIONS_MAX


def test_a_handler_that_waits_for_the_carrier_is_given_the_time() -> None:
    handler_has = topology.LABEL_STEPS.ack_wait * 0.8  # what the consumer leaves it
    commits = 2 * timedelta(seconds=1.5, milliseconds=IN_VAIN_MAX * LOCK_WAIT_AGAIN_MS)  # together, and one by one

    assert timedelta(seconds=BEGIN_WITHIN_S) + SandboxCarrier.answers_within + commits < handler_has
