"""Examples of what is sent to each call, and what it answers: one story, told from the first receipt to the webhook.

Those of the five published calls are as published, to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEDGER_KEY = "0b7a1f4e-9c3a-4f67-a5b1-8d2e4a7c9f12"

# What is asked for in the path and in the query.
ASKED: Mapping[str, Mapping[str, str]] = {
    "get_balance": {"sku": "SKU-0042", "warehouse": "SEA-1"},
    "verify_chain": {"sku": "SKU-0042", "warehouse": "SEA-1"},
    "list_order_lines": {"id": "ord_5k2n9v"},
    "get_order": {"id": "ord_5k2n9v"},
    "get_warehouse": {"code": "SEA-1"},
    "put_warehouse": {"code": "SEA-1"},
}

SENT: Mapping[str, Any] = {
    "record_movement": {
        "sku": "SKU-0042",
        "warehouse": "SEA-1",
        "qty": 120,
        "reason": "receipt",
        "reference": "PO-2026-00814",
    },
    "create_shipment": {
        "order_id": "ord_5k2n9v",
        "ship_to": {
            "name": "Ada Lovelace",
            "line1": "1 Shoreline Dr",
            "city": "Seattle",
            "state": "WA",
            "postal": "98101",
            "country": "US",
        },
        "line_items": [{"sku": "SKU-0042", "qty": 2}],
        "carrier_hint": "ups_ground",
    },
    "subscribe": {
        "url": "https://your.app/webhooks/skutrail",
        "events": ["shipment.created", "inventory.updated"],
        "secret": "whsec_REPLACE",
    },
    "record_batch": {
        "atomic": True,
        "movements": [
            {"sku": "SKU-0042", "warehouse": "SEA-1", "qty": 120, "reason": "receipt", "reference": "PO-2026-00814"},
            {"sku": "SKU-0043", "warehouse": "SEA-1", "qty": 60, "reason": "receipt", "reference": "PO-2026-00814"},
        ],
    },
    "record_transfer": {
        "sku": "SKU-0042",
        "from_warehouse": "SEA-1",
        "to_warehouse": "PDX-1",
        "qty": 20,
        "reference": "TR-0007",
    },
    "put_warehouse": {
        "name": "Seattle, Shoreline",
        "address": {
            "line1": "200 Dock St",
            "city": "Seattle",
            "state": "WA",
            "postal": "98134",
            "country": "US",
        },
        "coordinates": {"latitude": 47.58, "longitude": -122.335},
        "priority": 10,
    },
    "change_webhook": {"status": "disabled"},
}

_MOMENT = "2026-04-22T17:04:11Z"
_ENTRY = {
    "id": "inv_2p7q0fxkq3r",
    "sku": "SKU-0042",
    "warehouse": "SEA-1",
    "qty": 120,
    "balance": 420,
    "seq": 7,
    "reason": "receipt",
    "reference": "PO-2026-00814",
    "created_at": _MOMENT,
}
_MOVED = {"qty": 20, "reason": "transfer", "reference": "TR-0007"}
_SHIPMENT = {
    "id": "shp_8c4l1x",
    "status": "allocated",
    "label_url": None,
    "order_id": "ord_5k2n9v",
    "ship_to": {
        "name": "Ada Lovelace",
        "line1": "1 Shoreline Dr",
        "line2": None,
        "city": "Seattle",
        "state": "WA",
        "postal": "98101",
        "country": "US",
        "coordinates": None,
    },
    "line_items": [{"sku": "SKU-0042", "qty": 2}],
    "carrier_hint": "ups_ground",
    "carrier": None,
    "service": None,
    "allocations": [{"sku": "SKU-0042", "warehouse": "SEA-1", "qty": 2}],
    "parcels": [],
    "error": None,
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}
_PARCEL = {"warehouse": "SEA-1", "tracking_number": "SBX0000000042", "label_status": "ready"}
_BOUGHT = {
    "label_url": "https://api.your-skutrail.example/v1/shipments/shp_8c4l1x/label?token=eyJ",
    "carrier": "sandbox",
    "service": "sandbox_ground",
    "parcels": [_PARCEL],
}
_CANCELED = {
    **_BOUGHT,
    "status": "canceled",
    "label_url": None,
    "allocations": [],
    "parcels": [{**_PARCEL, "label_status": "voiding"}],
}
_PLAN = {
    "status": "allocated",
    "allocations": [{"sku": "SKU-0042", "warehouse": "SEA-1", "qty": 2}],
    "missing": [],
    "candidates": [
        {
            "warehouse": "SEA-1",
            "chosen": True,
            "rule": "priority",
            "priority": 10,
            "distance_km": None,
            "stock": [{"sku": "SKU-0042", "available": 420, "taken": 2}],
        },
        {
            "warehouse": "PDX-1",
            "chosen": False,
            "rule": "priority",
            "priority": 0,
            "distance_km": None,
            "stock": [{"sku": "SKU-0042", "available": 20, "taken": 0}],
        },
    ],
}
_TERMS = {"allocation": "all_or_none", "priority": 0, "hold_expires_at": None}
_WAREHOUSE = {
    "code": "SEA-1",
    "name": "Seattle, Shoreline",
    "address": {
        "line1": "200 Dock St",
        "line2": None,
        "city": "Seattle",
        "state": "WA",
        "postal": "98134",
        "country": "US",
    },
    "coordinates": {"latitude": 47.58, "longitude": -122.335},
    "priority": 10,
    "active": True,
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}
_ORDER = {
    "id": "ord_5k2n9v",
    "status": "allocated",
    "allocations": [{"warehouse": "SEA-1", "qty": 2, "shipment_id": "shp_8c4l1x"}],
}
_WEBHOOK = {
    "id": "whk_1q9f4a",
    "url": "https://your.app/webhooks/skutrail",
    "events": ["shipment.created", "inventory.updated"],
    "status": "active",
    "description": None,
    "created_at": _MOMENT,
}


def _page(*rows: Any) -> Mapping[str, Any]:
    return {"data": list(rows), "has_more": False, "next_cursor": None}


ANSWERED: Mapping[str, Any] = {
    "record_movement": {
        "id": "inv_2p7q0fxkq3r",
        "sku": "SKU-0042",
        "warehouse": "SEA-1",
        "qty": 120,
        "balance": 420,
        "created_at": "2026-04-22T17:04:11Z",
    },
    "get_balance": {"sku": "SKU-0042", "warehouse": "SEA-1", "balance": 420, "as_of": "2026-04-22T17:04:11Z"},
    "create_shipment": {"id": "shp_8c4l1x", "status": "queued", "label_url": None},
    "get_order": _ORDER,
    "subscribe": {
        "id": "whk_1q9f4a",
        "url": "https://your.app/webhooks/skutrail",
        "events": ["shipment.created", "inventory.updated"],
        "created_at": "2026-04-22T17:04:11Z",
    },
    "get_entry": _ENTRY,
    "list_entries": _page(_ENTRY),
    "record_batch": {
        "entries": [_ENTRY, {**_ENTRY, "id": "inv_2p7q0fxkq3s", "sku": "SKU-0043", "qty": 60, "balance": 60}]
    },
    "record_transfer": {
        "id": "trf_3h9d2k",
        "entries": [
            {**_ENTRY, **_MOVED, "id": "inv_2p7q0fxkq3t", "qty": -20, "balance": 400, "seq": 8},
            {**_ENTRY, **_MOVED, "id": "inv_2p7q0fxkq3v", "warehouse": "PDX-1", "balance": 20, "seq": 1},
        ],
    },
    "list_levels": _page(
        {"sku": "SKU-0042", "warehouse": "SEA-1", "on_hand": 420, "held": 2, "available": 418, "waiting": 0}
    ),
    "verify_chain": {
        "sku": "SKU-0042",
        "warehouse": "SEA-1",
        "entries": 8,
        "ok": True,
        "first_broken_seq": None,
        "head_hash": "3f1c0a7be2d94c5860f7a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7",
    },
    "list_warehouses": _page(_WAREHOUSE),
    "get_warehouse": _WAREHOUSE,
    "put_warehouse": _WAREHOUSE,
    "get_shipment": _SHIPMENT,
    "get_allocation": {"shipment_id": "shp_8c4l1x", **_TERMS, **_PLAN, "decided_at": _MOMENT},
    "cancel_shipment": {**_SHIPMENT, **_CANCELED},
    "dispatch_shipment": {**_SHIPMENT, **_BOUGHT, "status": "shipped"},
    "list_shipments": _page(_SHIPMENT),
    "list_orders": _page(_ORDER),
    "list_order_lines": _page(
        {"sku": "SKU-0042", "ordered": 2, "waiting": 0, "allocated": 2, "shipped": 0, "canceled": 0}
    ),
    "get_webhook": _WEBHOOK,
    "list_webhooks": _page(_WEBHOOK),
    "change_webhook": {**_WEBHOOK, "status": "disabled"},
    "list_event_types": _page(
        {"type": "shipment.created", "description": "A shipment was accepted and is queued for allocation."}
    ),
    "healthz": {"status": "ok"},
    "readyz": {"status": "ready", "away": []},
}

# What is answered to `?dry_run=true`.
REHEARSED: Mapping[str, Any] = {"create_shipment": _PLAN}
