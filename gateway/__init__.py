"""The gateway: the public REST /v1 in, gRPC out. Read app.py first: every route in one table.

Owns       API keys (keys.py), rate limits (limits.py, and shared_buckets.py where gateways share them), request ids,
           the words of refusals (problems.py).
Answers    the routes of app.py; each handler file talks to one service: inventory, shipments, orders, webhooks. Only
           sourcing.py talks to two: a shipment and the stock behind it.
Calls      the four services over gRPC (upstream.py), every call with a deadline.
One write  middleware.py (who, how often) → intake.py (the bytes, bounded) → body.py (strict JSON) → requests.py (typed,
           every fault at once) → a handler: message, call, JSON.
At a stop  traffic.py counts what is under way, serving.py waits for it. connection.py refuses what is no HTTP.
Holds      nothing is written here but keys and shared buckets; the service that owns a write also keeps its
           idempotency key.
"""
