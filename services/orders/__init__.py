"""Orders: what the shipments that name an order say about it.

Owns      one row per order and one per shipment of it: a projection, which can be built again from the events.
Answers   GetOrder (proto/skutrail/v1/orders.proto).
Publishes order.updated.
Listens   to shipment.>; asks shipments for an order it has not heard of yet.

Must always hold
- an order's status and allocations are derived from its shipments, never set
- a shipment's older snapshot never replaces a newer one: events may come twice and in any order
- an order is found as soon as the POST of its first shipment was answered

Read domain.py, operations.py, then the rest.
"""
