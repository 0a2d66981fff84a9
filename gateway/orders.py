"""/v1/orders: an order as its shipments tell it, and what became of each of its SKUs."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from chassis import rpc
from gateway import requests
from gateway.call import Call, respond
from gateway.cursors import Position
from gateway.pages import Listing, after_id
from gateway.shown import ORDER, ORDER_LINE
from skutrail.v1 import orders_pb2


async def get_order(call: Call) -> web.Response:
    wanted = orders_pb2.GetOrderRequest(tenant_id=call.tenant_id, id=call.id)
    return respond(ORDER(await rpc.call(call.upstream.orders.GetOrder, wanted)))


async def _fetch_orders(call: Call, limit: int, after: Position) -> tuple[Sequence[orders_pb2.Order], bool]:
    asked: requests.OrdersQuery = call.query
    status = asked.status and f"ORDER_STATUS_{asked.status.upper()}"
    wanted = orders_pb2.ListOrdersRequest(tenant_id=call.tenant_id, status=status, limit=limit, **after)
    reply = await rpc.call(call.upstream.orders.ListOrders, wanted)
    return reply.orders, reply.has_more


list_orders = Listing(fetch=_fetch_orders, show=ORDER, position_of=after_id)


async def _fetch_lines(call: Call, limit: int, after: Position) -> tuple[Sequence[orders_pb2.OrderLine], bool]:
    wanted = orders_pb2.GetOrderLinesRequest(tenant_id=call.tenant_id, id=call.id, limit=limit, **after)
    reply = await rpc.call(call.upstream.orders.GetOrderLines, wanted)
    return reply.lines, reply.has_more


def _after_sku(line: orders_pb2.OrderLine) -> Position:
    return {"after_sku": line.sku}


list_order_lines = Listing(fetch=_fetch_lines, show=ORDER_LINE, position_of=_after_sku)
