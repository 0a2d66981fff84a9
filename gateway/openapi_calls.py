"""What the table of routes does not say of a call: its name, what it answers with, and what may refuse it besides.

The fields of an answer are those by which its handler shows it (shown.py); tests hold real answers against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway import openapi_sourcing, requests, shown
from gateway.openapi_events import UNCAUSED
from gateway.openapi_schemas import Schema, Schemas, Shape, nullable, page_of, record, shaped
from gateway.shown import Shown
from gateway.validation import Strict
from skutrail.v1 import inventory_pb2, webhooks_pb2


@dataclass(frozen=True)
class Described:
    """`answer` is the schema of a JSON answer; None where there is no JSON, or no body."""

    name: str
    summary: str
    # What it does, in a sentence or two; and what its success says.
    told: str
    answered: str
    answer: Shape | None = None
    status: int = 200
    # Where it is not what the table says: open routes produce what they like.
    media_type: str = ""
    # The body of a route that is no keyed write; those name their model themselves.
    body: type[Strict] | None = None
    # Codes of refusals of its own, beyond those of its kind.
    refusals: tuple[str, ...] = ()
    has_location: bool = False
    # What it answers to `?dry_run=true`, where it takes that.
    rehearsal: Shape | None = None
    # Has an ETag, and is not sent again to who holds it.
    is_document: bool = False


_entry = shaped(Shown(inventory_pb2.LedgerEntry))
_recorded = shaped(shown.RECORDED)
_transfer = shaped(shown.TRANSFER)
_balance = shaped(Shown(inventory_pb2.Balance))
_level = shaped(Shown(inventory_pb2.Level))
_shipment = shaped(shown.SHIPMENT)
_queued = shaped(shown.QUEUED)
_order_line = shaped(shown.ORDER_LINE)
_order = shaped(shown.ORDER)
_warehouse = shaped(Shown(inventory_pb2.Warehouse))
_webhook = shaped(Shown(webhooks_pb2.Subscription, "Webhook"))
_new_webhook = shaped(shown.NEW_WEBHOOK)
_event_type = shaped(Shown(webhooks_pb2.EventType))


def _batch(schemas: Schemas) -> Schema:
    entries = {"type": "array", "items": _entry(schemas), "description": "One for each movement, in its order."}
    recorded = record({"status": {"const": 200}, "entry": _entry(schemas)})
    refused = record({"status": {"type": "integer"}, "error": {"$ref": "#/components/schemas/Problem"}})
    results = {"type": "array", "items": {"oneOf": [recorded, refused]}}
    return {"oneOf": [record({"entries": entries}), record({"results": results})]}


def _subscribed(schemas: Schemas) -> Schema:
    # The secret is there only where we made it.
    secret = {"type": "string", "description": "What deliveries are signed with. Keep it: it is not told again."}
    return {"allOf": [_new_webhook(schemas), {"properties": {"secret": secret}}]}


def _verified(schemas: Schemas) -> Schema:
    text, count = {"type": "string"}, {"type": "integer"}
    fields = {
        "sku": text,
        "warehouse": text,
        "entries": count,
        "ok": {"type": "boolean"},
        "first_broken_seq": nullable(count),
        "head_hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
    return schemas.add("VerifiedChain", record(fields))


def _alive(_: Schemas) -> Schema:
    return record({"status": {"const": "ok"}})


def _ready(_: Schemas) -> Schema:
    away = {"type": "array", "items": {"type": "string"}, "description": "Services by name; empty when all is well."}
    return record({"status": {"const": "ready"}, "away": away})


def _anything(_: Schemas) -> Schema:
    return {"type": "object"}


def _page(name: str, summary: str) -> Described:
    return Described(name, summary, "A page for people.", "The page.", media_type="text/html")


_STOCK = ("insufficient_stock",)
_MOVEMENT = ("insufficient_stock", "version_conflict")

# By method and path, as docs and metrics write them.
CALLS: Mapping[str, Described] = {
    "POST /v1/inventory/ledger": Described(
        "record_movement",
        "Record a receipt, pick, adjustment or transfer",
        "Adds one entry to the ledger, for good: what was wrong is put right by another entry. None takes a balance "
        "below zero, and none but an adjustment takes what is held for somebody else.",
        "Recorded: the entry, with the balance right after it.",
        _recorded,
        refusals=_MOVEMENT,
    ),
    "GET /v1/inventory/ledger": Described(
        "list_entries",
        "List the ledger, newest first",
        "The whole trail, or what the filters leave of it. That of one SKU in one warehouse is in the order of `seq`.",
        "A page of entries.",
        page_of(_entry),
    ),
    "POST /v1/inventory/ledger/batch": Described(
        "record_batch",
        "Record up to 1,000 movements, all or nothing or each for itself",
        "With `atomic: true` one refusal refuses them all, and its `errors` name the lines. With `false` every line is "
        "decided for itself.",
        "All recorded: `entries`. Not atomic: `results`, one for each line in its order; look at the status of each.",
        _batch,
        refusals=_MOVEMENT,
    ),
    "GET /v1/inventory/ledger/{id}": Described(
        "get_entry", "Read one entry of the ledger", "Entries never change.", "The entry in full.", _entry
    ),
    "POST /v1/inventory/transfers": Described(
        "record_transfer",
        "Move stock from one warehouse to another",
        "Two entries of reason `transfer` in one commit: nobody sees the one without the other.",
        "Recorded: both entries, out and in.",
        _transfer,
        refusals=_STOCK,
    ),
    "GET /v1/inventory/balance": Described(
        "get_balance",
        "Read the balance of a SKU in a warehouse, as it is or as it was",
        "What never moved has a balance of 0. How much of it is held for shipments is told by `/v1/inventory/levels`.",
        "The balance, and the instant at which it was true.",
        _balance,
    ),
    "GET /v1/inventory/levels": Described(
        "list_levels",
        "List what is on hand, held, available and waited for",
        "A row for each SKU in each warehouse, in their order: look here when a pick is refused for want of stock that "
        "the balance seems to have.",
        "A page of levels.",
        page_of(_level),
    ),
    "GET /v1/inventory/verify": Described(
        "verify_chain",
        "Recompute the hash chain of a SKU in a warehouse: is it as it was recorded",
        "Each entry carries a SHA-256 over the one before and itself: whoever changes, removes or adds one breaks "
        "those behind it. A walk that takes too long ends with `deadline_exceeded`, and goes on from its `after`.",
        "What the chain is worth. `head_hash` is that of its last good entry: keep it, and a later answer can be held "
        "against it.",
        _verified,
    ),
    "GET /v1/warehouses": Described(
        "list_warehouses",
        "List the warehouses that were described, by code",
        "Others have stock all the same: `/v1/inventory/levels` shows them.",
        "A page of warehouses.",
        page_of(_warehouse),
    ),
    "GET /v1/warehouses/{code}": Described(
        "get_warehouse",
        "Read what is known of a warehouse",
        "`not_found` for one that was never described, whatever is in it.",
        "The warehouse.",
        _warehouse,
        refusals=("not_found",),
    ),
    "PUT /v1/warehouses/{code}": Described(
        "put_warehouse",
        "Describe a warehouse, wholly anew",
        "What you leave out is as if it had never been said. To take a warehouse offline, send all that you said of it "
        'and `"active": false`: with that alone it would lose its name, place and priority. The same body twice is the '
        "same as once, so it needs no key: an `Idempotency-Key` is not looked at. What is held already stays where it "
        "is.",
        "The warehouse as it is now.",
        _warehouse,
        body=requests.Warehouse,
    ),
    "POST /v1/shipments": Described(
        "create_shipment",
        "Ask for a shipment; stock and label follow",
        "It is taken whether there is stock or not. All lines are allocated at once, in as few warehouses as can be, "
        "[chosen by these rules](/docs#sourcing); until then it waits. With `?dry_run=true` nothing is written and no "
        "key is spent: the same body is held to the same rules, and answered with what would be decided now.",
        "Taken: it is queued, and `Location` is where to follow it.",
        _queued,
        status=202,
        has_location=True,
        rehearsal=openapi_sourcing.plan,
    ),
    "GET /v1/shipments": Described(
        "list_shipments",
        "List shipments, newest first",
        "All of them, or those of an order or in a state.",
        "A page of shipments.",
        page_of(_shipment),
    ),
    "GET /v1/shipments/{id}": Described(
        "get_shipment",
        "Read a shipment in full",
        "How far it is, what is held for it and where, its parcels and its label.",
        "The shipment as it is now.",
        _shipment,
    ),
    "GET /v1/shipments/{id}/allocation": Described(
        "get_allocation",
        "Explain where the stock of a shipment comes from",
        "What was asked, what it has of it, and the warehouses that were looked at when that was decided, with the "
        "rule that placed each or passed it over. It is decided anew when something comes for it, and when a shortfall "
        "takes it away. Where a shortfall takes from very many at once, most of them are undecided until something "
        "comes: no `candidates`, and `decided_at` is null.",
        "The decision by which it has what it has.",
        openapi_sourcing.allocation,
    ),
    "POST /v1/shipments/{id}/cancel": Described(
        "cancel_shipment",
        "Call a shipment off: its stock is free again",
        "Until it has left, in the middle of a label purchase, too: a label that was bought is given back to the "
        "carrier. One that is canceled already is answered as it is. Send no body. After a 503 it may still be carried "
        "out: ask again, with the same key.",
        "Canceled: the shipment as it is then.",
        _shipment,
        refusals=("invalid_state",),
    ),
    "POST /v1/shipments/{id}/dispatch": Described(
        "dispatch_shipment",
        "Tell that a shipment has left: its stock is picked",
        "Once it is `label_ready`. All that is held for it becomes picks in the ledger, in one commit, each with the "
        "shipment's id as its `reference`. One that has left already is answered as it is. Send no body.",
        "Shipped: the shipment as it is then.",
        _shipment,
        refusals=("invalid_state",),
    ),
    "GET /v1/shipments/{id}/label": Described(
        "get_label",
        "Fetch the label, by an API key or by its signed link",
        "A `label_url` is this call with a token, for browsers and printers. Until the label is bought: `not_found`.",
        "The label, a PDF of 4x6 inches.",
        is_document=True,
    ),
    "GET /v1/orders": Described(
        "list_orders",
        "List orders, newest first",
        "All of them, or those in a state.",
        "A page of orders.",
        page_of(_order),
    ),
    "GET /v1/orders/{id}": Described(
        "get_order",
        "Read how far an order is, across warehouses",
        "An order is what its shipments make it, and is there from the first of them on. Allocation follows a shipment "
        "within a second.",
        "The order as it is now.",
        _order,
    ),
    "GET /v1/orders/{id}/lines": Described(
        "list_order_lines",
        "List what became of each SKU of an order",
        "A row for each SKU that its shipments ask for, by SKU. The sums add up: `ordered` is `waiting`, `allocated`, "
        "`shipped` and `canceled` together.",
        "A page of lines.",
        page_of(_order_line),
    ),
    "GET /v1/webhooks": Described(
        "list_webhooks",
        "List webhooks, newest first",
        "Disabled ones, too; never with their secrets.",
        "A page of webhooks.",
        page_of(_webhook),
    ),
    "POST /v1/webhooks/subscribe": Described(
        "subscribe",
        "Subscribe a URL to events",
        "What happens from now on is posted there, [signed](/docs/webhooks). Every call makes one more webhook, even "
        "for the same URL.",
        "Made. `secret` is there if you sent none: it is told this once.",
        _subscribed,
        status=201,
        has_location=True,
    ),
    "GET /v1/webhooks/event-types": Described(
        "list_event_types",
        "List every event that a webhook may name",
        f"With a sentence for each. These may be named and are not sent yet: {', '.join(UNCAUSED)}.",
        "All event types, on one page; the description of each ends with whether it is not sent yet.",
        page_of(_event_type),
    ),
    "GET /v1/webhooks/{id}": Described(
        "get_webhook",
        "Read a webhook, never with its secret",
        "One that a 410 has disabled is shown as such.",
        "The webhook.",
        _webhook,
    ),
    "PATCH /v1/webhooks/{id}": Described(
        "change_webhook",
        "Change what is sent of a webhook",
        "What you leave out stays as it is; the secret cannot be changed. Every attempt from now on goes to the new "
        "URL, also of what happened before.",
        "The webhook as it is now.",
        _webhook,
        body=requests.SubscriptionChange,
    ),
    "DELETE /v1/webhooks/{id}": Described(
        "delete_webhook",
        "End a webhook: nothing more is sent",
        "Deliveries that were due are not made. A second call answers `not_found`.",
        "Ended; there is no body.",
        status=204,
    ),
    "GET /healthz": Described(
        "healthz",
        "Tell whether the process is alive",
        "Asks nobody else: for a probe that restarts.",
        "It is.",
        _alive,
    ),
    "GET /readyz": Described(
        "readyz",
        "Tell whether calls can be taken, and what is away",
        "The gateway is ready as long as its own database is. Services that do not answer are named, and no reason to "
        "send the calls of all others away.",
        "Ready; `away` names what does not answer.",
        _ready,
        refusals=("unavailable",),
    ),
    "GET /metrics": Described(
        "metrics",
        "Tell what was counted, for Prometheus",
        "Requests by route and status, how long they took, and the process itself.",
        "The text format of Prometheus.",
        media_type="text/plain",
    ),
    "GET /": Described(
        "root",
        "Lead to the first page",
        "For browsers.",
        "It is at /docs.",
        status=302,
        media_type="text/plain",
        has_location=True,
    ),
    "GET /docs": _page("docs", "Show how to begin"),
    "GET /docs/reference": _page("docs_reference", "Show all of this on a page"),
    "GET /docs/idempotency": _page("docs_idempotency", "Show how to repeat a request"),
    "GET /docs/webhooks": _page("docs_webhooks", "Show how to receive webhooks"),
    "GET /docs/errors": _page("docs_errors", "Show what every error code means"),
    "GET /docs/assets/{version}/{name}": Described(
        "docs_asset",
        "Fetch a file that the pages load",
        "Their address changes with their content: keep them for ever.",
        "The file.",
        media_type="*/*",
        refusals=("not_found",),
        is_document=True,
    ),
    "GET /openapi.json": Described(
        "openapi", "Tell all of this to programs", "OpenAPI 3.1, as this gateway runs it.", "This document.", _anything
    ),
}
