"""Structured logs: JSON lines on standard error, one line when a unit of work ends, facts as fields.

Ids are bound once per unit of work (`bound`) and appear on every line below it.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# Credentials never reach a log, whoever hands them over.
_SECRET = re.compile(
    r"sk_(?:live|test)_\w+"  # API keys
    r"|whsec_[^\s\"'\\]+"  # webhook secrets
    r"|(?<=://)[^\s/\"']*:[^\s/\"']*(?=@)"  # role and password of a URL
    r"|(?<=password=)[^\s\"']+"  # a password between key words, as libpq takes it
)


def configure(process: str, level: str) -> None:
    """Sets up structlog, and sends the standard library's warnings and errors through it."""
    minimum = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _with_process(process),
        structlog.processors.format_exc_info,
        _redact,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared]
        )
    )
    logging.basicConfig(level=max(minimum, logging.WARNING), handlers=[handler], force=True)


def _with_process(process: str) -> Any:
    def add(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        event["process"] = process
        return event

    return add


def _redact(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    return {name: _without_secrets(value) for name, value in event.items()}


def _without_secrets(value: Any) -> Any:
    """The value as JSON will show it. What is no JSON becomes text here: later it would escape the search."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _without_secrets(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return _SECRET.sub("[redacted]", str(value))


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Binds ids to every log line of the enclosed unit of work. Empty ids are left out."""
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in ids.items() if value}):
        yield
