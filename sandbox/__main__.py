"""python -m sandbox: settings, wiring, run."""

from __future__ import annotations

import asyncio

from chassis.config import ProcessSettings
from chassis.logs import log
from chassis.process import run
from sandbox.app import make_app
from sandbox.register import Register
from sandbox.serving import serving


class SandboxSettings(ProcessSettings):
    sandbox_listen: str = "127.0.0.1:8090"
    # Where the register lies. In memory if empty: what was sold is then forgotten with the process.
    sandbox_file: str = ""


def main() -> None:
    settings = SandboxSettings()
    run("sandbox", lambda stopping: _serve(settings, stopping), settings.log_level)


async def _serve(settings: SandboxSettings, stopping: asyncio.Event) -> None:
    register = Register(settings.sandbox_file)
    try:
        async with serving(make_app(register), settings.sandbox_listen) as url:
            log.info("process.started", url=url, file=settings.sandbox_file or None)
            await stopping.wait()
    finally:
        await register.close()


if __name__ == "__main__":
    main()
