"""Time as an argument: code that decides anything takes `now`; a process hands this clock to its doors."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)
