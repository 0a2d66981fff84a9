"""What this service listens to. It publishes nothing."""

from chassis.jetstream import ConsumerSpec, StreamSpec

STREAMS: tuple[StreamSpec, ...] = ()

# allocation.changed shares INVENTORY and is between services only: the subjects leave it out.
CONSUMERS = (
    ConsumerSpec(stream="INVENTORY", name="webhooks-inventory", subjects=("skutrail.inventory.>",)),
    ConsumerSpec(stream="SHIPMENTS", name="webhooks-shipments", subjects=("skutrail.shipment.>",)),
    ConsumerSpec(stream="ORDERS", name="webhooks-orders", subjects=("skutrail.order.>",)),
)
