"""THE table of processes: what a stack consists of. `skutrail up` and the tests read the same one.

A process is a command, the environment it needs, and the way to ask whether it is healthy. The commands of the services
and the gateway are those of every other place they run in.
"""

import sys
from collections.abc import Callable, Mapping, Sequence

from cli.local import nats, postgres
from cli.local.children import Process
from cli.local.probe import answers_grpc_health, answers_http
from cli.local.stack import LOOPBACK, Stack

# What whoever starts a stack may set for its processes, by the name that each of them knows it by.
FOR_ALL = ("SKUTRAIL_LOG_LEVEL",)
FOR_THE_SERVICES = ("SKUTRAIL_EVENTS_KEPT_HOURS",)
FOR_SHIPMENTS = ("SKUTRAIL_TRACK_EVERY_S",)
FOR_THE_GATEWAY = (
    "SKUTRAIL_RATE_LIMIT",
    "SKUTRAIL_TRUSTED_PROXIES",
    "SKUTRAIL_IDEMPOTENCY_KEY",
    "SKUTRAIL_LOG_EVERY",
)
CHOICES = (*FOR_ALL, *FOR_THE_SERVICES, *FOR_SHIPMENTS, *FOR_THE_GATEWAY)

# Where it was not chosen: whoever takes a parcel on its way at the sandbox looks what comes of it.
TRACK_EVERY_S = "5"


def _python(module: str) -> Callable[[Stack], Sequence[str]]:
    return lambda _: (sys.executable, "-m", module)


def _service(name: str, needs: Callable[[Stack], Mapping[str, str]]) -> Process:
    def environment(stack: Stack) -> Mapping[str, str]:
        return {
            **_chosen(stack, (*FOR_ALL, *FOR_THE_SERVICES)),
            "SKUTRAIL_DATABASE_URL": stack.databases[name].application,
            "SKUTRAIL_NATS_URL": stack.nats_url,
            "SKUTRAIL_GRPC_LISTEN": stack.address(name),
            **needs(stack),
        }

    return Process(
        name=name,
        command=_python(f"services.{name}"),
        environment=environment,
        is_healthy=lambda stack: answers_grpc_health(stack.ports[name]),
    )


def _shipments(stack: Stack) -> Mapping[str, str]:
    return {
        "SKUTRAIL_INVENTORY_ADDR": stack.address("inventory"),
        "SKUTRAIL_PUBLIC_URL": stack.base_url,
        "SKUTRAIL_LINK_KEY": stack.secrets.link_key,
        "SKUTRAIL_CARRIER_URL": stack.carrier_url,
        "SKUTRAIL_TRACK_EVERY_S": TRACK_EVERY_S,
        **_chosen(stack, FOR_SHIPMENTS),
    }


def _webhooks(stack: Stack) -> Mapping[str, str]:
    return {
        "SKUTRAIL_SECRETS_KEY": stack.secrets.secrets_key,
        # Whoever tries Skutrail receives webhooks on the same machine. Everywhere else nothing private is reachable.
        "SKUTRAIL_EGRESS_ALLOW": "127.0.0.0/8,::1/128",
    }


def _sandbox(stack: Stack) -> Mapping[str, str]:
    return {
        **_chosen(stack, FOR_ALL),
        "SKUTRAIL_SANDBOX_LISTEN": stack.address("sandbox"),
        "SKUTRAIL_SANDBOX_FILE": str(stack.home.root / "sandbox.sqlite3"),
    }


def _gateway(stack: Stack) -> Mapping[str, str]:
    return {
        **_chosen(stack, (*FOR_ALL, *FOR_THE_GATEWAY)),
        "SKUTRAIL_DATABASE_URL": stack.databases["gateway"].application,
        "SKUTRAIL_HTTP_HOST": LOOPBACK,
        "SKUTRAIL_HTTP_PORT": str(stack.ports["gateway"]),
        "SKUTRAIL_CURSOR_KEY": stack.secrets.cursor_key,
        **{f"SKUTRAIL_{service.name.upper()}_ADDR": stack.address(service.name) for service in SERVICES},
    }


def _chosen(stack: Stack, names: Sequence[str]) -> Mapping[str, str]:
    return {name: stack.chosen[name] for name in names if name in stack.chosen}


def migration_environment(stack: Stack) -> Mapping[str, str]:
    """What `skutrail migrate` needs: the one step between the stores and the rest."""
    owners = {f"SKUTRAIL_{name.upper()}_OWNER_URL": urls.owner for name, urls in stack.databases.items()}
    return {"SKUTRAIL_NATS_URL": stack.nats_url, **owners}


POSTGRES = Process(
    name="postgres",
    command=postgres.command,
    environment=lambda _: {},
    is_healthy=postgres.is_healthy,
    prepare=postgres.prepare,
    run_as=postgres.run_as,
    stop_signal=postgres.STOP_SIGNAL,
)

NATS = Process(
    name="nats",
    command=nats.command,
    environment=lambda _: {},
    is_healthy=nats.is_healthy,
    prepare=nats.prepare,
)

SANDBOX = Process(
    name="sandbox",
    command=_python("sandbox"),
    environment=_sandbox,
    is_healthy=lambda stack: answers_http(stack.ports["sandbox"], "/healthz"),
)

INVENTORY = _service("inventory", lambda _: {})
SHIPMENTS = _service("shipments", _shipments)
ORDERS = _service("orders", lambda stack: {"SKUTRAIL_SHIPMENTS_ADDR": stack.address("shipments")})
WEBHOOKS = _service("webhooks", _webhooks)

GATEWAY = Process(
    name="gateway",
    command=_python("gateway"),
    environment=_gateway,
    is_healthy=lambda stack: answers_http(stack.ports["gateway"], "/readyz"),
)

# Started from left to right, all but the stores together: each waits for the others. Stopped from right to left.
STORES = (POSTGRES, NATS)
CARRIERS = (SANDBOX,)
SERVICES = (INVENTORY, SHIPMENTS, ORDERS, WEBHOOKS)
DOORS = (GATEWAY,)
PROCESSES = (*STORES, *CARRIERS, *SERVICES, *DOORS)
