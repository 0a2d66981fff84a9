"""More of the same process on the same stores: what Kubernetes runs, a test starts beside the stack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from cli.local.children import Child, Process
from cli.local.probe import answers_grpc_health, answers_http
from cli.local.processes import GATEWAY, INVENTORY
from cli.local.stack import LOOPBACK, Stack, free_ports


@asynccontextmanager
async def second_inventory(stack: Stack) -> AsyncIterator[str]:
    """Yields its address."""
    (port,) = free_ports(1)
    address = f"{LOOPBACK}:{port}"
    process = replace(INVENTORY, name="second-inventory", is_healthy=lambda _: answers_grpc_health(port))
    async with _running(process, stack, {"SKUTRAIL_GRPC_LISTEN": address}):
        yield address


@asynccontextmanager
async def gateway_to(stack: Stack, inventory_address: str) -> AsyncIterator[str]:
    """Another gateway, whose inventory is at this gRPC target. Yields its base URL."""
    (port,) = free_ports(1)
    process = replace(GATEWAY, name="second-gateway", is_healthy=lambda _: answers_http(port, "/readyz"))
    settings = {"SKUTRAIL_HTTP_PORT": str(port), "SKUTRAIL_INVENTORY_ADDR": inventory_address}
    async with _running(process, stack, settings):
        yield f"http://{LOOPBACK}:{port}"


@asynccontextmanager
async def _running(process: Process, stack: Stack, settings: Mapping[str, str]) -> AsyncIterator[None]:
    environment = {**process.environment(stack), **settings}
    child = Child(replace(process, environment=lambda _: environment), stack)
    await child.start()
    try:
        await child.wait_healthy()
        yield
    finally:
        await child.stop()
