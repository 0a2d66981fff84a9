"""python -m services.shipments: settings, wiring, run. The only place that builds things."""

from __future__ import annotations

import base64
from typing import Annotated

import grpc
from pydantic import AfterValidator, Field

from chassis import rpc
from chassis.clock import utc_now
from chassis.config import ServiceSettings
from chassis.ids import new_id
from chassis.process import Resources, Service, run_service
from services.shipments import listener
from services.shipments.carriers.sandbox import SandboxCarrier
from services.shipments.events import Announcer
from services.shipments.links import LabelLinks
from services.shipments.server import SERVICE_NAME, ShipmentsServer
from services.shipments.steps import Steps
from services.shipments.sweeper import Sweeper
from skutrail.v1 import inventory_pb2_grpc, shipments_pb2_grpc


def _checked_key(text: str) -> str:
    if len(base64.b64decode(text, validate=True)) != 32:
        raise ValueError("must be the base64 of 32 bytes")
    return text


class ShipmentsSettings(ServiceSettings):
    inventory_addr: str
    public_url: str
    link_key: Annotated[str, AfterValidator(_checked_key), Field(repr=False)]


async def wire(resources: Resources, settings: ShipmentsSettings) -> Service:
    inventory = rpc.channel(settings.inventory_addr)
    announcer = Announcer(LabelLinks(settings.public_url, base64.b64decode(settings.link_key)), new_id)
    nudge = resources.relay.nudge
    steps = Steps(
        database=resources.database,
        inventory=inventory_pb2_grpc.InventoryStub(inventory),
        carrier=SandboxCarrier(),
        announcer=announcer,
        clock=utc_now,
        new_id=new_id,
        nudge=nudge,
    )
    servicer = ShipmentsServer(resources.database, announcer, utc_now, new_id, nudge)

    def add_servicer(server: grpc.aio.Server) -> None:
        shipments_pb2_grpc.add_ShipmentsServicer_to_server(servicer, server)

    return Service(
        add_servicer=add_servicer,
        service_name=SERVICE_NAME,
        workers=[
            *listener.consumers(resources.nats, resources.database, steps),
            Sweeper(resources.database, steps, utc_now),
        ],
        close=[inventory.close],
    )


def main() -> None:
    settings = ShipmentsSettings()
    run_service("shipments", settings, lambda resources: wire(resources, settings))


if __name__ == "__main__":
    main()
