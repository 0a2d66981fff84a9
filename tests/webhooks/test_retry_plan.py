"""When the next attempt is made, and when there is none."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.domain import (
    ATTEMPTS_MAX,
    DELAYS,
    EVENT_TYPES,
    PATTERNS,
    RETRY_AFTER_MAX,
    TRANSITIONS,
    Answer,
    Outcome,
    Status,
    judge,
    parse_retry_after,
    patterns_matching,
)

NOW = datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC)
jitters = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, ATTEMPTS_MAX)
failures = st.one_of(
    st.builds(Answer, status_code=st.integers(100, 599).filter(lambda s: not 200 <= s <= 299 and s != 410)),
    st.builds(Answer, error=st.sampled_from(["timeout", "connection_failed"])),
)


def test_the_schedule_is_the_published_one() -> None:
    assert [delay.total_seconds() for delay in DELAYS] == [
        0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
    ]  # fmt: skip


@given(failures, attempts, jitters)
def test_a_failure_is_tried_again_by_the_schedule_with_at_most_a_fifth_added(
    answer: Answer, attempts_made: int, jitter: float
) -> None:
    verdict = judge(answer, attempts_made=attempts_made, now=NOW, jitter=jitter)

    assert not verdict.disables_subscription
    if attempts_made == ATTEMPTS_MAX:
        assert (verdict.status, verdict.next_attempt_at) == (Status.FAILED, None)
    else:
        assert verdict.status is Status.PENDING
        assert verdict.next_attempt_at is not None
        step = DELAYS[attempts_made]
        assert step <= verdict.next_attempt_at - NOW <= step * 1.2


@given(failures, st.integers(1, ATTEMPTS_MAX - 1), jitters, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_retry_after_is_a_floor_up_to_a_day(
    failure: Answer, attempts_made: int, jitter: float, retry_after: timedelta
) -> None:
    asked = Answer(failure.status_code, failure.error, retry_after)

    unasked_at = judge(failure, attempts_made=attempts_made, now=NOW, jitter=jitter).next_attempt_at
    asked_at = judge(asked, attempts_made=attempts_made, now=NOW, jitter=jitter).next_attempt_at

    assert unasked_at is not None
    assert asked_at == max(unasked_at, NOW + min(retry_after, RETRY_AFTER_MAX))


@given(st.integers(100, 599), attempts, jitters)
def test_success_is_2xx_and_nothing_else(status_code: int, attempts_made: int, jitter: float) -> None:
    verdict = judge(Answer(status_code), attempts_made=attempts_made, now=NOW, jitter=jitter)

    assert (verdict.status is Status.DELIVERED) == (status_code in range(200, 300))


@given(attempts, jitters)
def test_410_ends_the_delivery_and_disables_the_subscription(attempts_made: int, jitter: float) -> None:
    verdict = judge(Answer(410), attempts_made=attempts_made, now=NOW, jitter=jitter)

    assert (verdict.status, verdict.next_attempt_at, verdict.disables_subscription) == (Status.FAILED, None, True)


def test_a_2xx_whose_body_never_ended_is_no_success() -> None:
    verdict = judge(Answer(200, error="timeout"), attempts_made=1, now=NOW, jitter=0)

    assert verdict.status is Status.PENDING


def test_a_delivery_that_ended_stays_ended() -> None:
    assert TRANSITIONS[Status.PENDING].keys() == set(Outcome)
    assert TRANSITIONS[Status.DELIVERED] == TRANSITIONS[Status.FAILED] == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("0", timedelta(0)),
        ("120", timedelta(minutes=2)),
        ("9" * 30, RETRY_AFTER_MAX),
        ("9" * 8_000, None),
        (format_datetime(NOW + timedelta(hours=1), usegmt=True), timedelta(hours=1)),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), timedelta(0)),
        ("Wed, 22 Apr 2026 17:04:41 -0000", timedelta(seconds=30)),
        ("Fri, 31 Feb 2026 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds_or_as_a_date(value: str | None, expected: timedelta | None) -> None:
    assert parse_retry_after(value, NOW) == expected


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=60))
def test_no_retry_after_breaks_the_reader(value: str) -> None:
    parsed = parse_retry_after(value, NOW)

    assert parsed is None or parsed >= timedelta(0)


def test_a_subscription_names_types_families_or_everything() -> None:
    assert set(EVENT_TYPES) < PATTERNS
    assert {"inventory.*", "shipment.*", "order.*", "*"} < PATTERNS
    assert PATTERNS.isdisjoint({"", "shipment", "shipment.", "shipment.*.*", "*.created", "allocation.*"})
    assert patterns_matching("shipment.created") == ("shipment.created", "shipment.*", "*")
