"""/docs: the calls on one page, and what every error code means. Self-contained: no script, nothing loaded."""

from __future__ import annotations

from html import escape

from aiohttp import web

from chassis.errors import ERRORS, ErrorKind

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1.25rem }
pre, code { font: 14px/1.5 ui-monospace, monospace }
pre { padding: 1rem; overflow-x: auto; border-radius: .5rem; background: rgb(127 127 127 / .13) }
dt { margin-top: .75rem }
h2 { margin-top: 2.5rem; font-size: 1.15rem }
section:target { outline: 2px solid; outline-offset: .75rem; border-radius: .25rem }
"""

# Title, what it does, the request, the answer.
_CALLS = (
    (
        "POST /v1/inventory/ledger",
        "Records a movement: receipt, pick, adjustment or transfer. Answers 200 with the balance after it.",
        """curl -sX POST BASE/v1/inventory/ledger \\
  -H 'Authorization: Bearer sk_test_REPLACE' \\
  -H 'Idempotency-Key: 0b7a1f4e-9c3a-4f67-a5b1-8d2e4a7c9f12' \\
  -H 'Content-Type: application/json' \\
  -d '{ "sku": "SKU-0042", "warehouse": "SEA-1", "qty": 120, "reason": "receipt", "reference": "PO-2026-00814" }'""",
    ),
    (
        "GET /v1/inventory/balance",
        "What is on hand of a SKU in a warehouse, and when that was true.",
        """curl -s 'BASE/v1/inventory/balance?sku=SKU-0042&warehouse=SEA-1' \\
  -H 'Authorization: Bearer sk_test_REPLACE'""",
    ),
    (
        "POST /v1/shipments",
        "Asks for a shipment. Answers 202 `queued` at once; stock and label follow. "
        "GET /v1/shipments/{id} tells how far it is, GET /v1/shipments/{id}/label is the label.",
        """curl -sX POST BASE/v1/shipments \\
  -H 'Authorization: Bearer sk_test_REPLACE' \\
  -H 'Content-Type: application/json' \\
  -d '{
    "order_id": "ord_5k2n9v",
    "ship_to": { "name": "Ada Lovelace", "line1": "1 Shoreline Dr", "city": "Seattle", "state": "WA",
                 "postal": "98101", "country": "US" },
    "line_items": [ { "sku": "SKU-0042", "qty": 2 } ],
    "carrier_hint": "ups_ground"
  }'""",
    ),
    (
        "GET /v1/orders/{id}",
        "How far an order is, and which warehouse sends what of it in which shipment.",
        """curl -s BASE/v1/orders/ord_5k2n9v \\
  -H 'Authorization: Bearer sk_test_REPLACE'""",
    ),
    (
        "POST /v1/webhooks/subscribe",
        "Sends events to a URL, signed with the secret (Standard Webhooks). "
        "Without a secret one is made and told in this answer only.",
        """curl -sX POST BASE/v1/webhooks/subscribe \\
  -H 'Authorization: Bearer sk_test_REPLACE' \\
  -H 'Content-Type: application/json' \\
  -d '{ "url": "https://your.app/webhooks/skutrail", "events": ["shipment.created", "inventory.updated"],
        "secret": "whsec_REPLACE" }'""",
    ),
)

# Those around them: the call, and what it does.
_MORE = (
    (
        "GET /v1/inventory/ledger",
        "The trail, newest first. By sku, warehouse, reason, reference, created_after, created_before.",
    ),
    ("GET /v1/inventory/ledger/{id}", "One entry in full."),
    (
        "POST /v1/inventory/ledger/batch",
        'Up to 1,000 movements: { "atomic": true, "movements": [...] } records all or nothing, false each for itself.',
    ),
    (
        "POST /v1/inventory/transfers",
        'Moves stock: { "sku", "from_warehouse", "to_warehouse", "qty" }. Two entries, the sum unchanged.',
    ),
    ("GET /v1/inventory/balance?as_of=", "The balance as it was at an instant, RFC 3339 with a zone."),
    ("GET /v1/inventory/levels", "On hand, held, available and waiting per SKU and warehouse. By sku, warehouse."),
    ("GET /v1/shipments", "Shipments, newest first. By order_id, status."),
    ("GET /v1/orders", "Orders, the one heard of last first. By status."),
    ("GET /v1/webhooks", "Webhooks, newest first."),
    ("GET /v1/webhooks/{id}", "One webhook, never with its secret."),
    ("PATCH /v1/webhooks/{id}", "Changes the url, events, status (active, disabled) or description that are sent."),
    ("DELETE /v1/webhooks/{id}", "Ends a webhook: nothing more is sent."),
    ("GET /v1/webhooks/event-types", "Every event that a webhook may name."),
)

_RULES = """
<h2>Rules of every call</h2>
<p><b>Idempotency.</b> Send an <code>Idempotency-Key</code> (1 to 255 visible ASCII characters) with every POST, and
repeat the request with the same key whenever its outcome is unknown. The same request gets the same answer, byte for
byte, with <code>Idempotent-Replayed: true</code>; another request under that key is refused, on every path. Keys are
kept for 7 days.</p>
<p><b>Lists.</b> <code>{ "data": [...], "has_more", "next_cursor" }</code>, <code>limit</code> 1 to 100 (20 where
nothing is said). Send <code>next_cursor</code> as <code>cursor</code>, with the same filters, for the next page; a null
is the end. A cursor lives for 3 days.</p>
<p><b>Rate limits.</b> 1,000 requests per 10 s for a live key, 250 for a test key. Every answer tells what is left:
<code>X-RateLimit-Limit</code>, <code>-Remaining</code>, <code>-Reset</code> (Unix seconds), and the IETF draft's
<code>RateLimit</code> and <code>RateLimit-Policy</code>.</p>
<p><b>Movements.</b> <code>qty</code> is the signed change of the balance. A receipt adds; a pick takes out, so 5 and
-5 mean the same; an adjustment and a transfer take either sign, and one line of a transfer moves only its own side:
for both sides at once there is <code>/v1/inventory/transfers</code>. Stock that is held for a shipment is picked by a
pick whose <code>reference</code> is the shipment's id.</p>
<p><b>Shipments</b> go from <code>queued</code> to <code>allocated</code>, or <code>backordered</code> until stock
comes, to <code>label_ready</code>, or <code>failed</code> with an <code>error</code>. <code>carrier_hint</code> is a
hint: the built-in carrier is a sandbox, whatever it says. Dispatch and cancellation are not open yet, so no shipment
becomes <code>shipped</code>, <code>delivered</code> or <code>canceled</code>. An order is <code>allocated</code> when
all its shipments are, with a label or without.</p>
<p><b>Webhooks.</b> Each delivery is a POST of <code>{ "id", "type", "timestamp", "data" }</code>, signed as <a
href="https://www.standardwebhooks.com">Standard Webhooks</a> say: <code>webhook-id</code> (the event's id),
<code>webhook-timestamp</code> and <code>webhook-signature: v1,...</code>, the base64 of the HMAC-SHA256 of
<code>id.timestamp.body</code>. Verify the bytes as they came. A secret is best <code>whsec_</code> and the base64 of
24 to 64 bytes; anything else printable is taken, and signed both with what it decodes to and with its plain
characters. Answer 2xx within 15 seconds. Anything else is tried again after 5 s, 5 and 30 minutes, 2, 5, 10, 14, 20
and 24 hours, up to a fifth later; 410 disables the webhook. An event may come twice and out of order: deduplicate on
its id, and compare <code>seq</code> of an entry. Private addresses are refused; a gateway started by <code>make
run</code> allows loopback.</p>
<p><b>Errors.</b> <code>application/problem+json</code> with a stable <code>code</code>:
<a href="/docs/errors">all codes</a>. Every answer carries a <code>Request-Id</code>.</p>
<p><b>For programs.</b> All of it as OpenAPI 3.1: <a href="/openapi.json">/openapi.json</a>.</p>
"""


async def index(request: web.Request) -> web.Response:
    base = escape(f"{request.scheme}://{request.host}")
    calls = "".join(
        f"<h2>{escape(title)}</h2><p>{escape(does)}</p><pre>{escape(example).replace('BASE', base)}</pre>"
        for title, does, example in _CALLS
    )
    more = "".join(f"<dt><code>{escape(call)}</code></dt><dd>{escape(does)}</dd>" for call, does in _MORE)
    return _page("Skutrail API", f"{calls}<h2>More calls</h2><dl>{more}</dl>{_RULES}")


async def errors(_: web.Request) -> web.Response:
    return _page("Errors", "".join(_section(code, kind) for code, kind in ERRORS.items()))


def _section(code: str, kind: ErrorKind) -> str:
    return (
        f'<section id="{code}"><h2><code>{code}</code> &middot; {kind.http_status}</h2>'
        f"<p>{escape(kind.title)}. {_advice(code, kind)}</p></section>"
    )


def _advice(code: str, kind: ErrorKind) -> str:
    if code in ("request_timeout", "internal_error", "deadline_exceeded"):
        return "Repeat the request with the same Idempotency-Key: nothing happens twice."
    return "Safe to repeat, after Retry-After." if kind.is_retryable else "Repeating it unchanged does not help."


def _page(title: str, content: str) -> web.Response:
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><h1>{title}</h1>{content}</html>'
    )
    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return web.Response(text=html, content_type="text/html", headers=policy)
