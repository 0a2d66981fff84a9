"""The four services behind the gateway: a channel and a stub each, every call with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import grpc

from chassis import rpc
from gateway.coalescer import Coalescer
from skutrail.v1 import inventory_pb2, shipments_pb2
from skutrail.v1.inventory_pb2_grpc import InventoryStub
from skutrail.v1.orders_pb2_grpc import OrdersStub
from skutrail.v1.shipments_pb2_grpc import ShipmentsStub
from skutrail.v1.webhooks_pb2_grpc import WebhooksStub

CREATED_MAX = 64  # shipments in a call: the largest there can be fit into a message


class Upstream:
    """Made inside a running event loop. `addresses` names inventory, shipments, orders and webhooks.

    Call a stub's method by `chassis.rpc.call`: within 2 s it answers or raises the Fault that a caller may see.
    What is asked most, `movements`, `balances`, `reservations` and `new_shipments`, shares its calls.
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {name: rpc.channel(at) for name, at in addresses.items()}
        self.inventory = InventoryStub(self._channels["inventory"])
        self.shipments = ShipmentsStub(self._channels["shipments"])
        self.orders = OrdersStub(self._channels["orders"])
        self.webhooks = WebhooksStub(self._channels["webhooks"])
        self.movements = Coalescer(self._record_movements)
        self.balances = Coalescer(self._get_balances)
        self.reservations = Coalescer(self._reserve_keys)
        self.new_shipments = Coalescer(self._create_shipments, batch_max=CREATED_MAX)

    async def _record_movements(
        self, movements: Sequence[inventory_pb2.Movement], timeout_s: float
    ) -> Sequence[inventory_pb2.MovementOutcome]:
        wanted = inventory_pb2.RecordMovementsRequest(movements=movements)
        reply = await rpc.call(self.inventory.RecordMovements, wanted, timeout_s=timeout_s)
        return reply.outcomes

    async def _get_balances(
        self, keys: Sequence[inventory_pb2.BalanceKey], timeout_s: float
    ) -> Sequence[inventory_pb2.Balance]:
        wanted = inventory_pb2.GetBalancesRequest(keys=keys)
        reply = await rpc.call(self.inventory.GetBalances, wanted, timeout_s=timeout_s)
        return reply.balances

    async def _reserve_keys(
        self, reservations: Sequence[inventory_pb2.KeyReservation], timeout_s: float
    ) -> Sequence[inventory_pb2.ReserveKeyOutcome]:
        wanted = inventory_pb2.ReserveKeysRequest(reservations=reservations)
        reply = await rpc.call(self.inventory.ReserveKeys, wanted, timeout_s=timeout_s)
        return reply.outcomes

    async def _create_shipments(
        self, requests: Sequence[shipments_pb2.CreateShipmentRequest], timeout_s: float
    ) -> Sequence[shipments_pb2.CreateShipmentOutcome]:
        wanted = shipments_pb2.CreateShipmentsRequest(requests=requests)
        reply = await rpc.call(self.shipments.CreateShipments, wanted, timeout_s=timeout_s)
        return reply.outcomes

    async def away(self) -> list[str]:
        """The names of the services that do not say SERVING."""
        answers = await asyncio.gather(*(rpc.is_serving(channel) for channel in self._channels.values()))
        return [name for name, is_serving in zip(self._channels, answers, strict=True) if not is_serving]

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
