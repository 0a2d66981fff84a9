"""In, by call: request, operation, reply."""

from __future__ import annotations

from chassis import rpc
from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault
from chassis.ids import IdMaker
from chassis.outbox import Relay
from services.orders import operations
from services.orders.domain import OrderStatus, Shipment
from services.orders.events import shipment_of
from skutrail.v1 import orders_pb2, orders_pb2_grpc, shipments_pb2, shipments_pb2_grpc

PAGE_MAX = 100
CATCH_UP_PAGES_MAX = 10  # the events bring what is beyond


class OrdersServer(orders_pb2_grpc.OrdersServicer):
    def __init__(
        self,
        database: Database,
        relay: Relay,
        shipments: shipments_pb2_grpc.ShipmentsAsyncStub,
        clock: Clock,
        new_id: IdMaker,
    ) -> None:
        self._database = database
        self._relay = relay
        self._shipments = shipments
        self._clock = clock
        self._new_id = new_id

    async def GetOrder(self, request: orders_pb2.GetOrderRequest, context: rpc.Context) -> orders_pb2.Order:
        order = await self._read(request.tenant_id, request.id)
        if order is None:
            # The event of its first shipment may still be under way: the shipment itself is not.
            await self._catch_up(request.tenant_id, request.id)
            order = await self._read(request.tenant_id, request.id)
        if order is None:
            raise Fault("not_found", "There is no such order.")
        return order

    async def GetOrderLines(
        self, request: orders_pb2.GetOrderLinesRequest, context: rpc.Context
    ) -> orders_pb2.OrderLines:
        lines = await self._read_lines(request)
        if lines is None:
            # No more than the order itself may its lines wait for an event, or for a rebuild.
            await self._catch_up(request.tenant_id, request.id)
            lines = await self._read_lines(request)
        if lines is not None:
            return lines
        if await self._read(request.tenant_id, request.id) is None:
            raise Fault("not_found", "There is no such order.")
        # More shipments than are asked for, and of an earlier release: `skutrail rebuild orders` fills them in.
        raise Fault("unavailable", "The lines of this order are not known yet.", retry_after_s=60)

    async def ListOrders(
        self, request: orders_pb2.ListOrdersRequest, context: rpc.Context
    ) -> orders_pb2.ListOrdersReply:
        status = OrderStatus(request.status) if request.HasField("status") else None
        after_id = request.after_id if request.HasField("after_id") else None
        limit = min(max(request.limit, 1), PAGE_MAX)
        return await self._database.run(
            lambda tx: operations.list_orders(tx, request.tenant_id, status=status, after_id=after_id, limit=limit)
        )

    async def _read(self, tenant_id: str, order_id: str) -> orders_pb2.Order | None:
        return await self._database.run(lambda tx: operations.read_order(tx, tenant_id, order_id))

    async def _read_lines(self, request: orders_pb2.GetOrderLinesRequest) -> orders_pb2.OrderLines | None:
        limit = min(max(request.limit, 1), PAGE_MAX)
        return await self._database.run(
            lambda tx: operations.read_lines(
                tx, request.tenant_id, request.id, after_sku=request.after_sku, limit=limit
            )
        )

    async def _catch_up(self, tenant_id: str, order_id: str) -> None:
        shipments = await self._shipments_of(tenant_id, order_id)
        if shipments:
            await self._database.run(
                lambda tx: operations.fold_shipments(tx, tenant_id, order_id, shipments, self._clock(), self._new_id)
            )
            self._relay.nudge()

    async def _shipments_of(self, tenant_id: str, order_id: str) -> list[Shipment]:
        found: list[Shipment] = []
        for _ in range(CATCH_UP_PAGES_MAX):
            request = shipments_pb2.ListShipmentsRequest(
                tenant_id=tenant_id, order_id=order_id, limit=PAGE_MAX, after_id=found[-1].id if found else None
            )
            page = await rpc.call(self._shipments.ListShipments, request)
            found += [shipment_of(message, told_at=None) for message in page.shipments]
            if not page.has_more:
                break
        return found
