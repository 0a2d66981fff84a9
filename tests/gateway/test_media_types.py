"""Which Accept headers admit a media type (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import pytest

from gateway.media import is_accepted


@pytest.mark.parametrize(
    ("accept", "is_admitted"),
    [
        ("", True),
        ("*/*", True),
        ("application/*", True),
        ("application/json", True),
        ("APPLICATION/JSON", True),
        ("application/json;q=0.1", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json; charset=utf-8", True),
        ("application/json;q=nonsense", True),
        (" , ,application/json", True),
        ("text/html", False),
        ("application/json;q=0", False),
        ("application/json;q=0.0, */*", False),
        ("application/*;q=0, */*;q=1", False),
        ("*/*;q=0", False),
        ("application/xml", False),
        ("application", False),
    ],
)
def test_the_most_specific_range_decides(accept: str, is_admitted: bool) -> None:
    assert is_accepted(accept, "application/json") is is_admitted
