"""The published examples: what is sent to each of the five published calls, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEDGER_KEY = "0b7a1f4e-9c3a-4f67-a5b1-8d2e4a7c9f12"

# What is asked for in the path and in the query.
ASKED: Mapping[str, Mapping[str, str]] = {
    "get_balance": {"sku": "SKU-0042", "warehouse": "SEA-1"},
    "get_order": {"id": "ord_5k2n9v"},
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
}

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
    "get_order": {
        "id": "ord_5k2n9v",
        "status": "allocated",
        "allocations": [{"warehouse": "SEA-1", "qty": 2, "shipment_id": "shp_8c4l1x"}],
    },
    "subscribe": {
        "id": "whk_1q9f4a",
        "url": "https://your.app/webhooks/skutrail",
        "events": ["shipment.created", "inventory.updated"],
        "created_at": "2026-04-22T17:04:11Z",
    },
}
