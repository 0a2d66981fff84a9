"""What the services announced, read out of their outboxes: a row may carry the events of many tenants."""

from dataclasses import dataclass

import psycopg

from chassis.outbox import events_in
from cli.local.stack import Stack
from skutrail.v1 import events_pb2

ANNOUNCERS = ("inventory", "shipments", "orders")


@dataclass(frozen=True)
class Announced:
    """An event in an outbox."""

    event_id: str
    type: str
    is_published: bool
    version: tuple[str, int] | None = None
    """Of a shipment: its id, and which version of it was announced."""


async def announced(stack: Stack, service: str, tenant_id: str) -> list[Announced]:
    async with await psycopg.AsyncConnection.connect(stack.databases[service].owner) as connection:
        rows = await connection.execute("SELECT payload, published_at IS NOT NULL FROM outbox ORDER BY id")
        return [
            Announced(event.id, event.type, is_published, _version(event))
            for payload, is_published in await rows.fetchall()
            for event in events_in(payload)
            if event.tenant_id == tenant_id
        ]


def _version(event: events_pb2.Event) -> tuple[str, int] | None:
    return (event.shipment.id, event.shipment.version) if event.HasField("shipment") else None
