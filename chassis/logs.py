"""Structured logs: JSON lines on standard error, one line when a unit of work ends, facts as fields.

Ids are bound once per unit of work (`bound`) and appear on every line below it.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default={})  # noqa: B039 - never changed, only replaced

# Credentials never reach a log, whoever hands them over. Looked for in the line as it will be written, where a
# backslash always stands before the character it escapes.
_MARKS = ("sk_", "whsec_", "://", "password=")
_SECRET = re.compile(
    r"sk_(?:live|test)_\w+"  # API keys
    r"|whsec_(?:\\.|[^\s\"'\\])+"  # webhook secrets
    r"|(?<=://)(?:\\.|[^\s/:\"'\\])*:(?:\\.|[^\s/\"'\\])*(?=@)"  # role and password of a URL
    r"|(?<=password=)(?:\\.|[^\s\"'\\])+"  # a password between key words, as libpq takes it
)


def configure(process: str, level: str) -> None:
    """Sets up structlog, and sends the standard library's warnings and errors through it."""
    minimum = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.processors.add_log_level,
        _with_context(process),
        structlog.processors.format_exc_info,
        _render,
    ]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared]
        )
    )
    logging.basicConfig(level=max(minimum, logging.WARNING), handlers=[handler], force=True)


def _with_context(process: str) -> Any:
    def add(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        event.update(_bound.get())
        event["at"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        event["process"] = process
        return event

    return add


_to_json = json.JSONEncoder(default=str, skipkeys=True).encode


def _render(_: Any, __: str, event: dict[str, Any]) -> str:
    line = _to_json(event)
    return _SECRET.sub("[redacted]", line) if any(mark in line for mark in _MARKS) else line


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Binds ids to every log line of the enclosed unit of work. Empty ids are left out."""
    token = _bound.set({**_bound.get(), **{name: value for name, value in ids.items() if value}})
    try:
        yield
    finally:
        _bound.reset(token)
