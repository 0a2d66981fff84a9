"""The five calls of the README: as bash reads them, they answer what stands under them."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from tests.builders import eventually
from tests.cli.test_welcome import arguments_in_bash, send
from tests.running import RunningStack
from tests.system.test_preview import resemble

README = (Path(__file__).parents[2] / "README.md").read_text()


def five_calls() -> str:
    return next(block for block in README.split("```")[1::2] if "call()" in block)


def printed_answers() -> list[Any]:
    lines = five_calls().splitlines()
    comments = [list(group) for is_told, group in groupby(lines, lambda line: line.startswith("# ")) if is_told]
    return [json.loads("".join(line.removeprefix("# ") for line in comment)) for comment in comments]


async def calls_in_bash(base_url: str, key: str) -> list[list[str]]:
    """What bash hands to curl: one list of arguments each."""
    script = five_calls().replace("http://127.0.0.1:8080", base_url).replace("sk_test_REPLACE", key)
    arguments = await arguments_in_bash(script)
    starts = [at for at, word in enumerate(arguments) if word == "-sS"]
    return [arguments[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


async def test_the_five_calls_answer_what_stands_under_them(stack: RunningStack) -> None:
    key = await stack.create_key(f"readme-{uuid4().hex[:8]}")
    calls, answers = await calls_in_bash(stack.base_url, key), printed_answers()
    assert len(answers) == 5

    async with aiohttp.ClientSession() as session:
        for call, printed in zip(calls, answers, strict=True):
            await answered_like(printed, session, call)


async def answered_like(printed: Any, session: aiohttp.ClientSession, call: list[str]) -> None:
    # All answer so at once but the order: it is allocated a moment after it is there.
    await eventually(lambda: send(session, call), lambda answer: resemble(answer[1], printed))
