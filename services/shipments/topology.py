"""The stream shipments publishes to, and the durable consumers it listens by. Declared by `skutrail migrate`."""

from datetime import timedelta

from chassis.jetstream import ConsumerSpec, StreamSpec

SHIPMENTS = StreamSpec(name="SHIPMENTS", subjects=("skutrail.shipment.*",))

STOCK_STEPS = ConsumerSpec(
    stream="SHIPMENTS",
    name="shipments-stock-steps",
    subjects=("skutrail.shipment.created", "skutrail.shipment.canceled", "skutrail.shipment.failed"),
    ack_wait=timedelta(seconds=10),
)
# By itself, so that a slow carrier holds up nobody's stock. Longer than a carrier may take (`answers_within`), and no
# longer than need be: after a kill, what was under way comes again when this is over.
LABEL_STEPS = ConsumerSpec(
    stream="SHIPMENTS",
    name="shipments-label-steps",
    subjects=("skutrail.shipment.allocated",),
    ack_wait=timedelta(seconds=12.5),
)
# By itself as well: a carrier that is slow to take labels back holds up nobody's purchase.
VOID_STEPS = ConsumerSpec(
    stream="SHIPMENTS",
    name="shipments-void-steps",
    subjects=("skutrail.shipment.backordered", "skutrail.shipment.canceled", "skutrail.shipment.failed"),
    ack_wait=timedelta(seconds=12.5),
)
STOCK_NEWS = ConsumerSpec(
    stream="INVENTORY",
    name="shipments-stock-news",
    subjects=("skutrail.allocation.changed",),
    ack_wait=timedelta(seconds=10),
)

STREAMS = (SHIPMENTS,)
CONSUMERS = (STOCK_STEPS, LABEL_STEPS, VOID_STEPS, STOCK_NEWS)
