"""One local stack as a value: its home, its ports, its secrets, and every URL that follows from them."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from cli.local.home import Home, Secrets
from cli.provision import NAMES, DatabaseUrls, database_urls

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Stack:
    home: Home
    secrets: Secrets
    ports: Mapping[str, int]
    """By process name."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """What whoever started the stack set by name, of processes.CHOICES."""

    @property
    def base_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['gateway']}"

    @property
    def carrier_url(self) -> str:
        return f"http://{self.address('sandbox')}"

    @property
    def postgres_url(self) -> str:
        """As superuser: for provisioning only, never handed to a service."""
        return f"postgresql://postgres:{self.secrets.postgres_password}@{self.address('postgres')}/postgres"

    @property
    def nats_url(self) -> str:
        return f"nats://skutrail:{self.secrets.nats_password}@{self.address('nats')}"

    @cached_property
    def databases(self) -> Mapping[str, DatabaseUrls]:
        return database_urls(self.postgres_url, self.secrets.role_passwords)

    def address(self, name: str) -> str:
        return f"{LOOPBACK}:{self.ports[name]}"


def choose_ports(http_port: int | None = None) -> dict[str, int]:
    """A port for every process: free ones, but for the gateway's where the caller names it."""
    names = ("postgres", "nats", "sandbox", *NAMES)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    return ports if http_port is None else ports | {"gateway": http_port}


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago. All are held open together, so that none is named twice."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
