"""Token buckets: the burst, the sustained rate, what is told about them, and their bound."""

from __future__ import annotations

import pytest

from gateway.limits import SECOND_NS, Buckets, Limit, parse_limit

TEN_IN_FIVE = Limit(10, 5)


def at(seconds: float) -> int:
    """A moment of the buckets' clock."""
    return round(seconds * SECOND_NS)


def taken(buckets: Buckets, caller: str, now: float, count: int) -> int:
    """How many of `count` requests at one moment get a token."""
    return sum(not buckets.take(caller, TEN_IN_FIVE, at(now)).is_spent for _ in range(count))


def test_a_burst_up_to_the_quota_passes_and_not_one_more() -> None:
    assert taken(Buckets(), "a", 1000.0, 50) == 10


def test_tokens_come_back_evenly() -> None:
    buckets = Buckets()
    taken(buckets, "a", 1000.0, 50)

    assert taken(buckets, "a", 1000.49, 50) == 0
    assert taken(buckets, "a", 1000.5, 50) == 1
    assert taken(buckets, "a", 1003.0, 50) == 5
    assert taken(buckets, "a", 2000.0, 50) == 10


def test_no_window_wherever_it_starts_holds_more_than_burst_and_rate() -> None:
    buckets = Buckets()
    passed = [step / 10 for step in range(200) for _ in range(3) if taken(buckets, "a", 1000 + step / 10, 1)]

    for start in passed:
        assert sum(start <= moment < start + 5 for moment in passed) <= 20


@pytest.mark.parametrize("limit", [Limit(3, 10), Limit(6, 10), Limit(7, 1), Limit(300_001, 1), Limit(9_999_999, 9)])
def test_a_full_bucket_holds_its_quota_exactly_however_it_divides(limit: Limit) -> None:
    buckets = Buckets()
    buckets.learn("a", at(1000) + (limit.quota - 2) * limit.token_ns)

    told = [buckets.take("a", limit, at(1000)) for _ in range(3)]

    assert [(budget.remaining, budget.is_spent) for budget in told] == [(1, False), (0, False), (0, True)]


def test_what_is_learned_from_elsewhere_never_gives_a_token_back() -> None:
    buckets = Buckets()
    taken(buckets, "a", 1000.0, 9)

    buckets.learn("a", at(1001))

    assert taken(buckets, "a", 1000.0, 50) == 1


def test_a_refusal_takes_nothing_however_often_it_is_asked() -> None:
    buckets = Buckets()
    taken(buckets, "a", 1000.0, 10_000)

    assert taken(buckets, "a", 1005.0, 50) == 10


def test_a_look_says_what_a_taking_would_and_takes_nothing() -> None:
    buckets = Buckets()
    for _ in range(12):
        assert buckets.look("a", TEN_IN_FIVE, at(1000.0)) == buckets.look("a", TEN_IN_FIVE, at(1000.0))
        assert buckets.look("a", TEN_IN_FIVE, at(1000.0)) == buckets.take("a", TEN_IN_FIVE, at(1000.0))


def test_callers_do_not_share() -> None:
    buckets = Buckets()
    taken(buckets, "a", 1000.0, 50)

    assert taken(buckets, "b", 1000.0, 50) == 10


def test_each_answer_names_what_is_left_and_when_more_comes() -> None:
    buckets = Buckets()
    first = buckets.take("a", Limit(250, 10), at(1000.0))
    for _ in range(248):
        buckets.take("a", Limit(250, 10), at(1000.0))
    last = buckets.take("a", Limit(250, 10), at(1000.0))

    assert first.headers(1_700_000_000.0) == {
        "X-RateLimit-Limit": "250",
        "X-RateLimit-Remaining": "249",
        "X-RateLimit-Reset": "1700000001",
        "RateLimit-Policy": '"default";q=250;w=10',
        "RateLimit": '"default";r=249;t=1',
    }
    assert (last.remaining, last.is_spent, last.full_s) == (0, False, 10)


def test_who_waits_as_long_as_told_is_let_in() -> None:
    buckets = Buckets()
    limit = Limit(1, 7)
    buckets.take("a", limit, at(1000.2))
    refused = buckets.take("a", limit, at(1000.9))

    assert refused.is_spent
    assert not buckets.take("a", limit, at(1000.9 + refused.refill_s)).is_spent


def test_the_memory_of_callers_is_bounded() -> None:
    buckets = Buckets(buckets_max=100)

    for number in range(1000):
        buckets.take(f"address {number}", TEN_IN_FIVE, at(1000.0))

    assert len(buckets._full_at_ns) == 100


@pytest.mark.parametrize(("written", "limit"), [("1000/10s", Limit(1000, 10)), ("1/1s", Limit(1, 1))])
def test_a_limit_is_written_as_requests_per_seconds(written: str, limit: Limit) -> None:
    assert parse_limit(written) == limit
    assert str(limit) == written


@pytest.mark.parametrize("written", ["", "1000", "1000/10", "0/10s", "10/0s", "-1/1s", "1e3/1s", "10/1m", "10/1s "])
def test_any_other_writing_of_a_limit_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="such as 1000/10s"):
        parse_limit(written)
