"""The public events as the document tells them: what each says happened, and the shape of its data."""

from __future__ import annotations

from collections.abc import Mapping

from gateway import shown
from gateway.openapi_schemas import Schema, Schemas, Shape, record, shaped
from gateway.shown import Shown
from skutrail.v1 import events_pb2, inventory_pb2

# In the words of the service that announces them at /v1/webhooks/event-types; a test holds the two together.
SENTENCES: Mapping[str, str] = {
    "inventory.updated": "A movement was recorded in the ledger, and a balance changed.",
    "inventory.shortfall": "An adjustment left less stock than shipments hold; the youngest of them wait again.",
    "shipment.created": "A shipment was accepted and is queued for allocation.",
    "shipment.allocated": "Stock is held for every line of a shipment.",
    "shipment.backordered": "There is not enough stock for a shipment; it waits for more.",
    "shipment.label_ready": "The label of a shipment can be fetched.",
    "shipment.shipped": "A shipment left the warehouse, and its stock with it.",
    "shipment.delivered": "The carrier delivered a shipment.",
    "shipment.canceled": "A shipment was canceled, and the stock held for it is free again.",
    "shipment.failed": "The carrier refused a shipment, or its time ran out; the stock held for it is free again.",
    "order.updated": "The status, the allocations or the lines of an order changed.",
    "webhook.ping": "Somebody asked to try a webhook out; nothing happened to stock, shipment or order (not sent yet).",
}

# What a webhook may name, and nothing makes happen so far.
UNCAUSED = ("webhook.ping",)

# As the webhooks service renders it.
_ENTRY_EVENT = shaped(
    Shown(
        inventory_pb2.LedgerEntry,
        "LedgerEntryEvent",
        only=("id", "sku", "warehouse", "qty", "reason", "reference", "balance", "seq", "created_at"),
    )
)
_SHIPMENT = shaped(shown.SHIPMENT)
_DATA: Mapping[str, Shape] = {
    "inventory.updated": _ENTRY_EVENT,
    "inventory.shortfall": shaped(Shown(events_pb2.Shortfall)),
    "order.updated": shaped(shown.ORDER),
}
# Nothing sends a webhook.ping, and nothing says what would be in it.
_TOLD = [event for event in SENTENCES if event != "webhook.ping"]


def deliveries(schemas: Schemas) -> dict[str, Schema]:
    """What is posted to a subscriber (Standard Webhooks), by event."""
    return {event: {"post": _delivery(event, _DATA.get(event, _SHIPMENT)(schemas))} for event in _TOLD}


def _delivery(event: str, data: Schema) -> Schema:
    body = record(
        {
            "id": _text("The same however often it is sent: deduplicate by it; `evt_...`."),
            "type": {"const": event},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
            "data": data,
        }
    )
    return {
        "operationId": event.replace(".", "_"),
        "summary": SENTENCES[event],
        "description": "Posted to every webhook that asked for it. [How to verify it](/docs/webhooks)",
        "security": [],
        "parameters": [_header(name, told) for name, told in _HEADERS.items()],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "2XX": {"description": "Taken: it is not sent again."},
            "410": {"description": "Nobody is here any more: the webhook is disabled."},
        },
    }


_HEADERS: Mapping[str, str] = {
    "webhook-id": "The id of the event.",
    "webhook-timestamp": "When this attempt was made, in Unix seconds.",
    "webhook-signature": "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; several have spaces between.",
}


def _header(name: str, told: str) -> Schema:
    return {"name": name, "in": "header", "required": True, "description": told, "schema": {"type": "string"}}


def _text(told: str) -> Schema:
    return {"type": "string", "description": told}
