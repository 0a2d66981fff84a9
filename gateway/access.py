"""Who calls, and how often they may: the API key behind a request, and the budget it draws on."""

from __future__ import annotations

import time

from aiohttp import web

from chassis.errors import Fault
from gateway.keyring import KeyRing
from gateway.keys import ApiKey
from gateway.limits import ANONYMOUS, LIVE, TEST, Buckets, Budget


class Gatekeeper:
    """`buckets` is None where the operator has lifted the limits."""

    def __init__(self, ring: KeyRing, buckets: Buckets | None) -> None:
        self._ring = ring
        self._buckets = buckets

    async def identify(self, request: web.Request) -> ApiKey | Fault:
        """The caller's key, or why there is none: whether that matters is for the route to say."""
        secret = _presented(request)
        if isinstance(secret, Fault):
            return secret
        try:
            key = await self._ring.find(secret)
        except Fault as fault:
            return fault
        # Malformed, unknown and revoked are told alike.
        return key or Fault("invalid_api_key", "The API key is not valid.")

    def draw(self, caller: ApiKey | Fault, address: str) -> Budget | None:
        """Takes one request from the caller's budget: that of the key, or of the address where there is no key."""
        if self._buckets is None:
            return None
        now = time.monotonic()
        if isinstance(caller, Fault):
            return self._buckets.take(f"address {address}", ANONYMOUS, now)
        default = LIVE if caller.mode == "live" else TEST
        return self._buckets.take(caller.id, caller.limit or default, now)


def _presented(request: web.Request) -> str | Fault:
    sent = request.headers.getall("Authorization", [])
    if len(sent) > 1:
        return Fault("invalid_api_key", "The API key is not valid.")
    scheme, _, secret = (sent[0] if sent else "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        return Fault("authentication_required", "Send an API key: Authorization: Bearer sk_...")
    return secret.strip()
