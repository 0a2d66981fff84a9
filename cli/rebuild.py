"""skutrail rebuild: a projection, built again from the events that are still kept."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.ids import new_id
from cli import command
from services.orders import rebuild
from services.orders.rebuild import Rebuilt

app = typer.Typer(no_args_is_help=True)

OrdersUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_DATABASE_URL",
        help="The orders' database. Without it, that of the stack that runs in SKUTRAIL_HOME.",
    ),
]
ShipmentsUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_SHIPMENTS_DATABASE_URL",
        help="The shipments' database, whose outbox is read. Without it, that of the running stack.",
    ),
]


@app.callback()
def projections() -> None:
    """Build a projection again from the events that are still kept."""


@app.command()
def orders(database_url: OrdersUrl = None, shipments_database_url: ShipmentsUrl = None) -> None:
    """Hold every order against the events of its shipments, and mend what differs. All or nothing; safe at any time.

    Orders are read meanwhile as they were; news of shipments waits. An order that comes out other than it was is
    announced, and no other.
    """
    url, log_url = (
        command.database_url("orders", database_url),
        command.database_url("shipments", shipments_database_url),
    )
    done = command.run(_orders(url, log_url))
    print(
        f"{done.events:,} events told of {done.orders:,} orders: {done.changed:,} shipments mended, "
        f"{done.announced:,} orders announced, {done.kept:,} shipments left as they were, for their events are gone.",
        file=sys.stderr,
    )


async def _orders(url: str, log_url: str) -> Rebuilt:
    async with _database(url) as database, _database(log_url) as shipments:
        return await database.run(lambda tx: rebuild.rebuild(tx, shipments, utc_now(), new_id))


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Database]:
    engine = create_engine(url, pool_size=1)
    try:
        yield Database(engine)
    finally:
        await engine.dispose()
