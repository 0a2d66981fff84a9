"""Inventory: the ledger of stock, and the holds on it.

Owns      every balance, every ledger entry, every hold and every request that waits for stock.
Answers   RecordMovements, GetBalance, Allocate, Release, LookUpAnswer (proto/skutrail/v1/inventory.proto).
Publishes inventory.updated, inventory.shortfall, allocation.changed.
Listens   to nothing: stock is changed by calls alone.

Must always hold
- entries are never changed or deleted; per (tenant, sku, warehouse) seq is 1, 2, 3 ...,
  and balance_n = balance_(n-1) + qty_n
- every entry carries a SHA-256 over itself and the hash of the one before it; the balance row carries the last
- 0 <= held <= on hand, and held = the sum of open holds; nothing is ever clamped
- one key, one effect: claim, entry, outbox row and answer commit together
- a request is held whole or waits whole, and waits no longer than its stock is short

Read domain.py (what is allowed), sourcing.py (which warehouses), operations.py (movements) and allocating.py (holds),
writer.py (many movements, one commit), waker.py (who waits is served), trail.py (reading), then the rest. chain.py
(one chain), audit.py (all of them) and archive.py (out and back) tell whether the trail is as it was recorded.
"""
