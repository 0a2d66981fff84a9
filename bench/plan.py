"""What one run does and for how long. The quick one takes the same steps, and proves only that they work."""

from collections.abc import Sequence
from dataclasses import dataclass

HOT, SPREAD = 1, 10_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    name: str
    limit_s: int
    """The whole run is ended after it."""
    seconds: int
    """Of one load."""
    repetitions: int
    clients: Sequence[int]
    flush_clients: int
    flush_ms: int
    callers: int
    movements_per_call: int
    chain_lengths: Sequence[int]
    sku_counts: Sequence[int]
    tenant_counts: Sequence[int]
    growth_clients: int
    memory_s: int
    memory_every_s: int
    shipping_s: int
    """Of one load of shipments."""
    shipping_clients: int
    paced_s: int
    paced_per_second: int
    drain_s: int
    """For so long it is waited for their labels."""


FULL = Plan(
    name="full",
    limit_s=45 * 60,
    seconds=4,
    repetitions=3,
    clients=(1, 8, 64, 256),
    flush_clients=64,
    flush_ms=2,
    callers=2,
    movements_per_call=256,
    chain_lengths=(0, 10_000, 100_000, 1_000_000, 5_000_000),
    sku_counts=(1, 100, 10_000, 100_000, 1_000_000),
    tenant_counts=(1, 10, 100, 1_000),
    growth_clients=64,
    memory_s=10 * 60,
    memory_every_s=5,
    shipping_s=5,
    shipping_clients=64,
    paced_s=20,
    paced_per_second=100,
    drain_s=90,
)

QUICK = Plan(
    name="quick",
    limit_s=10 * 60,
    seconds=1,
    repetitions=1,
    clients=(64,),
    flush_clients=64,
    flush_ms=2,
    callers=2,
    movements_per_call=256,
    chain_lengths=(0, 20_000),
    sku_counts=(1, 1_000),
    tenant_counts=(1, 10),
    growth_clients=64,
    memory_s=3,
    memory_every_s=1,
    shipping_s=1,
    shipping_clients=64,
    paced_s=3,
    paced_per_second=100,
    drain_s=60,
)
