"""What is drawn is read back: by a barcode reader at both print densities, and as text."""

import time
from itertools import groupby

import pypdfium2
import pytest
import zxingcpp

from sandbox import labels

NUMBER = "SKTT12345678901234563"


def sheet(ship_from: str = "SEA-1", ship_to: tuple[str, ...] = ("Ada Lovelace", "1 Shoreline Dr")) -> labels.Sheet:
    return labels.Sheet(
        service="SANDBOX GROUND",
        ship_from=ship_from,
        ship_to=ship_to,
        tracking_number=NUMBER,
        order_id="ord_5k2n9v",
        reference="shp_8c4l1x-1",
    )


def text_of(document: bytes) -> str:
    page = pypdfium2.PdfDocument(document)[0]
    return str(page.get_textpage().get_text_range())


@pytest.mark.parametrize("dpi", [203, 300])
def test_a_scanner_reads_the_tracking_number_at_the_printers_density(dpi: int) -> None:
    page = pypdfium2.PdfDocument(labels.draw(sheet()))[0]

    found = zxingcpp.read_barcodes(page.render(scale=dpi / 72, grayscale=True).to_pil())

    assert [(code.format, code.text) for code in found] == [(zxingcpp.BarcodeFormat.Code128, NUMBER)]


def test_every_bar_and_space_is_an_even_number_of_dots_on_a_203_dpi_head() -> None:
    image = pypdfium2.PdfDocument(labels.draw(sheet()))[0].render(scale=203 / 72, grayscale=True).to_pil()
    across_the_bars = [image.getpixel((x, 800)) for x in range(image.width)]

    runs = [(shade, len(list(dots))) for shade, dots in groupby(across_the_bars)][1:-1]

    assert len(runs) == 103
    assert {shade for shade, _ in runs} == {0, 255}
    assert {dots for _, dots in runs} == {2, 4, 6, 8}


def test_a_label_is_one_page_of_exactly_four_by_six_inches() -> None:
    document = pypdfium2.PdfDocument(labels.draw(sheet()))

    assert [document.get_page_size(number) for number in range(len(document))] == [(288.0, 432.0)]


@pytest.mark.parametrize("name", ["ŁUKASZ ŻÓŁĆ", "Ελένη Παπαδοπούλου", "Иван Жуков", "Nguyễn Văn Đức", "Søren Åkesson"])
def test_names_are_printed_in_their_own_letters(name: str) -> None:
    assert name in text_of(labels.draw(sheet(ship_to=(name, "ul. Ślężna 1"))))


def test_an_accent_that_comes_apart_from_its_letter_is_printed_on_it() -> None:
    assert "Zoé" in text_of(labels.draw(sheet(ship_to=("Zoe\u0301", "Rue 1"))))


def test_a_letter_the_font_lacks_is_seen_to_be_missing() -> None:
    text = text_of(labels.draw(sheet(ship_to=("東京 Ada 😀", "Line"))))

    assert "\ufffd\ufffd Ada \ufffd" in text


def test_a_label_names_service_order_parcel_and_says_that_it_is_a_sample() -> None:
    text = text_of(labels.draw(sheet()))

    for printed in (
        "SAMPLE - DO NOT MAIL",
        "SANDBOX GROUND",
        "ord_5k2n9v",
        "shp_8c4l1x-1",
        "SKTT 1234 5678 9012 3456 3",
    ):
        assert printed in text


def test_long_text_is_wrapped_and_shrunk_and_stays_on_the_paper() -> None:
    name = "Wolfeschlegelsteinhausenbergerdorff " * 3
    lines = (name.strip(), "W" * 120, "Apartment 4, rear building, third floor on the left, ring twice " * 2, "Seattle")
    page = pypdfium2.PdfDocument(labels.draw(sheet(ship_from="M" * 64, ship_to=lines)))[0]

    bounds = [item.get_bounds() for item in page.get_objects()]
    text = str(page.get_textpage().get_text_range())

    assert text.count("W") >= 120
    assert text.count("M") >= 64
    assert "Seattle" in text
    assert all(left >= 0 and right <= 288 and bottom >= 0 and top <= 432 for left, bottom, right, top in bounds)


def test_text_beyond_all_reason_is_cut_visibly() -> None:
    assert "…" in text_of(labels.draw(sheet(ship_to=("A" * 4_000, "Line"))))


def test_the_same_sheet_gives_the_same_bytes() -> None:
    assert labels.draw(sheet()) == labels.draw(sheet())


def test_a_label_takes_milliseconds() -> None:
    labels.draw(sheet())
    took_s = []
    for _ in range(20):
        began = time.perf_counter()
        labels.draw(sheet())
        took_s.append(time.perf_counter() - began)

    assert min(took_s) < 0.02
