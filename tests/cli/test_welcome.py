"""The examples `skutrail up` prints are the published ones, and what bash makes of them is what the API understands."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from cli.local.home import Home
from cli.local.welcome import examples_of, keys_command
from cli.provision import DatabaseUrls
from gateway.keys import is_well_formed
from tests.running import RunningStack

# What the published examples answer with: field by field, in this order.
ANSWERS = [
    (200, ["id", "sku", "warehouse", "qty", "balance", "created_at"]),
    (200, ["sku", "warehouse", "balance", "as_of"]),
    (202, ["id", "status", "label_url"]),
    (200, ["id", "status", "allocations"]),
    (201, ["id", "url", "events", "created_at"]),
]


async def arguments_in_bash(line: str) -> list[str]:
    """What bash hands to curl."""
    bash = await asyncio.create_subprocess_exec(
        "bash", "-c", f'curl() {{ printf "%s\\0" "$@"; }}\n{line}', stdout=asyncio.subprocess.PIPE
    )
    output, _ = await bash.communicate()
    return output.decode().split("\0")[:-1]


async def send(session: aiohttp.ClientSession, arguments: list[str]) -> tuple[int, dict[str, Any]]:
    options = {"-H": [], "-d": [], "-w": []}
    url = ""
    words = iter(arguments)
    for word in words:
        if word in options:
            options[word].append(next(words))
        elif not word.startswith("-"):
            url = word
    headers = dict(header.split(": ", 1) for header in options["-H"])
    body = options["-d"][0] if options["-d"] else None
    async with session.request("POST" if body else "GET", url, headers=headers, data=body) as response:
        return response.status, await response.json(content_type=None)


async def test_the_printed_examples_answer_as_published(stack: RunningStack) -> None:
    answers = []
    async with aiohttp.ClientSession() as session:
        for line in examples_of(stack.base_url):
            status, body = await send(session, await arguments_in_bash(line))
            answers.append((status, list(body)))

    assert answers == ANSWERS


async def test_the_printed_command_makes_a_key(databases: Mapping[str, DatabaseUrls], tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.stack_file.write_text(json.dumps({"databases": {"gateway": databases["gateway"].application}}))

    shell = await asyncio.create_subprocess_exec("bash", "-c", keys_command(home), stdout=asyncio.subprocess.PIPE)
    output, _ = await shell.communicate()

    assert is_well_formed(output.decode().strip())
