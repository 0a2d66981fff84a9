"""Every route of the gateway, in one table, and the application made of it."""

from __future__ import annotations

from aiohttp import web

from gateway import (
    batches,
    door,
    inventory,
    openapi,
    operate,
    orders,
    pages,
    shipments,
    sourcing,
    verifying,
    warehouses,
    webhooks,
)
from gateway.access import Gatekeeper
from gateway.call import UPSTREAM, Access, Route
from gateway.cursors import Cursors
from gateway.docs import assets
from gateway.docs import pages as docs
from gateway.intake import INTAKE, Intake
from gateway.metrics import Metrics
from gateway.middleware import GATEKEEPER, LOGGED, METRICS, admit, edge, one_in
from gateway.operate import READINESS, Readiness
from gateway.requests import (
    BalanceQuery,
    LabelQuery,
    LedgerQuery,
    LevelsQuery,
    NewShipmentQuery,
    OrdersQuery,
    PageQuery,
    ShipmentsQuery,
    VerifyQuery,
)
from gateway.upstream import Upstream

_KEY, _LINK, _OPEN = Access.KEY, Access.KEY_OR_LINK, Access.OPEN
# What stands beside the ids of a path is no id: GET on it is the wrong verb, not an unknown object.
_ENTRY = "/v1/inventory/ledger/{id:(?!batch$)[^/]+}"
_SHIPMENT = "/v1/shipments/{id}"
# A code of the ledger may hold what a part of a path may not, braces for one, and comes percent-encoded.
_WAREHOUSE = "/v1/warehouses/{code:[^/]+}"
_WEBHOOK = "/v1/webhooks/{id:(?!subscribe$|event-types$)[^/]+}"
_ASSET = "/docs/assets/{version}/{name}"

# fmt: off
ROUTES = (
    #     method    path                          handler                       who    query        answers with
    Route("POST",   "/v1/inventory/ledger",       inventory.record_movement,    _KEY),
    Route("GET",    "/v1/inventory/ledger",       inventory.list_entries,       _KEY,  LedgerQuery),
    Route("POST",   "/v1/inventory/ledger/batch", batches.record_batch,         _KEY),
    Route("GET",    _ENTRY,                       inventory.get_entry,          _KEY),
    Route("POST",   "/v1/inventory/transfers",    batches.record_transfer,      _KEY),
    Route("GET",    "/v1/inventory/balance",      inventory.get_balance,        _KEY,  BalanceQuery),
    Route("GET",    "/v1/inventory/levels",       inventory.list_levels,        _KEY,  LevelsQuery),
    Route("GET",    "/v1/inventory/verify",       verifying.verify_chain,       _KEY,  VerifyQuery),
    Route("GET",    "/v1/warehouses",             warehouses.list_warehouses,   _KEY,  PageQuery),
    Route("GET",    _WAREHOUSE,                   warehouses.get_warehouse,     _KEY),
    Route("PUT",    _WAREHOUSE,                   warehouses.put_warehouse,     _KEY),
    Route("POST",   "/v1/shipments",              shipments.create_shipment,    _KEY,  NewShipmentQuery),
    Route("GET",    "/v1/shipments",              shipments.list_shipments,     _KEY,  ShipmentsQuery),
    Route("GET",    _SHIPMENT,                    shipments.get_shipment,       _KEY),
    Route("GET",    _SHIPMENT + "/allocation",    sourcing.get_allocation,      _KEY),
    Route("POST",   _SHIPMENT + "/cancel",        shipments.cancel_shipment,    _KEY,  is_bare=True),
    Route("POST",   _SHIPMENT + "/dispatch",      shipments.dispatch_shipment,  _KEY,  is_bare=True),
    Route("GET",    _SHIPMENT + "/label",         shipments.get_label,          _LINK, LabelQuery,  "application/pdf"),
    Route("GET",    "/v1/orders",                 orders.list_orders,           _KEY,  OrdersQuery),
    Route("GET",    "/v1/orders/{id}",            orders.get_order,             _KEY),
    Route("GET",    "/v1/orders/{id}/lines",      orders.list_order_lines,      _KEY,  PageQuery),
    Route("GET",    "/v1/webhooks",               webhooks.list_subscriptions,  _KEY,  PageQuery),
    Route("POST",   "/v1/webhooks/subscribe",     webhooks.subscribe,           _KEY),
    Route("GET",    "/v1/webhooks/event-types",   webhooks.list_event_types,    _KEY),
    Route("GET",    _WEBHOOK,                     webhooks.get_subscription,    _KEY),
    Route("PATCH",  _WEBHOOK,                     webhooks.change_subscription, _KEY),
    Route("DELETE", _WEBHOOK,                     webhooks.delete_subscription, _KEY),
    Route("GET",    "/healthz",                   operate.healthz,              _OPEN),
    Route("GET",    "/readyz",                    operate.readyz,               _OPEN),
    Route("GET",    "/metrics",                   operate.metrics,              _OPEN),
    Route("GET",    "/",                          docs.to_start,                _OPEN),
    Route("GET",    "/docs/",                     docs.to_start,                _OPEN),
    Route("GET",    "/docs",                      docs.start,                   _OPEN),
    Route("GET",    "/docs/reference",            docs.reference,               _OPEN),
    Route("GET",    "/docs/idempotency",          docs.idempotency,             _OPEN),
    Route("GET",    "/docs/webhooks",             docs.webhooks,                _OPEN),
    Route("GET",    "/docs/errors",               docs.every_error,             _OPEN),
    Route("GET",    _ASSET,                       assets.show,                  _OPEN),
    Route("GET",    "/openapi.json",              openapi.show,                 _OPEN),
)
# fmt: on


def make_app(
    *,
    upstream: Upstream,
    gatekeeper: Gatekeeper,
    readiness: Readiness,
    intake: Intake,
    cursors: Cursors,
    metrics: Metrics,
    key_is_required: bool = False,
    log_every: int = 1,
) -> web.Application:
    app = web.Application(middlewares=[edge, admit])
    app[UPSTREAM] = upstream
    app[GATEKEEPER] = gatekeeper
    app[METRICS] = metrics
    app[READINESS] = readiness
    app[INTAKE] = intake
    app[pages.CURSORS] = cursors
    app[door.KEY_IS_REQUIRED] = key_is_required
    app[LOGGED] = one_in(log_every)
    app[assets.ASSETS] = assets.load()
    app[openapi.DOCUMENT] = openapi.render(ROUTES)
    app.on_shutdown.append(_refuse_late_bodies)
    for route in ROUTES:
        handler = route.handler if route.access is Access.OPEN else door.through(route)
        resource = app.router.add_resource(route.path)
        resource.add_route(route.method, handler)
        if route.method == "GET":
            resource.add_route("HEAD", handler)
    return app


async def _refuse_late_bodies(app: web.Application) -> None:
    app[INTAKE].close()
