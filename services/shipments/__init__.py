"""Shipments: from the request to the label.

Owns       shipments, their parcels, the purchase of labels and the labels that were bought.
Answers    CreateShipments, CancelShipment, DispatchShipment, GetShipment, GetTerms, ListShipments, GetLabel,
           LookUpAnswer (shipments.proto).
Publishes  shipment.created, .allocated, .backordered, .label_ready, .shipped, .delivered, .canceled, .failed, each with
           the whole shipment.
Listens    to its own shipment.created (asks inventory for stock), .allocated (buys the labels), .canceled and .failed
           (gives the stock back), these and .backordered (gives the labels back); to inventory's allocation.changed
           (follows its stock). Asks the carrier how far what was shipped has come.

Must always hold
- A status changes only by domain.TRANSITIONS, a label only by domain.LABEL_TRANSITIONS, and a change of status or stock
  that a reader could see has its event in the same commit.
- Inventory alone decides whether a shipment left, was canceled or expired. The wish to cancel is written down before
  inventory hears of it, and is fulfilled unless the shipment has left or expired before.
- At most one label is bought per parcel, whatever crashes or repeats: the attempt is committed before the carrier hears
  of it, one taker holds its lease, and an attempt that may have been sent is looked up before it is sent again.
- A label under which no goods will leave is given back, and serves nobody from the moment that begins.
- No shipment waits for an event alone: the sweeper looks at each that may have a step to take, however long it takes.
- What has ended without goods holds no stock: inventory is told until it has answered.
- News of the stock counts only when it is newer than the newest heard.
- No transaction waits for the network.

Read domain.py, requests.py, following.py, purchasing.py, voiding.py, creating.py with writer.py (many shipments, one
commit), operations.py, labeling.py, steps.py, label_steps.py, then the doors: server.py, listener.py, sweeper.py.
"""
