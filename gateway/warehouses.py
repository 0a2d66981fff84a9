"""/v1/warehouses: what is known of a warehouse besides its stock."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from chassis import rpc
from chassis.wire import to_json
from gateway import query, requests, validation
from gateway.call import Call, respond
from gateway.cursors import Position
from gateway.pages import Listing
from skutrail.v1 import inventory_pb2


async def put_warehouse(call: Call) -> web.Response:
    """The same however often it is sent: it runs under no key."""
    code = _code(call)
    described = validation.read(requests.Warehouse, call.body)
    warehouse = inventory_pb2.Warehouse(code=code, **described.model_dump())
    wanted = inventory_pb2.PutWarehouseRequest(tenant_id=call.tenant_id, warehouse=warehouse)
    return respond(to_json(await rpc.call(call.upstream.inventory.PutWarehouse, wanted)))


async def get_warehouse(call: Call) -> web.Response:
    wanted = inventory_pb2.GetWarehouseRequest(tenant_id=call.tenant_id, code=_code(call))
    return respond(to_json(await rpc.call(call.upstream.inventory.GetWarehouse, wanted)))


def _code(call: Call) -> str:
    """The last part of the path, decoded here: what aiohttp makes of it no longer tells `%ff` from `%25ff`."""
    sent = call.http.rel_url.raw_path.rpartition("/")[2]
    return query.read_path(requests.WarehousePath, code=sent).code


async def _fetch(call: Call, limit: int, after: Position) -> tuple[Sequence[inventory_pb2.Warehouse], bool]:
    wanted = inventory_pb2.ListWarehousesRequest(tenant_id=call.tenant_id, limit=limit, **after)
    reply = await rpc.call(call.upstream.inventory.ListWarehouses, wanted)
    return reply.warehouses, reply.has_more


def _after_code(warehouse: inventory_pb2.Warehouse) -> Position:
    return {"after_code": warehouse.code}


list_warehouses = Listing(fetch=_fetch, show=to_json, position_of=_after_code)
