"""Requests that nobody thought of: schemathesis draws them from /openapi.json, valid, invalid and one after the other.

Whatever it draws: no 5xx, nothing that the document does not tell (status, media type, header, body), nothing invalid
accepted, nothing valid refused but for its meaning. What it is told of us, and every check that is left out, with the
reason: generated/schemathesis.toml and generated/rules.py.

To repeat a run: the same SEED. What it found stands in the message of the assertion, as commands to paste.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.builders import UNLIMITED
from tests.running import RunningStack

SEED = 20260422
_ROOT = Path(__file__).parents[2]
_CONFIG = Path(__file__).parent / "generated" / "schemathesis.toml"


async def test_some_hundred_requests_are_answered_as_told(stack: RunningStack, tmp_path: Path) -> None:
    told = await ask(stack, tmp_path, "--phases=examples,fuzzing,stateful", "--max-examples=10", "--no-shrink")

    assert told["test_cases"]["generated"] >= 200


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_five_thousand_requests_are_answered_as_told(stack: RunningStack, tmp_path: Path) -> None:
    told = await ask(stack, tmp_path, "--max-examples=220")

    assert told["test_cases"]["generated"] >= 5_000
    assert told["phases"].keys() == {"examples", "coverage", "fuzzing", "stateful"}


async def ask(stack: RunningStack, folder: Path, *options: str) -> Any:
    """Runs schemathesis over every operation, and returns what it reports of itself. Fails with all that it found."""
    report = folder / "report.json"
    key = await stack.create_key("generated-requests", limit=UNLIMITED)
    command: list[str | Path] = [
        *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", _CONFIG),
        *("run", f"{stack.base_url}/openapi.json", f"--seed={SEED}", f"--report-json-path={report}", *options),
    ]
    said = await _run(command, folder, SKUTRAIL_FUZZ_KEY=key, PYTHONPATH=str(_ROOT))
    told = json.loads(report.read_text()) if report.exists() else {}
    assert told.get("exit_code") == 0, f"seed {SEED}\n{said}"
    # All but the redirect that schemathesis.toml leaves out.
    assert told["operations"]["tested"] == told["operations"]["total"] - 1
    return told


async def _run(command: Sequence[str | Path], folder: Path, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode()
