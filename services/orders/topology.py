"""The stream this service publishes to, and the consumer it reads with."""

from chassis.jetstream import ConsumerSpec, StreamSpec

STREAMS = (StreamSpec("ORDERS", ("skutrail.order.>",)),)
SHIPMENT_NEWS = ConsumerSpec("SHIPMENTS", "orders", ("skutrail.shipment.>",))
CONSUMERS = (SHIPMENT_NEWS,)
