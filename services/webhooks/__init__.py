"""Webhooks: subscriptions to events, and the signed deliveries to them.

Owns      every subscription and its secret, the events they asked for, every delivery and every attempt.
Answers   Subscribe, Get-, List-, Update- and DeleteSubscription, ListEventTypes, LookUpAnswer
          (proto/skutrail/v1/webhooks.proto).
Publishes nothing; it speaks to the world by HTTP.
Listens   to inventory.*, shipment.* and order.*: each event becomes one delivery per matching subscription.

Must always hold
- an event reaches each subscription that was active when it was handled, and there when it happened: at least once,
  under one webhook-id
- one delivery per (subscription, event); a delivery that ended stays ended
- an attempt is made only where the subscription was active as its delivery was claimed; a deleted one is found no more
- the bytes that are stored are signed and sent, unchanged on every attempt
- no dial leaves for a private, loopback, link-local or metadata address, unless the operator opened it
- a secret lies in the database only sealed, and is told once, in the answer that made it

Read domain.py (what is allowed), operations.py (what is done), delivery.py (how it is sent), egress.py, names.py and
addresses.py (where it may go), then the rest. Why it is built so: docs/decisions/0006-webhook-delivery.md.
"""
