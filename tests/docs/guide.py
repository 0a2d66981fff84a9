"""The Python guide as the tests read it: its blocks by heading, and what they say they print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

GUIDE = (Path(__file__).parents[2] / "docs" / "python.md").read_text()

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PRINTS = re.compile(r"# prints: (.*)$", re.MULTILINE)


def blocks(heading: str = "") -> list[str]:
    """The Python blocks under a heading; those of the whole page where none is named."""
    found = dict(_sections())
    return found[heading] if heading else list(chain.from_iterable(found.values()))


def program() -> str:
    return "\n".join(blocks())


def printed() -> list[str]:
    """The lines that the page says its program prints."""
    return _PRINTS.findall(program())


def _sections() -> Iterator[tuple[str, list[str]]]:
    for section in GUIDE.split("\n## ")[1:]:
        yield section.partition("\n")[0], _BLOCK.findall(section)
