"""The sandbox carrier behind its adapter: real HTTP, both ends in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sandbox.faults import Pace
from services.shipments.carriers.sandbox import SandboxCarrier
from tests.sandbox.running import Sandbox, running_sandbox


@dataclass(frozen=True)
class Selling:
    """The adapter, and the carrier itself to be asked what it did."""

    carrier: SandboxCarrier
    sandbox: Sandbox


@asynccontextmanager
async def selling(
    answers_within: timedelta = SandboxCarrier.answers_within, pace: Pace | None = None
) -> AsyncIterator[Selling]:
    """A sandbox that nobody else uses, and an adapter to it."""
    async with running_sandbox(pace=pace) as sandbox, carrier_at(sandbox.url, answers_within) as carrier:
        yield Selling(carrier, sandbox)


@asynccontextmanager
async def carrier_at(
    url: str, answers_within: timedelta = SandboxCarrier.answers_within, connect_within_s: float = 2.0
) -> AsyncIterator[SandboxCarrier]:
    carrier = SandboxCarrier(url, answers_within=answers_within, connect_within_s=connect_within_s)
    try:
        yield carrier
    finally:
        await carrier.close()
