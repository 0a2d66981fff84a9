"""skutrail parked: events that a handler could not take, and their way back to it.

A release publishes the event once more, for the consumer that parked it alone; its inbox, or the version the event
carries, decides whether there is still anything to do (chassis/parking.py). Mend the cause first: an event whose
handler still fails is parked again, and is listed again.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import nats.errors
import nats.js.errors
import typer

from chassis import jetstream, parking
from chassis.database import Database, create_engine
from chassis.parking import ParkedEvent
from chassis.wire import rfc3339
from cli import command

app = typer.Typer(no_args_is_help=True)

SERVICES = ("inventory", "shipments", "orders", "webhooks")
LISTED_MAX = 1_000  # per service
ERROR_LENGTH_SHOWN = 100

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_DATABASE_URL",
        help="The service's database. Without it, that of the stack that runs in SKUTRAIL_HOME.",
    ),
]
NatsUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SKUTRAIL_NATS_URL",
        help="The NATS server, as a user who may ask for consumers. Without it, that of the running stack.",
    ),
]


@app.command(name="list")
def list_all(
    service: Annotated[str | None, typer.Option(help="One service; without it, all of them.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """List what is parked, oldest first: service, consumer, event, subject, since when, the handler's last error."""
    if database_url and not service:
        command.fail("Say by --service whose database that is.")
    lines = [
        _line(name, event)
        for name in (SERVICES if service is None else [_known(service)])
        for event in command.run(_waiting(command.database_url(name, database_url)))
    ]
    print("\n".join(lines) or "Nothing is parked.")


@app.command()
def release(
    service: str,
    event_id: str,
    consumer: Annotated[str | None, typer.Option(help="Needed where several consumers parked the event.")] = None,
    database_url: DatabaseUrl = None,
    nats_url: NatsUrl = None,
) -> None:
    """Hand a parked event back to the consumer that parked it. No other consumer takes it."""
    urls = command.database_url(_known(service), database_url), command.nats_url(nats_url)
    event = command.run(_release(*urls, event_id, consumer))
    print(f"{event.event_id} is handed back to {event.consumer}.", file=sys.stderr)


async def _waiting(url: str) -> Sequence[ParkedEvent]:
    async with _database(url) as database:
        return await database.run(lambda tx: parking.waiting(tx, LISTED_MAX))


async def _release(url: str, nats_url: str, event_id: str, consumer: str | None) -> ParkedEvent:
    """Raises ValueError, with a sentence for the operator, when nothing could be released."""
    async with _database(url) as database:
        found = await database.run(lambda tx: parking.find(tx, event_id))
        event = _the_one(found, event_id, consumer)
        try:
            async with jetstream.connected(nats_url) as js:
                await parking.release(database, js, event)
        except nats.js.errors.NotFoundError:
            raise ValueError(f"There is no consumer {event.consumer} any more.") from None
        except (nats.errors.Error, OSError) as error:
            raise ValueError(f"NATS did not take it: {type(error).__name__}. It stays parked.") from error
    return event


def _the_one(found: Sequence[ParkedEvent], event_id: str, consumer: str | None) -> ParkedEvent:
    matching = [event for event in found if consumer in (None, event.consumer)]
    if not matching:
        raise ValueError(f"No event {event_id} is parked{f' by {consumer}' if consumer else ''}.")
    if len(matching) > 1:
        names = ", ".join(event.consumer for event in matching)
        raise ValueError(f"{event_id} is parked by {names}. Choose one by --consumer.")
    return matching[0]


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Database]:
    engine = create_engine(url, pool_size=1)
    try:
        yield Database(engine)
    finally:
        await engine.dispose()


def _known(service: str) -> str:
    if service not in SERVICES:
        command.fail(f"There is no service {service}. Choose one of {', '.join(SERVICES)}.")
    return service


def _line(service: str, event: ParkedEvent) -> str:
    # One line per event, whatever the handler said: repr shows line breaks and control characters as what they are.
    error = repr(event.error[:ERROR_LENGTH_SHOWN])[1:-1]
    return f"{service:9}  {event.consumer:21}  {event.event_id}  {event.subject}  {rfc3339(event.parked_at)}  {error}"
