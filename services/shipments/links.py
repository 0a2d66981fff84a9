"""Signed links to labels: whoever holds one may read that label until it expires, without an API key.

Pure: keys and the time come in. A link that does not hold is told apart from an unknown shipment nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chassis.errors import Fault

LIFETIME = timedelta(days=7)

_PURPOSE = b"skutrail label link 1\n"  # the same key used for anything else must give other signatures
_TOKEN_CHARS_MAX = 1_024


@dataclass(frozen=True)
class LabelLinks:
    """Makes and reads the links of one installation."""

    public_url: str
    """Where the gateway is reached from outside, e.g. https://api.example.com"""
    key: bytes = field(repr=False)
    """32 random bytes."""

    def sign(self, *, tenant_id: str, shipment_id: str, now: datetime) -> str:
        """The label_url of a shipment, good for LIFETIME."""
        expires_at_s = int((now + LIFETIME).timestamp())
        claim = json.dumps([tenant_id, shipment_id, expires_at_s], separators=(",", ":")).encode()
        token = f"{_encode(claim)}.{_encode(self._mac(claim))}"
        return f"{self.public_url.rstrip('/')}/v1/shipments/{shipment_id}/label?token={token}"

    def verify(self, token: str, *, shipment_id: str, now: datetime) -> str:
        """The tenant whose label it opens. Raises Fault `not_found`: forged, expired, or made for another shipment."""
        claim = self._signed_claim(token)
        if claim is not None:
            tenant_id, signed_id, expires_at_s = json.loads(claim)
            if signed_id == shipment_id and now.timestamp() < expires_at_s:
                return str(tenant_id)
        raise Fault("not_found", "There is no such label.")

    def _signed_claim(self, token: str) -> bytes | None:
        try:
            claim, mac = (_decode(part) for part in token[:_TOKEN_CHARS_MAX].split("."))
        except ValueError:  # not two parts, or not base64url
            return None
        return claim if hmac.compare_digest(mac, self._mac(claim)) else None

    def _mac(self, claim: bytes) -> bytes:
        return hmac.digest(self.key, _PURPOSE + claim, hashlib.sha256)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
