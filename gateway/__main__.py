"""python -m gateway: settings, wiring, run."""

from __future__ import annotations

import asyncio
from typing import Literal

from chassis.config import Key, Settings
from chassis.database import Database, create_engine
from chassis.logs import log
from chassis.process import run
from gateway.access import Gatekeeper
from gateway.app import make_app
from gateway.cursors import Cursors
from gateway.intake import Intake
from gateway.keyring import KeyRing
from gateway.limits import Buckets
from gateway.operate import Readiness
from gateway.serving import is_loopback, serve
from gateway.upstream import Upstream


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
    # `required` refuses a POST without an Idempotency-Key; otherwise the gateway makes one.
    idempotency_key: Literal["optional", "required"] = "optional"


def main() -> None:
    settings = GatewaySettings()
    run("gateway", lambda stopping: _serve(settings, stopping), settings.log_level)


async def _serve(settings: GatewaySettings, stopping: asyncio.Event) -> None:
    database = Database(create_engine(settings.database_url))
    upstream = Upstream(
        {
            "inventory": settings.inventory_addr,
            "shipments": settings.shipments_addr,
            "orders": settings.orders_addr,
            "webhooks": settings.webhooks_addr,
        }
    )
    # The key of the published examples opens the door on this machine only.
    ring = KeyRing(database, admits_example=is_loopback(settings.http_host))
    gatekeeper = Gatekeeper(ring, None if settings.rate_limit == "off" else Buckets())
    app = make_app(
        upstream=upstream,
        gatekeeper=gatekeeper,
        readiness=Readiness(upstream, database),
        intake=Intake(),
        cursors=Cursors(settings.cursor_key),
        key_is_required=settings.idempotency_key == "required",
    )
    try:
        serving = await serve(app, host=settings.http_host, port=settings.http_port)
        log.info("process.started", url=serving.url, rate_limit=settings.rate_limit)
        await stopping.wait()
        await serving.stop()
    finally:
        await upstream.close()
        await database.engine.dispose()


if __name__ == "__main__":
    main()
