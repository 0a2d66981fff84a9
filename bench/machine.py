"""The head of a report: what ran, where, and how durably. Names no folder and no host."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import psycopg

from bench.product import Product
from cli.local import nats

PACKAGES = ("skutrail", "aiohttp", "uvloop", "grpcio", "psycopg", "sqlalchemy", "nats-py", "asyncpg", "msgspec")
FLAGS = (
    *("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "commit_delay", "commit_siblings"),
    *("shared_buffers", "max_wal_size", "max_connections"),
)
FLUSHES = 200


async def describe(product: Product, http: Path) -> Mapping[str, str]:
    """Facts by name, in the order to print them."""
    settings = await _settings(product.stack.postgres_url)
    memory_gib = psutil.virtual_memory().total / 2**30
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} x {_cpu()}, {memory_gib:.0f} GiB, {platform.system()} {platform.release()}",
        "disk": f"{_filesystem(product.folder)}, one fdatasync takes {_flush_us(product.folder):.0f} us",
        "load on arrival": f"{os.getloadavg()[0]:.2f} (what else ran on the machine)",
        "postgres": f"{settings['server_version']}; " + ", ".join(f"{name}={settings[name]}" for name in FLAGS),
        "nats-server": f"{_first_line(str(nats.binary()), '--version')}; {_nats_durability(product)}",
        "load generator": _first_line(str(http), "-v" if http.name == "wrk" else "version"),
        "python": ", ".join([platform.python_version(), *(f"{name} {_version(name)}" for name in PACKAGES)]),
        "lifted": "the rate limit of the REST door (SKUTRAIL_RATE_LIMIT=off), and of its log lines ninety-nine in a "
        "hundred (SKUTRAIL_LOG_EVERY=100); everything else is as delivered",
    }


async def _settings(url: str) -> Mapping[str, str]:
    async with await psycopg.AsyncConnection.connect(url) as server:
        rows = await server.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [["server_version", *FLAGS]]
        )
        return dict(await rows.fetchall())


def _commit() -> str:
    told = _first_line("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty")
    return "not a checkout" if told.startswith("fatal:") or not told else told


def _first_line(*command: str) -> str:
    """What a program says of itself; some say it on stderr, and wrk with an exit code of 1."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return next(iter((done.stdout + done.stderr).splitlines()), "").strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(none)"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """The type of the file system that holds it. A tmpfs flushes nothing: figures from there mean little."""
    mounts = [one for one in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(one.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype


def _flush_us(folder: Path) -> float:
    file = folder / "flushed"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        started = time.perf_counter()
        for _ in range(FLUSHES):
            os.pwrite(descriptor, bytes(8192), 0)
            os.fdatasync(descriptor)
        return (time.perf_counter() - started) / FLUSHES * 1e6
    finally:
        os.close(descriptor)
        file.unlink()


def _nats_durability(product: Product) -> str:
    lines = (product.folder / "nats.conf").read_text().splitlines()
    return next((line.strip() for line in lines if "sync_interval" in line), "sync_interval: default")
