"""The HTTP server around the application: its limits, its time-outs, and how it stops."""

from __future__ import annotations

import logging
import socket

from aiohttp import http_parser, web
from aiohttp.http_exceptions import HttpProcessingError

from chassis.logs import log

KEEPALIVE_S = 30
SHUTDOWN_S = 20


class Serving:
    """A listening server; `url` is where. `stop` refuses new connections and lets what is under way finish."""

    def __init__(self, runner: web.AppRunner, url: str) -> None:
        self._runner = runner
        self.url = url

    async def stop(self) -> None:
        await self._runner.cleanup()


async def serve(app: web.Application, *, host: str, port: int) -> Serving:
    """Port 0 takes any that is free."""
    # The pure Python parser reads some hostile requests otherwise than proxies do.
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise RuntimeError("aiohttp runs without its C parser")
    runner = web.AppRunner(
        app,
        access_log=None,  # middleware.py writes a line of its own
        logger=_quiet_logger(),
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=SHUTDOWN_S,
        # A write goes on when its caller hangs up: the repetition finds its answer.
        handler_cancellation=False,
        # A body with a content coding is refused, so nothing need ever be inflated.
        auto_decompress=False,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, reuse_address=True)
    await site.start()
    return Serving(runner, f"http://{host}:{_port_of(runner)}")


def _port_of(runner: web.AppRunner) -> int:
    address: tuple[str, int] = runner.addresses[0]
    return address[1]


def _quiet_logger() -> logging.Logger:
    logger = logging.getLogger("gateway.http")
    if not logger.filters:
        logger.addFilter(_tell_briefly)
    return logger


def _tell_briefly(record: logging.LogRecord) -> bool:
    """What is not HTTP never reaches the application: a line of log is enough, not a traceback each."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        log.info("request.unreadable", cause=type(error).__name__)
        return False
    return True


def is_loopback(host: str) -> bool:
    """True when nothing but this machine can reach what listens on the host. Raises OSError for an unknown name."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(address[0] == "::1" or str(address[0]).startswith("127.") for *_, address in found)
