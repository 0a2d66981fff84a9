"""The routes: read what is asked for, let the register decide, answer in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from chassis.logs import log
from sandbox import faults, labels
from sandbox.faults import PACE, Pace
from sandbox.orders import Address, Order, read_order, read_scan
from sandbox.problems import Refusal, as_problems
from sandbox.register import Register, Sale, Seen

CARRIER = "sandbox"
BODY_BYTES_MAX = 64 * 1024

REGISTER = web.AppKey("REGISTER", Register)


def make_app(register: Register, pace: Pace | None = None) -> web.Application:
    """`pace` shortens the slow faults."""
    app = web.Application(middlewares=[as_problems], client_max_size=BODY_BYTES_MAX)
    app[REGISTER] = register
    app[PACE] = pace or Pace()
    app.on_shutdown.append(_drop_slow_sales)
    app.add_routes(
        [
            web.post("/v1/labels", buy),
            web.get("/v1/labels", find),
            web.post("/v1/labels/{number}/void", void),
            web.get("/v1/labels/{number}/scans", scans),
            web.post("/v1/labels/{number}/scans", scan),
            web.get("/v1/sales", tally),
            web.get("/healthz", healthz),
        ]
    )
    return app


async def buy(request: web.Request) -> web.StreamResponse:
    key, order = _key_of(request), read_order(await request.read())
    sell = partial(_sell, request.app[REGISTER], key, order)
    ordered = faults.ordered_by(order.ship_to.name)
    if ordered is None or not await _strikes(ordered, order.reference, request.app[REGISTER]):
        return await sell()
    log.info("fault.struck", fault=ordered.fault, reference=order.reference)
    return await faults.STRIKES[ordered.fault](request, sell)


async def find(request: web.Request) -> web.Response:
    sales = await request.app[REGISTER].find(_reference_of(request))
    return _answer({"labels": [_label(sale) for sale in sales]})


async def void(request: web.Request) -> web.Response:
    sale = await request.app[REGISTER].void(request.match_info["number"])
    log.info("label.voided", reference=sale.order.reference, tracking_number=sale.tracking_number)
    return _answer(_told(sale))


async def scans(request: web.Request) -> web.Response:
    number = request.match_info["number"]
    return _answer(_seen(number, await request.app[REGISTER].scans(number)))


async def scan(request: web.Request) -> web.Response:
    number, status = request.match_info["number"], read_scan(await request.read()).status
    return _answer(_seen(number, await request.app[REGISTER].scan(number, status)), status=201)


async def tally(request: web.Request) -> web.Response:
    reference = _reference_of(request)
    return _answer({"reference": reference, **asdict(await request.app[REGISTER].tally(reference))})


async def healthz(_: web.Request) -> web.Response:
    return _answer({"status": "ok"})


async def _sell(register: Register, key: str, order: Order) -> web.Response:
    sale = await register.sell(key, order)
    log.info("label.sold", reference=order.reference, tracking_number=sale.tracking_number)
    return _answer(_label(sale), status=201)


async def _strikes(ordered: faults.Ordered, reference: str, register: Register) -> bool:
    return ordered.times is None or await register.strike(reference) <= ordered.times


def _label(sale: Sale) -> dict[str, Any]:
    return {**_told(sale), "label": labels.draw(_sheet(sale))}


def _told(sale: Sale) -> dict[str, Any]:
    return {
        "tracking_number": sale.tracking_number,
        "reference": sale.order.reference,
        "carrier": CARRIER,
        "service": sale.order.service,
        "status": "voided" if sale.is_voided else "sold",
    }


def _seen(number: str, seen: Sequence[Seen]) -> dict[str, Any]:
    return {"tracking_number": number, "scans": [asdict(one) for one in seen]}


def _sheet(sale: Sale) -> labels.Sheet:
    order = sale.order
    return labels.Sheet(
        service=order.service.replace("_", " ").upper(),
        ship_from=order.ship_from,
        ship_to=_address_lines(order.ship_to),
        tracking_number=sale.tracking_number,
        order_id=order.order_id,
        reference=order.reference,
    )


def _address_lines(address: Address) -> tuple[str, ...]:
    town = " ".join(part for part in (address.city, address.state, address.postal) if part)
    lines = (address.name, address.line1, address.line2, town, address.country)
    return tuple(line for line in lines if line)


def _key_of(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not 1 <= len(key) <= 255:
        raise Refusal("idempotency_key_required", "Send an Idempotency-Key of 1 to 255 characters.")
    return key


def _reference_of(request: web.Request) -> str:
    reference = request.query.get("reference", "")
    if not reference:
        raise Refusal("reference_required", "Name a reference: ?reference=...")
    return reference


def _answer(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


async def _drop_slow_sales(app: web.Application) -> None:
    for sale in app[PACE].under_way:
        sale.cancel()
