"""Another gateway process on the same services, behind lines that a test can make lose what a service says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace

from cli.local.children import Child
from cli.local.probe import answers_http
from cli.local.processes import GATEWAY, SERVICES
from cli.local.stack import LOOPBACK, Stack, free_ports


class Line:
    """A TCP line to a service. While it is mute, requests arrive and answers are lost."""

    def __init__(self, service_port: int) -> None:
        self.is_mute = False
        self.port = 0
        self._service_port = service_port

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, from_gateway: asyncio.StreamReader, to_gateway: asyncio.StreamWriter) -> None:
        try:
            from_service, to_service = await asyncio.open_connection(LOOPBACK, self._service_port)
        except OSError:  # the service is away: so is the line
            to_gateway.close()
            return
        ways = [
            asyncio.create_task(self._carry(from_gateway, to_service, can_be_mute=False)),
            asyncio.create_task(self._carry(from_service, to_gateway, can_be_mute=True)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        to_gateway.close()
        to_service.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, can_be_mute: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if not (can_be_mute and self.is_mute):
                    writer.write(data)
                    await writer.drain()


@dataclass(frozen=True)
class SecondGateway:
    base_url: str
    lines: Mapping[str, Line]
    """To each service, by its name."""


@asynccontextmanager
async def second_gateway(stack: Stack) -> AsyncIterator[SecondGateway]:
    async with AsyncExitStack() as opened:
        names = [service.name for service in SERVICES]
        lines = {name: await opened.enter_async_context(Line(stack.ports[name]).open()) for name in names}
        (port,) = free_ports(1)
        environment = {
            **GATEWAY.environment(stack),
            "SKUTRAIL_HTTP_PORT": str(port),
            **{f"SKUTRAIL_{name.upper()}_ADDR": f"{LOOPBACK}:{line.port}" for name, line in lines.items()},
        }
        process = replace(
            GATEWAY,
            name="second-gateway",
            environment=lambda _: environment,
            is_healthy=lambda _: answers_http(port, "/readyz"),
        )
        child = Child(process, stack)
        await child.start()
        opened.push_async_callback(child.stop)
        await child.wait_healthy()
        yield SecondGateway(f"http://{LOOPBACK}:{port}", lines)
