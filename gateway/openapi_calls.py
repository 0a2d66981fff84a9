"""What the table of routes does not say of a call: its name, what it answers with, and what may refuse it besides.

The fields of an answer are those by which its handler shows it (shown.py); tests hold real answers against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway import requests, shown
from gateway.openapi_schemas import Schema, Schemas, Shape, nullable, page_of, record, shaped
from gateway.shown import Shown
from gateway.validation import Strict
from skutrail.v1 import events_pb2, inventory_pb2, webhooks_pb2


@dataclass(frozen=True)
class Described:
    """`answer` is the schema of a JSON answer; None where there is no JSON, or no body."""

    name: str
    summary: str
    answer: Shape | None = None
    status: int = 200
    # Where it is not what the table says: open routes produce what they like.
    media_type: str = ""
    # The body of a route that is no keyed write; those name their model themselves.
    body: type[Strict] | None = None
    # Codes of refusals of its own, beyond those of its kind.
    refusals: tuple[str, ...] = ()
    has_location: bool = False
    # Has an ETag, and is not sent again to who holds it.
    is_document: bool = False


_entry = shaped(Shown(inventory_pb2.LedgerEntry))
_recorded = shaped(shown.RECORDED)
_transfer = shaped(shown.TRANSFER)
_balance = shaped(Shown(inventory_pb2.Balance))
_level = shaped(Shown(inventory_pb2.Level))
_shipment = shaped(shown.SHIPMENT)
_queued = shaped(shown.QUEUED)
_order = shaped(shown.ORDER)
_webhook = shaped(Shown(webhooks_pb2.Subscription, "Webhook"))
_new_webhook = shaped(shown.NEW_WEBHOOK)
_event_type = shaped(Shown(webhooks_pb2.EventType))


def _batch(schemas: Schemas) -> Schema:
    entries = {"type": "array", "items": _entry(schemas)}
    recorded = record({"status": {"const": 200}, "entry": _entry(schemas)})
    refused = record({"status": {"type": "integer"}, "error": {"$ref": "#/components/schemas/Problem"}})
    results = {"type": "array", "items": {"oneOf": [recorded, refused]}}
    return {"oneOf": [record({"entries": entries}), record({"results": results})]}


def _subscribed(schemas: Schemas) -> Schema:
    # The secret is there only where we made it.
    return {"allOf": [_new_webhook(schemas), {"properties": {"secret": {"type": "string"}}}]}


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
    return record({"status": {"const": "ready"}, "away": {"type": "array", "items": {"type": "string"}}})


def _anything(_: Schemas) -> Schema:
    return {"type": "object"}


_STOCK = ("insufficient_stock",)
_MOVEMENT = ("insufficient_stock", "version_conflict")

# By method and path, as docs and metrics write them.
CALLS: Mapping[str, Described] = {
    "POST /v1/inventory/ledger": Described(
        "record_movement", "Record a receipt, pick, adjustment or transfer", _recorded, refusals=_MOVEMENT
    ),
    "GET /v1/inventory/ledger": Described("list_entries", "List the ledger, newest first", page_of(_entry)),
    "POST /v1/inventory/ledger/batch": Described(
        "record_batch", "Record up to 1,000 movements, all or nothing or each for itself", _batch, refusals=_MOVEMENT
    ),
    "GET /v1/inventory/ledger/{id}": Described("get_entry", "Read one entry of the ledger", _entry),
    "POST /v1/inventory/transfers": Described(
        "record_transfer", "Move stock from one warehouse to another", _transfer, refusals=_STOCK
    ),
    "GET /v1/inventory/balance": Described(
        "get_balance", "Read the balance of a SKU in a warehouse, as it is or as it was", _balance
    ),
    "GET /v1/inventory/levels": Described(
        "list_levels", "List what is on hand, held, available and waited for", page_of(_level)
    ),
    "GET /v1/inventory/verify": Described(
        "verify_chain", "Recompute the hash chain of a SKU in a warehouse: is it as it was recorded", _verified
    ),
    "POST /v1/shipments": Described(
        "create_shipment",
        "Ask for a shipment; stock and label follow",
        _queued,
        status=202,
        has_location=True,
    ),
    "GET /v1/shipments": Described("list_shipments", "List shipments, newest first", page_of(_shipment)),
    "GET /v1/shipments/{id}": Described("get_shipment", "Read a shipment in full", _shipment),
    "GET /v1/shipments/{id}/label": Described(
        "get_label", "Fetch the label, by an API key or by its signed link", is_document=True
    ),
    "GET /v1/orders": Described("list_orders", "List orders, the one heard of last first", page_of(_order)),
    "GET /v1/orders/{id}": Described("get_order", "Read how far an order is, across warehouses", _order),
    "GET /v1/webhooks": Described("list_webhooks", "List webhooks, newest first", page_of(_webhook)),
    "POST /v1/webhooks/subscribe": Described(
        "subscribe", "Subscribe a URL to events", _subscribed, status=201, has_location=True
    ),
    "GET /v1/webhooks/event-types": Described(
        "list_event_types", "List every event that a webhook may name", page_of(_event_type)
    ),
    "GET /v1/webhooks/{id}": Described("get_webhook", "Read a webhook, never with its secret", _webhook),
    "PATCH /v1/webhooks/{id}": Described(
        "change_webhook", "Change what is sent of a webhook", _webhook, body=requests.SubscriptionChange
    ),
    "DELETE /v1/webhooks/{id}": Described("delete_webhook", "End a webhook: nothing more is sent", status=204),
    "GET /healthz": Described("healthz", "Tell whether the process is alive", _alive),
    "GET /readyz": Described(
        "readyz", "Tell whether calls can be taken, and what is away", _ready, refusals=("unavailable",)
    ),
    "GET /metrics": Described("metrics", "Tell what was counted, for Prometheus", media_type="text/plain"),
    "GET /docs": Described("docs", "Show how to begin", media_type="text/html"),
    "GET /docs/reference": Described("docs_reference", "Show all of this on a page", media_type="text/html"),
    "GET /docs/idempotency": Described("docs_idempotency", "Show how to repeat a request", media_type="text/html"),
    "GET /docs/webhooks": Described("docs_webhooks", "Show how to receive webhooks", media_type="text/html"),
    "GET /docs/errors": Described("docs_errors", "Show what every error code means", media_type="text/html"),
    "GET /docs/assets/{version}/{name}": Described(
        "docs_asset", "Fetch a file that the pages load", media_type="*/*", refusals=("not_found",), is_document=True
    ),
    "GET /openapi.json": Described("openapi", "Tell all of this to programs", _anything),
}

# As the webhooks service renders it.
_ENTRY_EVENT = shaped(
    Shown(
        inventory_pb2.LedgerEntry,
        "LedgerEntryEvent",
        only=("id", "sku", "warehouse", "qty", "reason", "reference", "balance", "seq", "created_at"),
    )
)
_EVENT_DATA = {
    "inventory.updated": _ENTRY_EVENT,
    "inventory.shortfall": shaped(Shown(events_pb2.Shortfall)),
    "order.updated": _order,
}

# The data of every public event that something announces. Nothing sends a webhook.ping.
EVENTS: Mapping[str, Shape] = {
    event: _EVENT_DATA.get(event, _shipment) for event in requests.EVENT_TYPES if event != "webhook.ping"
}

# What a webhook may name, and nothing makes happen so far.
UNCAUSED = ("shipment.shipped", "shipment.delivered", "shipment.canceled", "webhook.ping")
