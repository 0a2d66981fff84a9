"""The sandbox keeps the carrier's contract and answers the same way every time."""

from dataclasses import replace

import pypdfium2
import pytest
import zxingcpp

from services.shipments import topology
from services.shipments.carriers.port import Carrier, CarrierRefused, CarrierUnavailable, Purchase
from services.shipments.carriers.sandbox import SandboxCarrier, luhn_digit, tracking_number
from services.shipments.domain import Address, Line

ADA = Address("Ada Lovelace", "1 Shoreline Dr", None, "Seattle", "WA", "98101", "US")
PURCHASE = Purchase("att_1", "shp_1-1", "ord_1", "SEA-1", ADA, "sandbox_ground", [Line("SKU-0042", 2)])


def carrier() -> Carrier:
    return SandboxCarrier()


def sent_to(name: str) -> Purchase:
    return replace(PURCHASE, ship_to=replace(ADA, name=name))


async def test_a_purchase_gives_a_label_that_carries_its_tracking_number() -> None:
    label = await carrier().buy(PURCHASE)

    image = pypdfium2.PdfDocument(label.content)[0].render(scale=203 / 72).to_pil()
    assert zxingcpp.read_barcodes(image)[0].text == label.tracking_number
    assert (label.carrier, label.service) == ("sandbox", "sandbox_ground")


async def test_the_same_reference_is_the_same_label_in_any_process() -> None:
    assert await carrier().buy(PURCHASE) == await carrier().buy(replace(PURCHASE, attempt_key="att_2"))


async def test_another_reference_is_another_tracking_number() -> None:
    sandbox = carrier()

    labels = [await sandbox.buy(replace(PURCHASE, reference=f"shp_1-{number}")) for number in (1, 2, 3)]

    assert len({label.tracking_number for label in labels}) == 3


async def test_a_label_is_found_by_its_reference_and_only_then() -> None:
    sandbox = carrier()
    assert await sandbox.find_by_reference("shp_1-1") is None

    label = await sandbox.buy(PURCHASE)

    assert await sandbox.find_by_reference("shp_1-1") == label
    assert await sandbox.find_by_reference("shp_1-2") is None


async def test_a_rejected_address_is_refused_for_good() -> None:
    with pytest.raises(CarrierRefused) as refused:
        await carrier().buy(sent_to("SANDBOX_REJECT_ADDRESS"))

    assert refused.value.code == "address_rejected"


async def test_a_carrier_that_is_down_stays_down_and_has_bought_nothing() -> None:
    sandbox = carrier()

    for _ in range(2):
        with pytest.raises(CarrierUnavailable):
            await sandbox.buy(sent_to("SANDBOX_5XX"))

    assert await sandbox.find_by_reference(PURCHASE.reference) is None


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
def test_every_hint_maps_to_one_of_two_services(hint: str | None, service: str) -> None:
    assert carrier().choose_service(hint) == service


def test_a_handler_that_waits_for_the_carrier_is_given_the_time() -> None:
    handler_has = topology.LABEL_STEPS.ack_wait * 0.8  # what the consumer leaves it

    assert carrier().answers_within < handler_has


@pytest.mark.parametrize(("digits", "check"), [("7992739871", "3"), ("411111111111111", "1"), ("0", "0"), ("18", "2")])
def test_the_luhn_digit_is_the_published_one(digits: str, check: str) -> None:
    assert luhn_digit(digits) == check


def test_every_tracking_number_passes_the_luhn_check_and_is_no_real_carriers() -> None:
    def passes_luhn(digits: str) -> bool:
        total = 0
        for position, digit in enumerate(reversed(digits)):
            value = int(digit) * (2 if position % 2 else 1)
            total += value - 9 if value > 9 else value
        return total % 10 == 0

    for number in (tracking_number(f"shp_{n}-1") for n in range(200)):
        assert number.startswith("SKTT")
        assert len(number) == 21
        assert passes_luhn(number[4:])
