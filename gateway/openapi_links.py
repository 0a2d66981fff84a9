"""Where an answer leads: the calls that take what it names (OpenAPI 3.1, Link Object)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.openapi_schemas import Schema

_ID = {"id": "$response.body#/id"}
_CODE = {"code": "$response.body#/code"}
_STOCK = {"sku": "$response.body#/sku", "warehouse": "$response.body#/warehouse"}

# By the name of a call: the calls that follow, and where each finds its parameters, as runtime expressions.
_LEADS_TO: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "record_movement": {"get_entry": _ID, "get_balance": _STOCK},
    "get_entry": {"get_balance": _STOCK},
    "record_transfer": {"get_entry": {"id": "$response.body#/entries/0/id"}},
    "put_warehouse": {"get_warehouse": _CODE},
    "create_shipment": {
        "get_shipment": _ID,
        "get_allocation": _ID,
        "get_label": _ID,
        "cancel_shipment": _ID,
        "get_order": {"id": "$request.body#/order_id"},
    },
    "get_shipment": {
        "get_allocation": _ID,
        "get_label": _ID,
        "cancel_shipment": _ID,
        "dispatch_shipment": _ID,
        "get_order": {"id": "$response.body#/order_id"},
    },
    "subscribe": {"get_webhook": _ID, "change_webhook": _ID, "delete_webhook": _ID},
    "get_webhook": {"change_webhook": _ID, "delete_webhook": _ID},
    "get_order": {"list_order_lines": _ID},
}


def links(call: str) -> Schema:
    """The links of what the call answers; {} where it leads nowhere."""
    return {name: {"operationId": name, "parameters": found} for name, found in _LEADS_TO.get(call, {}).items()}
