"""Orders: what the shipments that name an order say about it.

Owns      one row per order and one per shipment of it: a projection, which rebuild.py makes again from the events.
Answers   GetOrder, GetOrderLines, ListOrders (proto/skutrail/v1/orders.proto).
Publishes order.updated.
Listens   to shipment.>; asks shipments for an order it has not heard of yet.

Must always hold
- an order's status, allocations and lines are derived from its shipments, never set
- of each SKU, ordered = waiting + allocated + shipped + canceled
- a shipment's older snapshot never replaces a newer one: events may come twice and in any order
- every row follows from what was announced, its times too: built again from the events it is the same
- an order is found as soon as the POST of its first shipment was answered

Read domain.py, operations.py, then the rest.
"""
