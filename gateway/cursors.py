"""Cursors of lists: where the next page begins, signed, and bound to who asked for what.

A cursor grants nothing by itself: it is opened only for the tenant, the route and the filters it was made for, within
its life. `limit` may change from page to page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from chassis.errors import Fault

LIFE = timedelta(days=3)
CURSOR_LENGTH_MAX = 2_048
_SIGNATURE_BYTES = 16

Position = Mapping[str, str]


class Cursors:
    """`key` is shared by all gateways: a walk may go on at any of them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, position: Position, *, bound_to: Mapping[str, str], now: datetime) -> str:
        """An opaque, URL-safe string. `bound_to` holds tenant, route and filters."""
        content = json.dumps(
            [int((now + LIFE).timestamp()), dict(position)], ensure_ascii=False, separators=(",", ":")
        ).encode()
        return base64.urlsafe_b64encode(self._sign(content, bound_to) + content).rstrip(b"=").decode()

    def open(self, cursor: str, *, bound_to: Mapping[str, str], now: datetime) -> Position:
        """The position. Raises Fault `cursor_invalid`: forged, expired, or made for something else."""
        sealed = _decode(cursor)
        signature, content = sealed[:_SIGNATURE_BYTES], sealed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(content, bound_to)):
            raise _invalid()
        expires_at, position = json.loads(content)
        if now.timestamp() > expires_at:
            raise _invalid()
        return {str(name): str(value) for name, value in position.items()}

    def _sign(self, content: bytes, bound_to: Mapping[str, str]) -> bytes:
        bound = json.dumps(sorted(bound_to.items())).encode()
        return hmac.digest(self._key, len(bound).to_bytes(4) + bound + content, hashlib.sha256)[:_SIGNATURE_BYTES]


def _decode(cursor: str) -> bytes:
    if not cursor.isascii() or len(cursor) > CURSOR_LENGTH_MAX:
        raise _invalid()
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise _invalid() from error


def _invalid() -> Fault:
    return Fault("cursor_invalid", "The cursor is not valid here: forged, expired, or made for other filters.")
