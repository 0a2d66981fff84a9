"""Inventory: the ledger of stock, and the holds on it.

Owns      every balance, every ledger entry, every hold, every request that waits for stock, what is said of warehouses.
Answers   the calls of proto/skutrail/v1/inventory.proto.
Publishes inventory.updated, inventory.shortfall, allocation.changed.
Listens   to nothing: stock is changed by calls alone.

Must always hold
- entries are never changed or deleted; per (tenant, sku, warehouse) seq is 1, 2, 3 ...,
  and balance_n = balance_(n-1) + qty_n
- every entry carries a SHA-256 over itself and the hash of the one before it; the balance row carries the last
- 0 <= held <= on hand, and held = the sum of open holds; nothing is ever clamped
- a hold is the sum of its facts, which are only ever added; what was held ends once
- one key, one effect: claim, entry, outbox row and answer commit together
- a request asks all or nothing unless it says `partial`, and waits no longer than its stock is short; what has expired
  holds nothing, whether it was ended yet or not

Read domain.py (what is allowed of movements), requests.py (of requests for stock), sourcing.py (which warehouses), then
operations.py (movements), allocating.py with shelf.py (holds), dispatching.py (they leave), writer.py (many movements,
one commit), waker.py (who waits is served), planning.py (why), trail.py (reading), then the rest. chain.py (one chain),
audit.py (all of them) and archive.py (out and back) tell whether the trail is as it was recorded.
"""
