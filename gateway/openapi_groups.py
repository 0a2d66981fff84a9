"""The groups that readers find the calls in (the tags of the document), by the path of a call."""

from __future__ import annotations

from collections.abc import Mapping

# In the order in which they are shown.
GROUPS: Mapping[str, str] = {
    "Inventory": "The ledger, the balances it makes, and what is held of them.",
    "Warehouses": "Where stock is, and which is taken from first. They work undescribed, too.",
    "Shipments": "From the request to the door of the customer: stock, label, dispatch.",
    "Orders": "Where the goods of an order come from, and how far they are.",
    "Webhooks": "Who is told of what.",
    "Operating": "For whoever runs it. No key is asked for.",
    "Pages": "What you are reading. No key is asked for.",
}

DESCRIPTION = """\
One API for stock and its trail. Press Authorize and enter a key, `sk_test_...`, to try the calls from this page; on the
machine that runs Skutrail, `sk_test_REPLACE` works. The page forgets it when it is closed.

Beside the calls: [how to begin](/docs), [how to repeat a request](/docs/idempotency),
[how to receive webhooks](/docs/webhooks), [what each error means](/docs/errors).
"""


def group_of(path: str) -> str:
    first, second = f"{path}/".split("/")[1:3]
    if first == "v1":
        return second.capitalize()
    return "Pages" if first in ("", "docs", "openapi.json") else "Operating"
