"""Settings, wiring, run: `python -m services.shipments`."""

from datetime import timedelta
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field

from chassis import rpc
from chassis.clock import utc_now
from chassis.config import Key, ServiceSettings
from chassis.ids import new_id
from chassis.process import Resources, Service, run_service
from services.shipments import listener
from services.shipments.carriers.sandbox import SandboxCarrier
from services.shipments.events import Announcer
from services.shipments.links import LabelLinks
from services.shipments.server import SERVICE_NAME, ShipmentsServer
from services.shipments.steps import Steps
from services.shipments.sweeper import TRACK_EVERY, Sweeper
from services.shipments.writer import Writer
from skutrail.v1 import inventory_pb2_grpc, shipments_pb2_grpc


def _http_url(written: str) -> str:
    if not written.startswith(("http://", "https://")):
        raise ValueError("must be the http:// or https:// URL of the carrier")
    return written


class Settings(ServiceSettings):
    inventory_addr: str
    public_url: str  # where callers reach the gateway: label links begin with it
    link_key: Key  # label links are signed with it
    carrier_url: Annotated[str, AfterValidator(_http_url)]  # where the sandbox carrier is
    track_every_s: float = Field(default=TRACK_EVERY.total_seconds(), gt=0)  # a shipment that has left


async def wire(settings: Settings, resources: Resources) -> Service:
    database, nudge = resources.database, resources.relay.nudge
    inventory = rpc.channel(settings.inventory_addr)
    carrier = SandboxCarrier(settings.carrier_url)
    announcer = Announcer(LabelLinks(settings.public_url, settings.link_key), new_id)
    steps = Steps(
        database=database,
        inventory=inventory_pb2_grpc.InventoryStub(inventory),
        carrier=carrier,
        announcer=announcer,
        clock=utc_now,
        new_id=new_id,
        nudge=nudge,
    )
    writer = Writer(database, announcer, utc_now, new_id)
    server = ShipmentsServer(steps, writer)
    sweeper = Sweeper(database, steps, utc_now, timedelta(seconds=settings.track_every_s))
    return Service(
        add_servicer=lambda grpc_server: shipments_pb2_grpc.add_ShipmentsServicer_to_server(server, grpc_server),
        service_name=SERVICE_NAME,
        workers=[
            writer,
            *listener.consumers(resources.nats, database, steps),
            sweeper,
            steps.late_purchases,
            steps.late_voids,
        ],
        close=[carrier.close, inventory.close],
    )


def main() -> None:
    settings = Settings()
    run_service("shipments", settings, partial(wire, settings))


if __name__ == "__main__":
    main()
