"""Settings, wiring, run: `python -m services.inventory`."""

from chassis.clock import utc_now
from chassis.config import ServiceSettings
from chassis.ids import new_id
from chassis.process import Resources, Service, run_service
from services.inventory.registrar import Registrar
from services.inventory.server import InventoryServer
from services.inventory.waker import Waker
from services.inventory.writer import Writer
from skutrail.v1 import inventory_pb2_grpc


class Settings(ServiceSettings):
    """Nothing beyond what every service takes."""


async def wire(resources: Resources) -> Service:
    waker = Waker(resources.database, resources.relay, utc_now, new_id)
    writer = Writer(resources.database, utc_now, new_id)
    registrar = Registrar(resources.database, utc_now)
    server = InventoryServer(resources.database, writer, registrar, resources.relay, waker, utc_now, new_id)
    return Service(
        add_servicer=lambda grpc_server: inventory_pb2_grpc.add_InventoryServicer_to_server(server, grpc_server),
        service_name="skutrail.v1.Inventory",
        workers=[writer, registrar, waker],
    )


def main() -> None:
    run_service("inventory", Settings(), wire)


if __name__ == "__main__":
    main()
