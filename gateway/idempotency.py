"""The Idempotency-Key header and the fingerprint of a request (docs/decisions/0004).

The services keep the keys; here a key is only read or made, and a request is given the fingerprint that tells
"the same request" from "another one".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from uuid import uuid4

from chassis.errors import Fault

KEY_LENGTH_MAX = 255
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPE = re.compile(r'\\(["\\])')
# The header as it may be sent, in the regular expressions of ECMA-262: a bare key, or a quoted one.
HEADER_PATTERN = r'^(?:[!#-~][!-~]{0,254}|"(?:[!#-\[\]-~]|\\["\\]){1,255}")$'


def read_key(sent: Sequence[str], *, is_required: bool = False) -> str:
    """The key of a request, from every Idempotency-Key header it carries; a new one where it carries none.

    `abc` and `"abc"` (a Structured Fields string, RFC 9651) are one key. Raises Fault `idempotency_key_invalid`, or
    `idempotency_key_required` where the operator wants every caller to name one.
    """
    if not sent:
        if is_required:
            raise Fault("idempotency_key_required", "Send an Idempotency-Key with every POST.")
        return str(uuid4())
    if len(sent) > 1:
        raise Fault("idempotency_key_invalid", "The header was sent more than once.")
    key = _unquoted(sent[0])
    if not is_key(key):
        raise Fault("idempotency_key_invalid", f"A key is 1 to {KEY_LENGTH_MAX} visible ASCII characters.")
    return key


def is_key(text: str) -> bool:
    return len(text) <= KEY_LENGTH_MAX and _VISIBLE_ASCII.fullmatch(text) is not None


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    quoted = _QUOTED.fullmatch(value)
    if quoted is None:
        raise Fault("idempotency_key_invalid", "A quoted key ends with a quote, and has no other but with a backslash.")
    return _ESCAPE.sub(r"\1", quoted[1])


def fingerprint(*, route: str, path: str, query: str, body: bytes) -> bytes:
    """SHA-256 of what makes two requests the same; `body` is canonical, `query` is still encoded."""
    place = json.dumps([route, path, sorted(query.split("&"))]).encode()
    return hashlib.sha256(place + b"\n" + body).digest()


def line_fingerprint(*, route: str, line: bytes) -> bytes:
    """The same of one line of a batch that has a key of its own; `line` is canonical."""
    return hashlib.sha256(json.dumps(f"{route} line").encode() + b"\n" + line).digest()
