"""A real nats-server under the configuration that the cluster mounts."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cli.local.nats import binary
from tests.deploy.manifests import Manifests


@asynccontextmanager
async def running(k8s: Manifests, folder: Path) -> AsyncIterator[str]:
    """Yields the URL of the server, without a user."""
    ports = ["--addr", "127.0.0.1", "--port", "-1"]
    process = await asyncio.create_subprocess_exec(
        binary(),
        "-c",
        lay_out(k8s, folder),
        *ports,
        env=k8s.environment(k8s.pod("nats").main),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield f"nats://127.0.0.1:{await _port(process)}"
    finally:
        process.terminate()
        await process.communicate()


def lay_out(k8s: Manifests, folder: Path) -> str:
    """Writes the ConfigMap as it is mounted; only paths and ports move, so that it runs beside others here."""
    here = {"/data": folder / "data", "/tmp/nats.pid": folder / "nats.pid"}
    for name, content in k8s.config("nats-config").items():
        text = content.replace("http: 8222", 'http: "127.0.0.1:-1"')
        for mounted, path in here.items():
            text = text.replace(f" {mounted}\n", f' "{path}"\n')
        (folder / name).write_text(text)
    return str(folder / "nats.conf")


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr
    port, lines = 0, []
    async with asyncio.timeout(10):
        async for raw in process.stderr:
            lines.append(raw.decode())
            if found := re.search(r"client connections on 127\.0\.0\.1:(\d+)", lines[-1]):
                port = int(found[1])
            if "Server is ready" in lines[-1]:
                return port
    raise AssertionError("".join(lines))
