"""The sandbox: a carrier of our own, as far away as any other. Sells real labels, charges nothing, ships nothing.

It is a small HTTP service that shipments talks to as to any carrier, so that timeouts, lost answers, repetitions and
reconciliation are those of the wire. It imports nothing of Skutrail but the chassis, and Skutrail nothing of it.

    POST /v1/labels                 with an `Idempotency-Key`: 201 and the label. The same key, the same label;
                                    another key, another sale, whatever its reference
    GET  /v1/labels?reference=      what was sold for a reference, oldest first
    POST /v1/labels/{number}/void   gives a label back, any number of times; 409 `label_used` once there is a scan
    GET  /v1/labels/{number}/scans  how far the parcel is
    POST /v1/labels/{number}/scans  {"status": "in_transit" | "delivered"}: takes it there, for tests and developers
    GET  /v1/sales?reference=       how many labels were sold for a reference, and how many of them given back
    GET  /healthz                   200

An order is {reference, order_id, service, ship_from, ship_to}; a label {tracking_number, reference, carrier, service,
status: sold | voided, label}, the last a PDF in base64. Refusals are application/problem+json with a stable `code`.

Everything derives from the order: the same sale has the same tracking number and the same bytes in every process. What
was sold lies in a SQLite file (register.py), or in memory where none is named. The name of a recipient makes a purchase
fail on purpose: faults.py.

Must always hold
- A key has one effect, whoever repeats it and whenever.
- A sale is written down before it is answered.
- A label is either given back or used, never both.
"""
