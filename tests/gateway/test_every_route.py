"""Every route of the table, held against every caller who must not pass: without a key, with a bad one, from elsewhere.

The rows are made of gateway.app.ROUTES: a route that is new is in them at once, and fails until it has a place here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

import aiohttp
import pytest

from chassis.ids import new_id
from gateway import keys
from gateway.app import ROUTES
from gateway.call import Access, Route
from gateway.keys import Mode
from gateway.pages import Listing
from tests.builders import Tenant, open_tenant
from tests.gateway.asking import Answer, Caller
from tests.gateway.conftest import Door
from tests.running import RunningStack


def name_of(route: Route) -> str:
    """As the docs write it, such as GET /v1/orders/{id}."""
    return f"{route.method} {re.sub(r':[^}]*}', '}', route.path)}"


# What anybody may call.
PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /",
    "GET /docs/",
    "GET /docs",
    "GET /docs/reference",
    "GET /docs/idempotency",
    "GET /docs/webhooks",
    "GET /docs/errors",
    "GET /docs/assets/{version}/{name}",
    "GET /openapi.json",
}
# What a signed link opens as well as a key does.
LINKED = {"GET /v1/shipments/{id}/label"}
# The id that a path takes, by what it is the id of.
IDS = {
    "GET /v1/inventory/ledger/{id}": "entry",
    "GET /v1/shipments/{id}": "shipment",
    "GET /v1/shipments/{id}/allocation": "shipment",
    "GET /v1/shipments/{id}/label": "shipment",
    "POST /v1/shipments/{id}/cancel": "shipment to cancel",
    "POST /v1/shipments/{id}/dispatch": "shipment to dispatch",
    "GET /v1/orders/{id}": "order",
    "GET /v1/orders/{id}/lines": "order",
    "GET /v1/webhooks/{id}": "webhook",
    "PATCH /v1/webhooks/{id}": "webhook",
    "DELETE /v1/webhooks/{id}": "webhook",
    "GET /v1/warehouses/{code}": "warehouse",
}
# What a path names anew for whoever says so: a stranger's is one of their own.
OWN = {"PUT /v1/warehouses/{code}"}

KEYED = {name_of(route): route for route in ROUTES if route.access is not Access.OPEN}
WITH_ID = sorted(
    (route for name, route in KEYED.items() if "{" in name and name not in OWN),
    key=lambda route: route.method == "DELETE",
)
LISTS = [route for route in KEYED.values() if isinstance(route.handler, Listing)]
# HEAD is answered wherever GET is.
ASKED = [
    (method, route)
    for route in KEYED.values()
    for method in (["GET", "HEAD"] if route.method == "GET" else [route.method])
]


def test_every_route_has_its_place_here() -> None:
    assert {name_of(route) for route in ROUTES if route.access is Access.OPEN} == PUBLIC
    assert {name_of(route) for route in ROUTES if route.access is Access.KEY_OR_LINK} == LINKED
    assert {name_of(route) for route in WITH_ID} == IDS.keys()
    assert {name_of(route) for route in ROUTES if route.path.startswith("/v1/")} == KEYED.keys()


# --- no key, a bad key


@pytest.fixture(scope="module")
async def bad_keys(door: Door) -> Mapping[str, str]:
    """None of them opens anything; the last two did, or could."""
    revoked = await keys.create_key(door.database_url, account="every-route", mode="test")
    await keys.revoke_key(door.database_url, revoked.key.id)
    good = (await keys.create_key(door.database_url, account="every-route", mode="test")).secret
    return {
        "no key": "",
        "no form": "sk_test_x",
        "bad checksum": good[:-1] + ("a" if good[-1] != "a" else "b"),
        "unknown": keys.new_secret("live"),
        "other mode": good.replace("sk_test_", "sk_live_"),
        "revoked": revoked.secret,
    }


@pytest.mark.parametrize("kind", ["no key", "no form", "bad checksum", "unknown", "other mode", "revoked"])
@pytest.mark.parametrize(("method", "route"), ASKED, ids=[f"{method}-{name_of(route)}" for method, route in ASKED])
async def test_a_route_opens_to_no_bad_key(
    door: Door, bad_keys: Mapping[str, str], method: str, route: Route, kind: str
) -> None:
    answer = await ask(door.caller.by(bad_keys[kind]), method, route, new_id("inv"))

    expected = "authentication_required" if kind == "no key" else "invalid_api_key"
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="skutrail"')
    assert ('error="invalid_token"' in answer.headers["WWW-Authenticate"]) == (kind != "no key")
    assert answer.body == b"" if method == "HEAD" else answer.code == expected


@pytest.mark.parametrize("name", sorted(PUBLIC))
async def test_a_public_route_looks_at_no_key(door: Door, name: str) -> None:
    path = name.removeprefix("GET ").format(version="v", name="n")

    for key in ("", "sk_test_x"):
        answer = await door.caller.by(key).get(path)
        assert answer.status != 401, key
        assert "WWW-Authenticate" not in answer.headers


# --- another tenant's id, the other mode's


@dataclass(frozen=True)
class Owner:
    """A tenant who has more than one of everything, so that a page of one has a next."""

    tenant: Tenant
    ids: Mapping[str, str]
    strangers: Mapping[str, Tenant]


@pytest.fixture(scope="module", params=["test", "live"])
async def owner(stack: RunningStack, session: aiohttp.ClientSession, request: pytest.FixtureRequest) -> Owner:
    mode: Mode = request.param
    other_mode: Mode = "live" if mode == "test" else "test"
    account = f"acct-{uuid4().hex[:12]}"
    tenant = await open_tenant(stack, session, account=account, mode=mode)
    strangers = {
        "another account": await open_tenant(stack, session, mode=mode),
        "the other mode": await open_tenant(stack, session, account=account, mode=other_mode),
    }
    return Owner(tenant, await possessions(tenant), strangers)


async def possessions(tenant: Tenant) -> Mapping[str, str]:
    ids: dict[str, str] = {}
    for purpose in ("shipment to cancel", "shipment to dispatch", "shipment"):
        ids["entry"] = str((await tenant.receive(5, purpose))["id"])
        ids["order"] = f"ord_{uuid4().hex[:26]}"
        ids[purpose] = await tenant.ship(1, purpose, order_id=ids["order"])
        ids["webhook"] = await tenant.subscribe("https://your.app/hook", "webhook.ping", secret="whsec_REPLACE")
        ids["warehouse"] = f"wh_{uuid4().hex[:26]}"
        assert (await tenant.api.put(f"/v1/warehouses/{ids['warehouse']}", {"name": "Theirs"})).status == 200
        await tenant.shipment_that_is(ids[purpose], "label_ready")
    return ids


@pytest.mark.parametrize("whose", ["another account", "the other mode"])
@pytest.mark.parametrize("route", WITH_ID, ids=name_of)
async def test_an_id_from_elsewhere_is_answered_to_the_byte_as_an_unknown_one(
    owner: Owner, route: Route, whose: str
) -> None:
    theirs = owner.ids[IDS[name_of(route)]]
    unknown = re.sub(r"_.*", "_" + "0" * 26, theirs)
    caller = owner.strangers[whose].api

    foreign, missing = await ask(caller, route.method, route, theirs), await ask(caller, route.method, route, unknown)

    assert (foreign.status, foreign.code) == (404, "not_found")
    assert but_for_the_request(foreign) == but_for_the_request(missing)


async def test_a_signed_link_opens_one_label_to_anybody(owner: Owner) -> None:
    anybody = owner.tenant.api.by("")
    mine = await owner.tenant.shipment(owner.ids["shipment"])
    path = mine["label_url"].removeprefix(anybody.base_url)
    elsewhere = path.replace(mine["id"], f"shp_{'0' * 26}")

    assert (await anybody.get(path)).body.startswith(b"%PDF")
    assert (await anybody.get(elsewhere)).code == "not_found"
    assert but_for_the_request(await anybody.get(path[:-4] + "AAAA")) == but_for_the_request(
        await anybody.get(elsewhere)
    )


@pytest.mark.parametrize("whose", ["another account", "the other mode"])
# What is listed within one object is found by its id, or not at all: the rows above are for that.
@pytest.mark.parametrize("route", [route for route in LISTS if "{id" not in route.path], ids=name_of)
async def test_a_list_shows_nothing_from_elsewhere_and_takes_no_cursor_from_there(
    owner: Owner, route: Route, whose: str
) -> None:
    first = await owner.tenant.api.get(f"{route.path}?limit=1")
    stranger = owner.strangers[whose].api

    assert len(first.json["data"]) == 1
    assert first.json["has_more"]
    assert (await stranger.get(route.path)).json == {"data": [], "has_more": False, "next_cursor": None}
    refused = await stranger.get(f"{route.path}?limit=1&cursor={first.json['next_cursor']}")
    assert (refused.status, refused.code) == (400, "cursor_invalid")


@pytest.mark.parametrize("whose", ["another account", "the other mode"])
async def test_a_warehouse_from_elsewhere_is_described_by_nobody_but_its_owner(owner: Owner, whose: str) -> None:
    path = f"/v1/warehouses/{owner.ids['warehouse']}"
    stranger = await owner.strangers[whose].api.put(path, {"name": "Ours"})

    assert (stranger.status, stranger.json["name"]) == (200, "Ours")
    assert (await owner.tenant.api.get(path)).json["name"] == "Theirs"


# Last of all, for the last row deletes.
@pytest.mark.parametrize("route", WITH_ID, ids=name_of)
async def test_its_owner_has_it_still(owner: Owner, route: Route) -> None:
    answer = await ask(owner.tenant.api, route.method, route, owner.ids[IDS[name_of(route)]])

    assert answer.status in (200, 204)


async def ask(caller: Caller, method: str, route: Route, some_id: str) -> Answer:
    """The body, where one is read, is an empty object."""
    path = name_of(route).partition(" ")[2].format(id=some_id, code=some_id)
    has_body = method in ("POST", "PUT", "PATCH")
    headers = {"Content-Type": "application/json"} if has_body else {}
    return await caller.ask(method, path, headers=headers, data=b"{}" if has_body else None)


def but_for_the_request(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers, without what names the request and the moment."""
    of_the_moment = (
        *("Request-Id", "Date", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit"),
        "Idempotency-Key",  # made anew where none was sent
    )
    headers = {name: value for name, value in answer.headers.items() if name not in of_the_moment}
    return answer.status, answer.body.replace(answer.json["request_id"].encode(), b""), headers
