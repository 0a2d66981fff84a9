"""Time: an argument to whatever decides anything, and the pauses between two looks of a loop."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


async def pause(seconds: float, *, unless: asyncio.Event) -> bool:
    """Waits so long, or until the event is set; True when it was the event."""
    try:
        async with asyncio.timeout(seconds):
            return await unless.wait()
    except TimeoutError:
        return False
