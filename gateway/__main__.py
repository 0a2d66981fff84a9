"""python -m gateway: settings, wiring, run."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated, Literal

from aiohttp import web
from pydantic import AfterValidator, Field

from chassis.config import Key, Settings
from chassis.database import Database, create_engine
from chassis.logs import log
from chassis.process import run
from gateway.access import Gatekeeper
from gateway.app import make_app
from gateway.client_address import parse_networks
from gateway.cursors import Cursors
from gateway.intake import Intake
from gateway.keyring import KeyRing
from gateway.limits import Buckets
from gateway.metrics import Metrics
from gateway.operate import Readiness
from gateway.serving import is_loopback, serve
from gateway.shared_buckets import SharedBuckets
from gateway.upstream import Upstream


def _postgres_url(written: str) -> str:
    if written and not written.startswith("postgresql://"):
        raise ValueError("must be the postgresql:// URL of the database that keeps the shared buckets")
    return written


def _networks(written: str) -> str:
    parse_networks(written)
    return written


class GatewaySettings(Settings):
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    inventory_addr: str
    shipments_addr: str
    orders_addr: str
    webhooks_addr: str
    # Cursors of lists are signed with it; the same at every gateway.
    cursor_key: Key
    # `off` lifts the limits for every caller: for tests and benchmarks, and said aloud at the start.
    rate_limit: Literal["on", "off"] = "on"
    # A gateway's database, the same at every gateway that counts along; empty: each counts for itself.
    rate_limit_url: Annotated[str, AfterValidator(_postgres_url)] = ""
    # Of proxies whose X-Forwarded-For is believed: CIDRs, separated by commas.
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    # `required` refuses a POST without an Idempotency-Key; otherwise the gateway makes one.
    idempotency_key: Literal["optional", "required"] = "optional"
    # Of the requests that went well, one in so many leaves a line in the log.
    log_every: Annotated[int, Field(ge=1, le=10_000)] = 1


def main() -> None:
    settings = GatewaySettings()
    run("gateway", lambda stopping: _serve(settings, stopping), settings.log_level)


async def _serve(settings: GatewaySettings, stopping: asyncio.Event) -> None:
    async with AsyncExitStack() as opened:
        app = await _make_app(settings, opened)
        serving = await serve(app, host=settings.http_host, port=settings.http_port)
        log.info(
            "process.started",
            url=serving.url,
            rate_limit=settings.rate_limit,
            rate_limit_shared=bool(settings.rate_limit_url),
        )
        await stopping.wait()
        await serving.stop()


async def _make_app(settings: GatewaySettings, opened: AsyncExitStack) -> web.Application:
    """Whatever must be closed again is entered into `opened`."""
    database = Database(create_engine(settings.database_url))
    opened.push_async_callback(database.engine.dispose)
    upstream = Upstream(
        {
            "inventory": settings.inventory_addr,
            "shipments": settings.shipments_addr,
            "orders": settings.orders_addr,
            "webhooks": settings.webhooks_addr,
        }
    )
    opened.push_async_callback(upstream.close)
    metrics = Metrics()
    # The key of the published examples opens the door on this machine only.
    ring = KeyRing(database, admits_example=is_loopback(settings.http_host))
    return make_app(
        upstream=upstream,
        gatekeeper=await _make_gatekeeper(settings, ring, metrics, opened),
        readiness=Readiness(upstream, database),
        intake=Intake(),
        cursors=Cursors(settings.cursor_key),
        metrics=metrics,
        key_is_required=settings.idempotency_key == "required",
        log_every=settings.log_every,
    )


async def _make_gatekeeper(
    settings: GatewaySettings, ring: KeyRing, metrics: Metrics, opened: AsyncExitStack
) -> Gatekeeper:
    proxies = parse_networks(settings.trusted_proxies)
    if settings.rate_limit == "off":
        return Gatekeeper(ring, None, proxies=proxies)
    buckets = Buckets()
    if not settings.rate_limit_url:
        return Gatekeeper(ring, buckets, proxies=proxies)
    shared = await opened.enter_async_context(SharedBuckets(settings.rate_limit_url, buckets, metrics))
    return Gatekeeper(ring, buckets, shared, proxies)


if __name__ == "__main__":
    main()
