"""Settings, wiring, run: `python -m services.orders`."""

from chassis.clock import utc_now
from chassis.config import ServiceSettings
from chassis.consumer import Consumer
from chassis.ids import new_id
from chassis.process import Resources, Service, run_service
from chassis.rpc import channel
from services.orders import topology
from services.orders.listener import Listener
from services.orders.server import OrdersServer
from skutrail.v1 import orders_pb2_grpc, shipments_pb2_grpc


class Settings(ServiceSettings):
    """Orders asks shipments for an order it has not heard of yet."""

    shipments_addr: str


def main() -> None:
    settings = Settings()

    async def wire(resources: Resources) -> Service:
        shipments = channel(settings.shipments_addr)
        stub = shipments_pb2_grpc.ShipmentsStub(shipments)
        server = OrdersServer(resources.database, resources.relay, stub, utc_now, new_id)
        listener = Listener(resources.database, resources.relay, utc_now, new_id)
        return Service(
            add_servicer=lambda grpc_server: orders_pb2_grpc.add_OrdersServicer_to_server(server, grpc_server),
            service_name="skutrail.v1.Orders",
            workers=[
                Consumer(resources.nats, topology.SHIPMENT_NEWS, listener.handlers, resources.database, listener.fold)
            ],
            close=[shipments.close],
        )

    run_service("orders", settings, wire)


if __name__ == "__main__":
    main()
