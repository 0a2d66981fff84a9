"""Names of things and of requests: prefixed, opaque, sorted by time; well formed or replaced."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from chassis import trace
from chassis.clock import utc_now
from chassis.ids import earliest_id, new_id

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_an_id_is_a_prefix_and_26_letters_that_nobody_misreads() -> None:
    for _ in range(1_000):
        assert re.fullmatch(r"inv_[0-7][0-9a-hjkmnp-tv-z]{25}", new_id("inv"))


def test_no_two_ids_are_alike() -> None:
    assert len({new_id("evt") for _ in range(10_000)}) == 10_000


def test_ids_sort_by_their_time_of_birth() -> None:
    born: dict[int, str] = {}
    while len(born) < 20:
        born.setdefault(time.time_ns() // 2_000_000, new_id("evt"))

    ids = [born[at] for at in sorted(born)]

    assert ids == sorted(ids)


def test_the_ids_of_an_instant_lie_between_its_bounds() -> None:
    before = utc_now()
    born = new_id("inv")

    assert earliest_id("inv", before) <= born < earliest_id("inv", utc_now(), timedelta(milliseconds=1))
    assert earliest_id("inv", before, timedelta(seconds=1)) > born


def test_there_are_bounds_for_every_time() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

    bounds = [
        earliest_id("inv", at, shift) for at in (first, last) for shift in (-timedelta(days=1), timedelta(days=1))
    ]

    assert bounds == sorted(bounds)
    assert {len(bound) for bound in bounds} == {len(new_id("inv"))}


def test_now_knows_its_zone() -> None:
    assert utc_now().utcoffset() is not None


def test_a_well_formed_traceparent_is_followed() -> None:
    with trace.follow("req_1", GOOD) as followed:
        assert trace.current() is followed
        assert (followed.request_id, followed.traceparent) == ("req_1", GOOD)
        assert followed.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"

    assert trace.current().traceparent == ""


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "00",
        GOOD.upper(),
        GOOD + "\n",
        " " + GOOD,
        GOOD + "-extra",
        "ff" + GOOD[2:],
        "00-" + "0" * 32 + GOOD[35:],
        GOOD[:36] + "0" * 16 + "-01",
        GOOD.replace("-", "_"),
    ],
)
def test_a_malformed_traceparent_is_replaced(malformed: str) -> None:
    with trace.follow("", malformed) as followed:
        assert followed.traceparent != malformed

        with trace.follow("", followed.traceparent) as again:
            assert again == followed
