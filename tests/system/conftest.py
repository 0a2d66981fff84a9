"""A tenant of its own for every test, on the one running stack."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.builders import Tenant, open_tenant
from tests.running import RunningStack


@pytest.fixture(scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """As many connections as are asked for; every answer within 10 s."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


@pytest.fixture
async def tenant(stack: RunningStack, session: aiohttp.ClientSession) -> Tenant:
    return await open_tenant(stack, session)
