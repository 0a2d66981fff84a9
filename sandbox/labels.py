"""Draws a label: one PDF page of 4 x 6 inches, ready for a 203 or 300 dpi thermal printer.

Knows paper, type and bars; knows no order and no sale. The same sheet gives the same bytes.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from pymupdf_fonts import fontbuffers
from reportlab import rl_config
from reportlab.graphics.barcode.code128 import Code128
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

WIDTH_PT, HEIGHT_PT = 288.0, 432.0

# One dot of a 203 dpi print head. Bars and their origin sit on whole dots, or the head rounds each bar its own way.
_DOT_PT = 72 / 203
_MODULE_PT = 2 * _DOT_PT
# Taken off either side of a bar: an edge exactly between two dots may be rounded over it, and the next space closes.
_BAR_RELIEF_PT = 0.04 * _DOT_PT
_MARGIN_PT = 16.0
_TEXT_WIDTH_PT = WIDTH_PT - 2 * _MARGIN_PT
_LEADING = 1.22
_TYPE_SIZE_MIN_PT = 5.0

# Every reader and printer has these two. The others bring their letters along, where text needs them: that is most of
# the time of a drawing, and most of the bytes of the document.
_REGULAR, _BOLD = "Helvetica", "Helvetica-Bold"
_WIDER = {_REGULAR: "NotoSans", _BOLD: "NotoSans-Bold"}
_FONT_SOURCES = {"NotoSans": "notos", "NotoSans-Bold": "notosbo"}
_MISSING_GLYPH = "\N{REPLACEMENT CHARACTER}"

# Compressed streams as the bytes that they are: as text they would be a quarter larger, and a fifth slower to write.
rl_config.useA85 = 0


@dataclass(frozen=True)
class Sheet:
    """What is printed. Text may be any Unicode; what the font lacks is printed as U+FFFD, never left out."""

    service: str
    ship_from: str
    ship_to: Sequence[str]
    """The address line by line, the name first."""
    tracking_number: str
    """ASCII: it becomes the Code 128 symbol."""
    order_id: str
    reference: str


def draw(sheet: Sheet) -> bytes:
    """The sheet as a PDF document of one page. Takes a millisecond, and some more for letters that are not Latin.

    One at a time: reportlab keeps fonts in module globals, and two threads could mix them up.
    """
    document = io.BytesIO()
    # invariant: no clock and no random id in the file, so the same sheet gives the same bytes.
    canvas = Canvas(document, pagesize=(WIDTH_PT, HEIGHT_PT), invariant=1, pageCompression=1)
    canvas.setTitle(f"Label {sheet.tracking_number}")
    _draw_notice(canvas)
    _draw_addresses(canvas, sheet)
    _draw_barcode(canvas, sheet.tracking_number)
    _draw_references(canvas, sheet)
    canvas.showPage()
    canvas.save()
    return document.getvalue()


@cache
def _font(name: str) -> TTFont:
    """Parsed and registered once: it takes tens of milliseconds."""
    font = TTFont(name, io.BytesIO(fontbuffers[_FONT_SOURCES[name]]()))
    pdfmetrics.registerFont(font)
    return font


def _draw_notice(canvas: Canvas) -> None:
    canvas.rect(0, 398, WIDTH_PT, 34, stroke=0, fill=1)
    canvas.setFillGray(1)
    canvas.setFont(_BOLD, 17)
    canvas.drawCentredString(WIDTH_PT / 2, 409, "SAMPLE - DO NOT MAIL")
    canvas.setFillGray(0)


def _draw_addresses(canvas: Canvas, sheet: Sheet) -> None:
    _draw_text(canvas, [sheet.service], font=_BOLD, size_pt=20, top_pt=394, height_pt=28)
    _draw_rule(canvas, 364)
    _draw_text(canvas, ["FROM"], font=_BOLD, size_pt=7, top_pt=361, height_pt=9)
    _draw_text(canvas, [sheet.ship_from], font=_REGULAR, size_pt=10, top_pt=352, height_pt=26)
    _draw_rule(canvas, 324)
    name, *rest = sheet.ship_to
    _draw_text(canvas, ["SHIP TO"], font=_BOLD, size_pt=7, top_pt=321, height_pt=9)
    below_pt = _draw_text(canvas, [name], font=_BOLD, size_pt=15, top_pt=312, height_pt=38)
    _draw_text(canvas, rest, font=_REGULAR, size_pt=13, top_pt=below_pt, height_pt=below_pt - 190)
    _draw_rule(canvas, 186)


def _draw_barcode(canvas: Canvas, tracking_number: str) -> None:
    # The paper is quiet zone enough: reportlab's own is no whole number of dots.
    symbol = _Bars(tracking_number, barWidth=_MODULE_PT, barHeight=240 * _DOT_PT, humanReadable=False, quiet=False)
    left_dots = round((WIDTH_PT - symbol.width) / 2 / _DOT_PT)
    symbol.drawOn(canvas, left_dots * _DOT_PT, 270 * _DOT_PT)
    canvas.setFont(_BOLD, 12)
    canvas.drawCentredString(WIDTH_PT / 2, 80, " ".join(_in_fours(tracking_number)))


class _Bars(Code128):
    def rect(self, x: float, y: float, w: float, h: float) -> None:
        super().rect(x + _BAR_RELIEF_PT, y, w - 2 * _BAR_RELIEF_PT, h)


def _draw_references(canvas: Canvas, sheet: Sheet) -> None:
    _draw_rule(canvas, 70)
    references = [f"ORDER  {sheet.order_id}", f"REF  {sheet.reference}"]
    _draw_text(canvas, references, font=_REGULAR, size_pt=10, top_pt=66, height_pt=50)


def _draw_rule(canvas: Canvas, y_pt: float) -> None:
    canvas.setLineWidth(2 * _DOT_PT)
    canvas.line(_MARGIN_PT, y_pt, WIDTH_PT - _MARGIN_PT, y_pt)


def _draw_text(
    canvas: Canvas, paragraphs: Sequence[str], *, font: str, size_pt: float, top_pt: float, height_pt: float
) -> float:
    """Sets the paragraphs into a box as wide as the page: wrapped, then smaller, and cut with an ellipsis at last.

    Returns where the text ends.
    """
    # Composed: the fonts have é as one glyph, but nothing here moves a bare accent over its letter.
    printable = [unicodedata.normalize("NFC", paragraph) for paragraph in paragraphs]
    if not all(map(_is_latin, printable)):
        font = _WIDER[font]
        printable = [_printable(paragraph, _font(font)) for paragraph in printable]
    size_pt, lines = _fit(printable, font, size_pt, height_pt)
    canvas.setFont(font, size_pt)
    for number, line in enumerate(lines, start=1):
        canvas.drawString(_MARGIN_PT, top_pt - number * size_pt * _LEADING + 0.25 * size_pt, line)
    return top_pt - len(lines) * size_pt * _LEADING


def _is_latin(text: str) -> bool:
    """Whether the fonts that nobody brings along have its letters (ISO 32000-1, Annex D: WinAnsiEncoding)."""
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def _printable(text: str, font: TTFont) -> str:
    return "".join(char if ord(char) in font.face.charToGlyph else _MISSING_GLYPH for char in text)


def _fit(paragraphs: Sequence[str], font: str, size_pt: float, height_pt: float) -> tuple[float, list[str]]:
    while True:
        lines = [line for paragraph in paragraphs for line in _wrap(paragraph, font, size_pt)]
        lines_max = int(height_pt / (size_pt * _LEADING))
        if len(lines) <= lines_max:
            return size_pt, lines
        if size_pt <= _TYPE_SIZE_MIN_PT:
            return size_pt, [*lines[: lines_max - 1], lines[lines_max - 1][:-1] + "…"]
        size_pt -= 0.5


def _wrap(paragraph: str, font: str, size_pt: float) -> Iterator[str]:
    """Breaks at spaces, and inside a word only where the word alone is wider than the line."""
    line = ""
    for word in paragraph.split(" "):
        joined = f"{line} {word}" if line else word
        if _fits(joined, font, size_pt):
            line = joined
            continue
        if line:
            yield line
        *full, line = _break_word(word, font, size_pt)
        yield from full
    yield line


def _break_word(word: str, font: str, size_pt: float) -> Iterator[str]:
    start = 0
    for end in range(1, len(word) + 1):
        if not _fits(word[start:end], font, size_pt):
            yield word[start : end - 1]
            start = end - 1
    yield word[start:]


def _fits(text: str, font: str, size_pt: float) -> bool:
    return bool(pdfmetrics.stringWidth(text, font, size_pt) <= _TEXT_WIDTH_PT)


def _in_fours(text: str) -> Iterator[str]:
    return (text[start : start + 4] for start in range(0, len(text), 4))
