"""Shipments: from the request to the label.

Owns       shipments, their parcels, the purchase of labels and the labels that were bought.
Answers    CreateShipment, GetShipment, ListShipments, GetLabel, LookUpAnswer (shipments.proto).
Publishes  shipment.created, .allocated, .backordered, .label_ready, .failed, each with the whole shipment.
           The life cycle (domain.py) also knows .shipped, .delivered and .canceled.
Listens    to its own shipment.created (asks inventory for stock), shipment.allocated (buys the labels) and
           shipment.failed (gives the stock back); to inventory's allocation.changed (follows its stock).

Must always hold
- A status changes only by domain.TRANSITIONS, and a change that a reader could see has its event in the same commit.
- At most one label is bought per parcel, whatever crashes or repeats: the attempt is committed before the carrier hears
  of it, one taker holds its lease, and an attempt that may have been sent is looked up before it is sent again.
- No shipment waits for an event alone: the sweeper looks at each that may have a step to take, however long it takes.
- What has ended holds no stock: inventory is told until it has answered.
- News of the stock counts only when it is newer than the newest heard.
- No transaction waits for the network.

Read domain.py, requests.py, operations.py, steps.py, then the doors: server.py, listener.py, sweeper.py.
"""
