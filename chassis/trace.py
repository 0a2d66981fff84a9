"""Which request a unit of work belongs to: made at the gateway, carried by calls and events, bound to log lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from chassis import logs

# W3C Trace Context, version 00.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class Trace:
    request_id: str = ""
    traceparent: str = ""

    @property
    def trace_id(self) -> str:
        return self.traceparent[3:35]


_OUTSIDE = Trace()
_current: ContextVar[Trace] = ContextVar("trace", default=_OUTSIDE)


def current() -> Trace:
    return _current.get()


def cause_of(message: Any) -> Trace:
    """The request that a message came with, where one call carries those of many; else the current one."""
    return Trace(message.cause.request_id, message.cause.traceparent) if message.HasField("cause") else current()


@contextmanager
def follow(request_id: str, traceparent: str, **ids: str) -> Iterator[Trace]:
    """Makes the enclosed work part of a request. A traceparent that is not well formed is replaced by a new one."""
    trace = Trace(request_id, traceparent if _TRACEPARENT.fullmatch(traceparent) else new_traceparent())
    token = _current.set(trace)
    try:
        with logs.bound(request_id=request_id, trace_id=trace.trace_id, **ids):
            yield trace
    finally:
        _current.reset(token)


def new_traceparent() -> str:
    chance = os.urandom(24).hex()
    return f"00-{chance[:32]}-{chance[32:]}-01"
