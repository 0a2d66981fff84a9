"""Labels that were bought: several become one document. Drawing them is the carrier's business."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pypdf import PdfWriter


def merge(pages: Sequence[bytes]) -> bytes:
    """Several labels as one document, a page each. Blocks: call it from a thread."""
    if len(pages) == 1:
        return pages[0]
    writer = PdfWriter()
    for page in pages:
        writer.append(io.BytesIO(page))
    writer.compress_identical_objects()  # every page brings its own copy of the fonts
    document = io.BytesIO()
    writer.write(document)
    return document.getvalue()
