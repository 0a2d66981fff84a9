"""Every test here runs once for each overlay that it asks for as `k8s`."""

from collections.abc import AsyncIterator

import pytest

from tests.deploy import broker
from tests.deploy.manifests import OVERLAYS, Manifests, manifests


@pytest.fixture(params=OVERLAYS)
def k8s(request: pytest.FixtureRequest) -> Manifests:
    return manifests(request.param)


@pytest.fixture
def production() -> Manifests:
    return manifests("production")


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a nats-server under the local overlay's configuration, without a user."""
    async with broker.running(manifests("local"), tmp_path_factory.mktemp("nats")) as url:
        yield url
