"""What callers see of a message, by the answer it is in. Handlers show by these, and the document tells by them.

What is not listed here is shown whole: gateway.openapi_calls names those messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from chassis.wire import Json, to_json
from skutrail.v1 import inventory_pb2, orders_pb2, shipments_pb2, webhooks_pb2

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Shown(Generic[M]):
    """Called with a message it makes the JSON object: the fields of `only` in that order, or all but `without`."""

    of: type[M]
    # In the document. Where nothing is said, as the contract names the message.
    name: str = ""
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def __call__(self, message: M) -> Json:
        return to_json(message, only=self.only, without=self.without)


# The five published answers have these fields and no others.
RECORDED = Shown(
    inventory_pb2.LedgerEntry, "RecordedMovement", only=("id", "sku", "warehouse", "qty", "balance", "created_at")
)
QUEUED = Shown(shipments_pb2.Shipment, "QueuedShipment", only=("id", "status", "label_url"))
ORDER = Shown(orders_pb2.Order, only=("id", "status", "allocations"))
NEW_WEBHOOK = Shown(webhooks_pb2.Subscription, "NewWebhook", only=("id", "url", "events", "created_at"))

ORDER_LINE = Shown(orders_pb2.OrderLine)
TRANSFER = Shown(inventory_pb2.RecordTransferReply, "Transfer", only=("id", "entries"))
TERMS = Shown(shipments_pb2.ShipmentTerms)
SHIPMENT = Shown(shipments_pb2.Shipment, without=("version",))
