"""/v1/orders: an order as its shipments tell it."""

from __future__ import annotations

from aiohttp import web

from chassis import rpc
from chassis.wire import to_json
from gateway.call import Call, respond
from skutrail.v1 import orders_pb2


async def get_order(call: Call) -> web.Response:
    wanted = orders_pb2.GetOrderRequest(tenant_id=call.tenant_id, id=call.id)
    order = await rpc.call(call.upstream.orders.GetOrder, wanted)
    return respond(to_json(order, only=("id", "status", "allocations")))
