"""What the document says of fields and parameters, in a sentence or two each: the same of what is sent and answered.

Types and limits are not here: those are the models' and the contracts'. Tests hold that nothing lacks its words, and
that every status has its own.
"""

from __future__ import annotations

from collections.abc import Mapping

SHIPMENT_STATUSES: Mapping[str, str] = {
    "queued": "taken; stock is looked for in a moment.",
    "backordered": "there is not enough stock. It waits, and whatever brings enough allocates it; a `partial` one "
    "holds meanwhile what there is.",
    "allocated": "stock is held for every line, and the label is being bought.",
    "label_ready": "the label is there, at `label_url`, and it can be dispatched.",
    "shipped": "it has left the warehouse, and its stock was picked.",
    "delivered": "the carrier has delivered it.",
    "canceled": "called off; its stock is free again.",
    "failed": "the carrier refused it, or it had not left by `hold_expires_at`. `error` says why, and its stock is "
    "free again.",
}
ORDER_STATUSES: Mapping[str, str] = {
    "queued": "none of its shipments has stock yet.",
    "backordered": "none has, and at least one waits for more.",
    "partially_allocated": "some of what it asks for is held, the rest is not.",
    "allocated": "all of them have stock.",
    "partially_shipped": "some have left, others have not.",
    "shipped": "all have left.",
    "delivered": "all have arrived.",
    "canceled": "all of them were called off.",
    "failed": "none is left, and at least one failed.",
}
LABEL_STATUSES: Mapping[str, str] = {
    "none": "not bought yet.",
    "purchasing": "the carrier was asked.",
    "ready": "bought.",
    "unknown": "the carrier did not say whether it sold one; we find out before we ask again.",
    "voiding": "it is no longer needed, and is being given back to the carrier.",
    "voided": "the carrier has taken it back.",
}
SOURCING_RULES: Mapping[str, str] = {
    "only_choice": "nothing else would have done.",
    "fewest_warehouses": "the goods come out of as few warehouses as can be.",
    "priority": "of as many warehouses, those with the higher `priority`.",
    "nearness": "of equal ones, those nearer to the address, where both places are known.",
    "most_stock": "of equal ones, those with more of the stock.",
    "name": "of equal ones, the first by its code.",
    "inactive": "passed over: its `active` is false.",
    "no_stock": "passed over: it has nothing of what is asked for.",
    "short": "passed over: all warehouses together have not enough.",
}
ALLOCATION_STATUSES: Mapping[str, str] = {
    "queued": "not decided yet.",
    "allocated": "stock is held for every line.",
    "backordered": "it waits for what is `missing`.",
    "released": "its stock was given back.",
    "consumed": "all of it was picked.",
    "dispatched": "it has left.",
    "expired": "its time ran out, and its stock was given back.",
}
PLANNED_STATUSES: Mapping[str, str] = {
    "allocated": "stock would be held for every line.",
    "backordered": "it would wait for what is `missing`.",
}
POLICIES: Mapping[str, str] = {
    "all_or_none": "nothing is held until there is enough for every line. So it is where nothing is said.",
    "partial": "what there is is held at once, and it waits for the rest. It is shipped when it has all.",
}
WEBHOOK_STATUSES: Mapping[str, str] = {
    "active": "events are delivered.",
    "disabled": "nothing is, and what comes due meanwhile is not sent later. A 410 from the URL disables it, too.",
}
REASONS: Mapping[str, str] = {
    "receipt": "goods came in.",
    "pick": "goods went out, or what was held for a shipment did.",
    "adjustment": "the count was wrong. It may take what is held, and nothing else may.",
    "transfer": "one side of a move between warehouses; `/v1/inventory/transfers` writes both at once.",
}


def _each(text: str, meanings: Mapping[str, str]) -> str:
    return "\n".join([text, "", *(f"- `{value}`: {meaning}" for value, meaning in meanings.items())])


_REFERENCE = "Your own number for it, such as that of a purchase order; it may repeat."
_SIGNED = "Units, as the signed change of the balance."
_NEVER_LESS = "Units, 1 or more."
_STATUS_OF_ORDERS = _each("Derived from its shipments, but for those that failed or were canceled.", ORDER_STATUSES)
_STATUS_OF_WEBHOOKS = _each("Whether it is sent anything.", WEBHOOK_STATUSES)

# By schema and field, or by the field alone where it means the same everywhere.
FIELDS: Mapping[str, str] = {
    "sku": "What it is; case matters. A SKU begins with its first movement.",
    "warehouse": "Where it is; case matters. A warehouse begins with its first movement.",
    "created_at": "When it was recorded.",
    "updated_at": "When it last changed.",
    # the ledger
    "LedgerEntry.id": "Names the entry for ever; `inv_...`.",
    "RecordedMovement.id": "Of the entry; `inv_...`.",
    "LedgerEntryEvent.id": "Of the entry; `inv_...`.",
    "Transfer.id": "Of the transfer; `trf_...`.",
    "reason": _each("Why stock moved.", REASONS),
    "LedgerEntry.qty": _SIGNED,
    "RecordedMovement.qty": _SIGNED,
    "LedgerEntryEvent.qty": _SIGNED,
    "MovementInput.qty": "Units, not 0. A receipt adds; a pick takes out, so 5 and -5 mean the same; an adjustment or "
    "a transfer takes either sign.",
    "BatchLineInput.qty": "Units, not 0, with the sign as in a single movement.",
    "reference": _REFERENCE,
    "MovementInput.reference": f"{_REFERENCE} A pick that names a shipment's id takes what is held for that shipment.",
    "BatchLineInput.reference": f"{_REFERENCE} A pick that names a shipment's id takes what is held for that shipment.",
    "balance": "Units on hand right after this entry, held ones too.",
    "Balance.balance": "Units on hand at `as_of`, held ones too; 0 for what never moved.",
    "as_of": "The instant at which it was true.",
    "seq": "Counts the movements of this SKU in this warehouse: 1, 2, 3 and on, without gaps.",
    "expected_balance": "Record it only if the balance is this right before; else `version_conflict`.",
    "expected_seq": "Record it only if the last entry's `seq` is this, 0 for none; else `version_conflict`.",
    "idempotency_key": "Of this line: it runs once, in whichever batch it comes. Without it the batch's key answers.",
    "atomic": "`true`: all are recorded, or none is. `false`: each is decided for itself.",
    "movements": "They are recorded in this order.",
    "from_warehouse": "Where it is taken from.",
    "to_warehouse": "Where it is brought to; another one.",
    "TransferInput.qty": _NEVER_LESS,
    "entries": "Out of the one warehouse, then into the other.",
    "on_hand": "Units that are there, held or not: the balance.",
    "held": "Units of `on_hand` that are promised to shipments.",
    "available": "`on_hand` less `held`: what a pick or a transfer may take, and a new shipment where the warehouse is "
    "`active`. From one that is not, shipments get nothing of it.",
    "waiting": "Units of this SKU that backordered shipments wait for, in whichever warehouse they come.",
    "short": "Units that were held before and no longer fit.",
    "shipment_ids": "Shipments that wait again, youngest first.",
    # shipments
    "Shipment.id": "Of the shipment; `shp_...`.",
    "QueuedShipment.id": "Of the shipment; `shp_...`.",
    "Shipment.status": _each("How far it is.", SHIPMENT_STATUSES),
    "QueuedShipment.status": "`queued`: read the shipment for how far it is.",
    "label_url": "A signed link to the label, a PDF of 4x6 inches, open to everybody for seven days; null until it is "
    "bought.",
    "order_id": "Of the order, as you call it; all shipments that name it make it up.",
    "ship_to": "Who gets it.",
    "line_items": "What is in it. Two lines of one SKU are their sum.",
    "carrier_hint": "The service you would like; the sandbox carrier looks for words such as express in it.",
    "carrier": "Who carries it; null until a label is asked for.",
    "service": "What the carrier was asked for; null until then.",
    "allocation": _each("What to do where there is not enough for every line.", POLICIES),
    "ShipmentInput.priority": "Of those that wait for stock the higher is served first, of equals the older; 0 where "
    "nothing is said. It keeps nobody's stock: where a count finds less than is held, the youngest waits again, "
    "whatever its priority.",
    "Allocation.priority": "As it was asked for; 0 where nothing was said.",
    "Allocation.allocation": _each("As it was asked for: what to do where there is not enough.", POLICIES),
    "Allocation.hold_expires_at": "As it was asked for: what has not left by then gives its stock back, and fails; "
    "null where nothing was said.",
    "hold_expires_at": "What has not left by then gives its stock back, and fails with the error `hold_expired`.",
    "Shipment.allocations": "What is held, of which SKU, in which warehouse; empty until stock is found.",
    "parcels": "One box for each warehouse that sends something, from `allocated` on. None while it is queued or "
    "backordered: labels that it had are given back meanwhile. Once it is canceled or failed, what has become of the "
    "labels that were asked for.",
    "error": "Why it failed, in the carrier's words where it was the carrier; else null.",
    "ShipmentError.code": "What kind of failure it is, for programs.",
    "ShipmentError.message": "The same for people.",
    "tracking_number": "The carrier's; null until the label is bought.",
    "label_status": _each("How far the label of this parcel is.", LABEL_STATUSES),
    "name": "Of a person or a company.",
    "line1": "Street and number.",
    "line2": "What does not fit there.",
    "city": "City or town.",
    "state": "State or province, where there is one.",
    "postal": "Postal code.",
    "country": "Two letters.",
    "coordinates": "Where that is (WGS 84): it decides which warehouse is near. Null where nobody said.",
    "latitude": "In degrees, north of the equator.",
    "longitude": "In degrees, east of Greenwich.",
    "LineItemInput.qty": _NEVER_LESS,
    "StockLine.qty": _NEVER_LESS,
    "HeldLine.qty": "Units held.",
    # where stock comes from
    "AllocationPlan.status": _each("How it would be.", PLANNED_STATUSES),
    "AllocationPlan.allocations": "What would be held, of which SKU, in which warehouse.",
    "Allocation.status": _each("How it stands.", ALLOCATION_STATUSES),
    "Allocation.allocations": "What is held, of which SKU, in which warehouse.",
    "missing": "What there is not enough of, and how many units are wanting.",
    "candidates": "The warehouses that were looked at, the chosen ones first: at most 100, and fewer of the others"
    " where SKUs are many. `allocations` names each that stock is taken from.",
    "decided_at": "When that was; null while nothing is decided.",
    "chosen": "Whether stock is taken from it.",
    "rule": _each("Why it was chosen, or passed over: the first rule that made a difference.", SOURCING_RULES),
    "Candidate.priority": "Its own, at that moment.",
    "distance_km": "To the address, along the earth's surface; null where one of the places is not known.",
    "stock": "What it had of each SKU that is asked for.",
    "CandidateStock.available": "Units that were held for nobody.",
    "taken": "Units of them that the decision takes.",
    # warehouses
    "code": "The `warehouse` of the ledger.",
    "Warehouse.name": "As people call it; null where nobody said.",
    "WarehouseInput.name": "As people call it.",
    "address": "Where it is, for people; null where nobody said.",
    "Warehouse.priority": "The higher is taken from first.",
    "WarehouseInput.priority": "The higher is taken from first; 0 where nothing is said.",
    "active": "Whether anything new is held in it for shipments; `true` where nothing is said. What is held already "
    "stays, and movements go on: picks, too.",
    "Warehouse.created_at": "When it was first described.",
    # orders
    "Order.id": "The `order_id` of its shipments.",
    "Order.status": _STATUS_OF_ORDERS,
    "Order.allocations": "One row for each warehouse and shipment that has units there; what is not held yet has none.",
    "OrderAllocation.qty": "Units, all SKUs together.",
    "shipment_id": "Of the shipment; `shp_...`.",
    "ordered": "Units asked for, all shipments of the order together.",
    "OrderLine.waiting": "Units of these that wait for stock.",
    "allocated": "Units of these that are held, and have not left.",
    "shipped": "Units of these that are on their way, or have arrived.",
    "canceled": "Units of these whose shipment was called off, or failed. Those that you had picked through the ledger "
    "before count as well: they are out of stock until you put them back by a receipt.",
    # webhooks
    "Webhook.id": "Of the webhook; `whk_...`.",
    "NewWebhook.id": "Of the webhook; `whk_...`.",
    "url": "Where events are posted to.",
    "events": "Event types such as `shipment.created`, a family of them as `shipment.*`, or `*` for all.",
    "Webhook.status": _STATUS_OF_WEBHOOKS,
    "SubscriptionChangeInput.status": _STATUS_OF_WEBHOOKS,
    "secret": "What deliveries are signed with; best is `whsec_` and the base64 of 24 to 64 random bytes. Without it "
    "one is made, and told in this answer alone.",
    "description": "For yourself: what it is for.",
    "SubscriptionChangeInput.description": "For yourself: what it is for; null takes it away.",
    "EventType.type": "As a webhook names it.",
    "EventType.description": "What it says happened, and whether it is sent yet.",
    # refusals
    "Problem.type": "Leads to what the code means.",
    "Problem.title": "The code in words.",
    "Problem.status": "The HTTP status.",
    "Problem.detail": "What happened, for people; it may change.",
    "Problem.code": "What happened, for programs; it never changes its meaning.",
    "Problem.request_id": "Of the request that was refused: tell it when you ask for help.",
    "Problem.errors": "Each fault, up to 50: its place in the body (a JSON pointer) or its parameter, and what it is.",
    "Problem.accept": "Of `unsupported_media_type`: what the body may be.",
    "Problem.accept_encoding": "Of `unsupported_media_type`: how it may be coded.",
    "Problem.allow": "Of `method_not_allowed`: the methods that the path takes.",
    "Problem.current_status": "Of `invalid_state`: the state it is in.",
    "Problem.actual": "Of `version_conflict`: what is true.",
    "Problem.available": "Of `insufficient_stock`: units that there are.",
    "Problem.expected": "Of `version_conflict`: what you sent.",
    "Problem.requested": "Of `insufficient_stock`: units that you asked for.",
    "VerifiedChain.entries": "How many there are, up to the last good one.",
    "VerifiedChain.ok": "Whether the trail says what was recorded, to its end.",
    "VerifiedChain.first_broken_seq": "The first entry that is not what was recorded, or is missing; null for none.",
    "VerifiedChain.head_hash": "SHA-256 of the chain up to its last good entry, in hex; zeros where nothing moved yet.",
    "Problem.after": "Of `/v1/inventory/verify`: how far the walk came; asked again with it, it goes on from there.",
    "Problem.retry_after_s": "Seconds after which to repeat it, as `Retry-After`.",
    "Problem.away": "Of `/readyz`: what does not answer.",
}

PARAMETERS: Mapping[str, str] = {
    "sku": "Of this SKU.",
    "warehouse": "In this warehouse.",
    "reason": "With this reason.",
    "reference": "With exactly this reference.",
    "created_after": "Recorded later than this instant.",
    "created_before": "Recorded earlier than this instant.",
    "as_of": "The balance as it was at this instant; without it, as it is.",
    "status": "In this state.",
    "order_id": "Of this order.",
    "limit": "Rows on a page; more than {page_max} counts as {page_max}.",
    "after": "`entries.head_hash` of an earlier answer, or the `after` of a `deadline_exceeded`: the chain must still "
    "hold that link, and is recomputed behind it.",
    "dry_run": "`true`: only tell what would be decided.",
    "code": "Its code, percent-encoded: `SEA 1/A` is `SEA%201%2FA`.",
    "cursor": "The next_cursor of the page before, sent with the same filters.",
    "format": "The one there is.",
    "token": "That of a label_url; it stands for an API key.",
    "version": "As the pages name it.",
    "name": "Of the file.",
}


def of_field(schema: str, field: str) -> str:
    """Raises KeyError for a field that nothing is said of."""
    return FIELDS.get(f"{schema}.{field}") or FIELDS[field]


def of_id(path: str) -> str:
    """Of the `{id}` in a path."""
    return "The order_id of its shipments." if "/orders/" in path else "As the call that made it answered."
