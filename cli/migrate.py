"""`skutrail migrate`: brings every database to the newest schema and declares what NATS must hold.

The one idempotent step before the processes of a release run, on a laptop and in Kubernetes alike. Two at once are
safe: each database is migrated under a lock.
"""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

import nats.errors
import nats.js.errors
import psycopg

from chassis import jetstream
from chassis.jetstream import ConsumerSpec, StreamSpec
from chassis.logs import log
from chassis.migrate import upgrade
from cli.provision import NAMES, SettingsMissing, demand

__all__ = ["NotThere", "SettingsMissing", "declare", "migrate", "settings_from", "topology", "wait_for_database"]

WAIT_MAX_S = 60.0
RETRY_EVERY_S = 0.5

# NATS is on its way up, or a cluster without a leader yet. Anything else is an error of ours and is not retried.
_NATS_AWAY = (
    OSError,
    nats.errors.ConnectionClosedError,
    nats.errors.NoRespondersError,
    nats.errors.NoServersError,
    nats.errors.TimeoutError,
    nats.js.errors.ServiceUnavailableError,
)


class NotThere(Exception):
    """Postgres or NATS did not answer in time."""


def settings_from(environment: Mapping[str, str]) -> tuple[dict[str, str], str, int]:
    """Returns the owners' URLs by process name, the URL of NATS, and how many of its servers keep each stream."""
    owner_urls = {name: f"SKUTRAIL_{name.upper()}_OWNER_URL" for name in NAMES}
    demand(environment, [*owner_urls.values(), "SKUTRAIL_NATS_URL"])
    owners = {name: environment[variable] for name, variable in owner_urls.items()}
    return owners, environment["SKUTRAIL_NATS_URL"], int(environment.get("SKUTRAIL_STREAM_REPLICAS") or 1)


async def migrate(owner_urls: Mapping[str, str], nats_url: str, stream_replicas: int = 1) -> None:
    """Waits for the servers, at most a minute each, then applies what is missing."""
    for name, url in owner_urls.items():
        await wait_for_database(f"the {name} database", url)
        await asyncio.to_thread(upgrade, name, url)
        log.info("database.migrated", database=name)
    await declare(nats_url, stream_replicas)


async def declare(nats_url: str, stream_replicas: int = 1) -> None:
    """Declares all streams and consumers. Raises NotThere when NATS does not answer within a minute."""
    streams, consumers = topology()
    streams = [replace(stream, replicas=stream_replicas) for stream in streams]
    await _retry("NATS", lambda: jetstream.declare(nats_url, streams, consumers), *_NATS_AWAY)
    log.info("streams.declared", streams=len(streams), consumers=len(consumers))


async def wait_for_database(what: str, url: str) -> None:
    """Returns once it takes connections. Raises NotThere when it does not within a minute."""
    await _retry(what, partial(_connect, url), psycopg.OperationalError)


def topology() -> tuple[list[StreamSpec], list[ConsumerSpec]]:
    """The streams and consumers of all services, each named by the service that publishes or listens."""
    modules = [importlib.import_module(f"services.{name}.topology") for name in NAMES if name != "gateway"]
    streams = [stream for module in modules for stream in module.STREAMS]
    consumers = [consumer for module in modules for consumer in module.CONSUMERS]
    return streams, consumers


async def _connect(url: str) -> None:
    await (await psycopg.AsyncConnection.connect(url, connect_timeout=5)).close()


async def _retry(what: str, attempt: Callable[[], Awaitable[None]], *away: type[Exception]) -> None:
    deadline = time.monotonic() + WAIT_MAX_S
    while True:
        try:
            return await attempt()
        except away as error:
            if time.monotonic() > deadline:
                raise NotThere(f"{what} did not answer within {WAIT_MAX_S:.0f} s: {error}") from error
            log.warning("migrate.waiting", waiting_for=what, cause=str(error))
        await asyncio.sleep(RETRY_EVERY_S)
