"""Signatures of deliveries: Standard Webhooks 1.0.0 (symmetric, `v1`), over exactly the bytes that are sent.

A secret in the standard form is `whsec_` and the base64 of 24-64 bytes; it signs once. Any other secret signs twice,
because receivers read such a secret in two ways: the usual libraries decode it leniently, hand-written ones take the
raw string. Several signatures in one header are part of the specification.
"""

import base64
import binascii
import hashlib
import hmac
import re

PREFIX = "whsec_"
SECRET_LENGTH_MAX = 256
KEY_BYTES_MIN, KEY_BYTES_MAX = 24, 64
MADE_KEY_BYTES = 32


def headers(secret: str, *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a delivery. `timestamp` is in whole UTC seconds, and fresh on each attempt."""
    content = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(key, content) for key in keys_of(secret)),
    }


def _signature(key: bytes, content: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def keys_of(secret: str) -> list[bytes]:
    """The keys to sign with: one for a secret in the standard form, else the decoded one (if any) and the raw one."""
    decoded = _decode_leniently(secret)
    if _is_standard(secret):
        return [decoded]
    return [key for key in (decoded, secret.encode()) if key]


def make_secret(key: bytes) -> str:
    """The secret for a random key of MADE_KEY_BYTES bytes."""
    return PREFIX + base64.b64encode(key).decode()


def fault_of_secret(secret: str) -> str | None:
    """Why a caller's secret cannot be used, or None."""
    if not _ACCEPTED.fullmatch(secret):
        return f"must be 1 to {SECRET_LENGTH_MAX} printable ASCII characters"
    return None


def _is_standard(secret: str) -> bool:
    if not secret.startswith(PREFIX) or not _BASE64.fullmatch(secret.removeprefix(PREFIX)):
        return False
    return KEY_BYTES_MIN <= len(_decode_leniently(secret)) <= KEY_BYTES_MAX


def _decode_leniently(secret: str) -> bytes:
    """As the reference libraries do: foreign characters are dropped, padding is optional. Empty where that fails."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX) + "==")
    except binascii.Error:
        return b""


_ACCEPTED = re.compile(rf"[ -~]{{1,{SECRET_LENGTH_MAX}}}")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")
