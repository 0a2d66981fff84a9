"""THE table of processes: what a stack consists of. `skutrail up` and the tests read the same one."""

from cli.local import nats, postgres
from cli.local.children import Process
from cli.local.stack import Stack


def _nothing(_: Stack) -> dict[str, str]:
    return {}


POSTGRES = Process(
    name="postgres",
    command=postgres.command,
    environment=_nothing,
    is_healthy=postgres.is_healthy,
    prepare=postgres.prepare,
    run_as=postgres.run_as,
    stop_signal=postgres.STOP_SIGNAL,
)

NATS = Process(
    name="nats",
    command=nats.command,
    environment=_nothing,
    is_healthy=nats.is_healthy,
    prepare=nats.prepare,
)
