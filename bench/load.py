"""Runs the load generators: wrk (or k6), pgbench, our own caller and pacer. Each ends by itself, and in time."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.lines import Cell, Load, percentiles
from cli.local import postgres
from cli.local.children import spawn, tail

HERE = Path(__file__).parent
GRACE_S = 1  # what was sent is answered within it, and clients connect
CONNECTS_PER_S = 30  # to PostgreSQL, on a busy machine
LATE_S = 60  # beyond it a generator is killed


class LoadFailed(Exception):
    """A load generator ended badly or not at all. The text says which and ends with its last words."""


class GeneratorMissing(Exception):
    """There is no program to make HTTP load with."""


@dataclass(frozen=True)
class Generators:
    """Where the programs of a run write. `http` is the program that makes HTTP load."""

    folder: Path
    http: Path

    async def http_load(self, url: str, cell: Cell, *, kind: str, api_keys: Path, seconds: int, tag: str) -> Load:
        """`kind`: write (POST ledger), read (GET balance) or ship (POST shipments)."""
        if self.http.name == "wrk":
            command = _wrk(self.http, url, cell, kind=kind, api_keys=api_keys, seconds=seconds, tag=tag)
        else:
            command = _k6(self.http, url, cell, kind=kind, api_keys=api_keys, seconds=seconds, tag=tag)
        told = _last_json(await self._run(command, seconds))
        p50_ms, p99_ms = told["p50_us"] / 1000, told["p99_us"] / 1000
        # The last requests were sent when the time was over, and took about as long as any other.
        accepted = told["answered"] - told["refused"]
        return Load(int(told["sent"]), int(accepted), seconds + p50_ms / 1000, p50_ms, p99_ms)

    async def paced_load(self, url: str, cell: Cell, *, api_keys: Path, seconds: int, tag: str) -> Load:
        """Shipments, so many a second."""
        arguments = (url, seconds, cell.per_second, cell.skus, tag, api_keys)
        return await self._own_load("bench.pacer", arguments, seconds)

    async def pgbench_load(self, url: str, script: str, cell: Cell, *, movements: int, seconds: int, tag: str) -> Load:
        """`movements`: how many one transaction of the script records."""
        logs = self.folder / "transactions"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        variables = {"tag": tag, "skus": cell.skus, "n": 0, "movements": movements}
        command = [
            *(str(postgres.binaries() / "pgbench"), "--no-vacuum", "--protocol=prepared"),
            # Its clock, but not its speed, counts the time in which its clients connect.
            *(f"--client={cell.clients}", f"--jobs={min(2, cell.clients)}"),
            f"--time={seconds + GRACE_S + cell.clients // CONNECTS_PER_S}",
            *("--log", f"--log-prefix={logs}/log", f"--file={HERE / 'sql' / script}"),
            *(f"--define={name}={value}" for name, value in variables.items()),
            url,
        ]
        output = await self._run(command, seconds)
        done = int(_number(r"transactions actually processed: (\d+)", output))
        if not done:
            raise LoadFailed(f"pgbench recorded nothing within {seconds} s")
        failed = int(_number(r"number of failed transactions: (\d+)", output))
        per_second = _number(r"tps = ([\d.]+) \(without initial", output)
        p50_ms, p99_ms = _percentiles_ms(logs)
        return Load((done + failed) * movements, done * movements, done / per_second, p50_ms, p99_ms)

    async def grpc_load(self, address: str, cell: Cell, *, movements: int, tenant: str, seconds: int, tag: str) -> Load:
        arguments = (address, seconds, cell.clients, movements, cell.skus, tenant, tag)
        return await self._own_load("bench.caller", arguments, seconds)

    async def _own_load(self, module: str, arguments: Sequence[object], seconds: int) -> Load:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        told = _last_json(await self._run(command, seconds))
        return Load(int(told["sent"]), int(told["accepted"]), told["seconds"], told["p50_ms"], told["p99_ms"])

    async def _run(self, command: Sequence[str], seconds: int) -> str:
        """What it printed. It is tethered to this process, and killed when it does not end."""
        log = self.folder / f"load-{next(_numbers)}.log"
        running = await spawn(command, log=log, folder=self.folder, environment={}, death_signal=signal.SIGKILL)
        try:
            code = await asyncio.wait_for(running.wait(), seconds + LATE_S)
        except TimeoutError:
            code = None
        finally:
            if running.returncode is None:
                running.kill()
                await running.wait()
        if code != 0:
            raise LoadFailed(f"{Path(command[0]).name} ended with {code}\n{tail(log)}")
        return log.read_text()


_numbers = count()


def find_http_generator() -> Path:
    """wrk from the system's packages; else k6 beside this Python. Raises GeneratorMissing, which says what to do."""
    found = shutil.which("wrk") or shutil.which("k6", path=str(Path(sys.executable).parent)) or shutil.which("k6")
    if found is None:
        raise GeneratorMissing("neither wrk nor k6 is here: apt install wrk, or `make bench`, which installs k6")
    return Path(found)


def _wrk(program: Path, url: str, cell: Cell, *, kind: str, api_keys: Path, seconds: int, tag: str) -> Sequence[str]:
    shape = ["-t1", f"-c{cell.clients}", f"-d{seconds + GRACE_S}s", "--timeout", "30s"]
    script = ["-s", str(HERE / "requests.lua"), url]
    return [str(program), *shape, *script, "--", str(seconds), kind, tag, str(cell.skus), str(api_keys)]


def _k6(program: Path, url: str, cell: Cell, *, kind: str, api_keys: Path, seconds: int, tag: str) -> Sequence[str]:
    variables: Mapping[str, object] = {
        **{"URL": url, "SECONDS": seconds, "CLIENTS": cell.clients, "KIND": kind, "TAG": tag, "SKUS": cell.skus},
        "API_KEYS_FILE": api_keys,
    }
    given = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    # No address: its own API would want a port that may be taken.
    return [str(program), "run", "--quiet", "--no-usage-report", "--address", "", *given, str(HERE / "requests.js")]


def _last_json(output: str) -> dict[str, float]:
    line = next(line for line in reversed(output.splitlines()) if line.startswith("{"))
    told: dict[str, float] = json.loads(line)
    return told


def _number(pattern: str, output: str) -> float:
    found = re.search(pattern, output)
    if found is None:
        raise LoadFailed(f"pgbench did not say {pattern!r}:\n{output[-500:]}")
    return float(found[1])


def _percentiles_ms(logs: Path) -> tuple[float, float]:
    """Of pgbench's log: client, transaction, microseconds, …"""
    p50_us, p99_us = percentiles(_microseconds(logs.iterdir()))
    return p50_us / 1000, p99_us / 1000


def _microseconds(files: Iterable[Path]) -> list[int]:
    return [int(line.split(" ", 3)[2]) for file in files for line in file.read_text().splitlines()]
