"""What `skutrail up` says when everything is ready: where it is, a key, and the five published examples to paste."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.local.home import Home
from cli.local.stack import Stack
from gateway.keys import EXAMPLE_KEY
from gateway.openapi_examples import LEDGER_KEY, SENT


def welcome(stack: Stack, key: str) -> str:
    examples = "\n".join(f"  {line}" for line in examples_of(stack.base_url))
    chosen = "".join(f"\n  Set      {name}={value}" for name, value in stack.chosen.items())
    return f"""\
  API      {stack.base_url}
  Docs     {stack.base_url}/docs
  Key      {key}
           until the next start; for keys that stay, while it runs:
           {keys_command(stack.home)}
  Carrier  {stack.carrier_url} (a sandbox: what it sells and how far a parcel is)
  Logs     {stack.home.logs}{chosen}

Try it (on this machine {EXAMPLE_KEY} works as a key, too):

{examples}

^C stops everything; the data stays in {stack.home.root}.
"""


def keys_command(home: Home) -> str:
    """Makes a key, pasted into any shell of this machine."""
    program = shlex.quote(str(Path(sys.executable).with_name("skutrail")))
    return f"SKUTRAIL_HOME={shlex.quote(str(home.root))} {program} keys create --account acme --mode test"


def examples_of(base_url: str) -> list[str]:
    """The five published calls as lines for bash, the ledger write first."""
    return [
        _curl(base_url, "/v1/inventory/ledger", SENT["record_movement"], f"Idempotency-Key: {LEDGER_KEY}"),
        _curl(base_url, "/v1/inventory/balance?sku=SKU-0042&warehouse=SEA-1"),
        _curl(base_url, "/v1/shipments", SENT["create_shipment"]),
        _curl(base_url, "/v1/orders/ord_5k2n9v"),
        _curl(base_url, "/v1/webhooks/subscribe", SENT["subscribe"]),
    ]


def _curl(base_url: str, path: str, body: Mapping[str, Any] | None = None, *headers: str) -> str:
    words = ["curl", "-sS", "-w", r"\n", base_url + path]
    for header in (f"Authorization: Bearer {EXAMPLE_KEY}", *headers):
        words += ["-H", header]
    if body is not None:
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return shlex.join(words)
