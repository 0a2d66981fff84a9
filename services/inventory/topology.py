"""The stream this service publishes to; it consumes none."""

from chassis.jetstream import ConsumerSpec, StreamSpec

STREAMS = (StreamSpec("INVENTORY", ("skutrail.inventory.>", "skutrail.allocation.>")),)
CONSUMERS: tuple[ConsumerSpec, ...] = ()
