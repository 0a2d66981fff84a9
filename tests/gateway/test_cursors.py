"""A cursor opens for its tenant, route and filters, within its life, and for nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Fault
from gateway.cursors import LIFE, Cursors

NOW = datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC)
BOUND = {"tenant": "acme/test", "route": "/v1/orders", "status": "queued"}
CURSORS = Cursors(bytes(range(32)))


@given(st.dictionaries(st.text(max_size=20), st.text(st.characters(codec="utf-8"), max_size=64), max_size=2))
def test_a_cursor_opens_to_what_was_sealed(position: dict[str, str]) -> None:
    cursor = CURSORS.seal(position, bound_to=BOUND, now=NOW)

    assert CURSORS.open(cursor, bound_to=dict(reversed(BOUND.items())), now=NOW + LIFE) == position


@pytest.mark.parametrize(
    "change", [{"tenant": "acme/live"}, {"route": "/v1/shipments"}, {"status": "failed"}, {"more": "filters"}]
)
def test_a_cursor_does_not_open_for_anything_else(change: dict[str, str]) -> None:
    cursor = CURSORS.seal({"id": "ord_1"}, bound_to=BOUND, now=NOW)

    with pytest.raises(Fault, match="cursor_invalid"):
        CURSORS.open(cursor, bound_to={**BOUND, **change}, now=NOW)


def test_a_cursor_ends() -> None:
    cursor = CURSORS.seal({"id": "ord_1"}, bound_to=BOUND, now=NOW)

    with pytest.raises(Fault, match="cursor_invalid"):
        CURSORS.open(cursor, bound_to=BOUND, now=NOW + LIFE + timedelta(seconds=1))


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "é", "A" * 4_000, "AAAA" * 8, "a=b", "AAAA\n"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Fault, match="cursor_invalid"):
        CURSORS.open(cursor, bound_to=BOUND, now=NOW)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_cursor_is_refused(place: int, change: int) -> None:
    cursor = CURSORS.seal({"id": "ord_1"}, bound_to=BOUND, now=NOW)
    place %= len(cursor) - 1
    forged = cursor[:place] + chr((ord(cursor[place]) + change) % 128) + cursor[place + 1 :]
    if forged == cursor:
        return

    with pytest.raises(Fault, match="cursor_invalid"):
        CURSORS.open(forged, bound_to=BOUND, now=NOW)


def test_another_key_opens_nothing() -> None:
    cursor = CURSORS.seal({"id": "ord_1"}, bound_to=BOUND, now=NOW)

    with pytest.raises(Fault, match="cursor_invalid"):
        Cursors(bytes(32)).open(cursor, bound_to=BOUND, now=NOW)
