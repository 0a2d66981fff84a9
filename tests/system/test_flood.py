"""As much as the machine carries, and kill -9 in the middle of it: each answer is what a serial ledger would say.

The answers of 64 callers without a pause are held against a model, in the order of the entries' seqs; then what is in
the databases against what was told.
"""

import aiohttp
import pytest

from tests.running import RunningStack
from tests.system.faults import kept_running
from tests.system.storm import ANSWERS, BLOWS, Capture, storm


async def test_every_answer_under_full_load_is_that_of_a_ledger_that_serves_one_after_the_other(
    stack: RunningStack, session: aiohttp.ClientSession, capfd: Capture
) -> None:
    async with storm(stack, session, capfd) as weather:
        await weather.flood.goes_on(ANSWERS)

    assert weather.flood.counts["without a first answer"] <= weather.flood.unknown()


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_nothing_is_lost_or_doubled_when_20_blows_fall_at_random_under_full_load(
    stack: RunningStack, session: aiohttp.ClientSession, capfd: Capture
) -> None:
    async with kept_running(stack), storm(stack, session, capfd) as weather:
        await weather.rage(BLOWS)
