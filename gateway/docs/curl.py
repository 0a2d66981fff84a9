"""The five published calls as commands to paste, written from the one place that holds the examples."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from gateway.keys import EXAMPLE_KEY
from gateway.openapi_examples import LEDGER_KEY, SENT

_WIDTH = 76


def record_movement(base: str) -> str:
    return _curl(f"{base}/v1/inventory/ledger", f"Idempotency-Key: {LEDGER_KEY}", body=SENT["record_movement"])


def get_balance(base: str) -> str:
    return _curl(f"'{base}/v1/inventory/balance?sku=SKU-0042&warehouse=SEA-1'")


def create_shipment(base: str) -> str:
    return _curl(f"{base}/v1/shipments", body=SENT["create_shipment"])


def get_order(base: str) -> str:
    return _curl(f"{base}/v1/orders/ord_5k2n9v")


def subscribe(base: str) -> str:
    return _curl(f"{base}/v1/webhooks/subscribe", body=SENT["subscribe"])


def _curl(url: str, *headers: str, body: Any = None) -> str:
    """`url` is quoted where a shell needs it."""
    lines = [
        rf"curl -w '\n' {url}",
        f"-H 'Authorization: Bearer {EXAMPLE_KEY}'",
        *(f"-H '{header}'" for header in headers),
    ]
    if body is not None:
        lines += ["-H 'Content-Type: application/json'", f"-d '{textwrap.indent(written(body), '  ').lstrip()}'"]
    return " \\\n  ".join(lines)


def written(value: Any) -> str:
    """JSON for readers: on one line what fits on one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) <= _WIDTH or not isinstance(value, dict):
        return flat
    members = (f"{json.dumps(name)}: {textwrap.indent(written(inner), '  ').lstrip()}" for name, inner in value.items())
    return "{\n  " + ",\n  ".join(members) + "\n}"
