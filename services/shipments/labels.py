"""Labels that were bought: several become one document. Drawing them is the carrier's business."""

from __future__ import annotations

import io
from collections.abc import Sequence


def merge(pages: Sequence[bytes]) -> bytes:
    """Several labels as one document, a page each. Blocks: call it from a thread."""
    if len(pages) == 1:
        return pages[0]
    from pypdf import PdfWriter  # 17 MB, for what most shipments do not need

    writer = PdfWriter()
    for page in pages:
        writer.append(io.BytesIO(page))
    writer.compress_identical_objects()  # every page brings its own copy of the fonts
    document = io.BytesIO()
    writer.write(document)
    return document.getvalue()
