"""Who calls, and how often they may: the API key behind a request, and the budget it draws on."""

from __future__ import annotations

import re
import time

from aiohttp import web

from chassis.errors import Fault
from gateway.client_address import Networks, bucket_name, client_address
from gateway.keyring import KeyRing
from gateway.keys import EXAMPLE_KEY, ApiKey
from gateway.limits import ANONYMOUS, LIVE, TEST, Buckets, Budget, Limit
from gateway.shared_buckets import SharedBuckets

Caller = ApiKey | Fault

_THIS_MACHINE = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


class Gatekeeper:
    """`buckets` is None where the operator has lifted the limits; `shared` is what all gateways share of them, if so
    set up. `proxies` are believed when they say for whom they call."""

    def __init__(
        self, ring: KeyRing, buckets: Buckets | None, shared: SharedBuckets | None = None, proxies: Networks = ()
    ) -> None:
        self._ring = ring
        self._buckets = buckets
        self._shared = shared
        self._proxies = proxies

    async def meet(self, request: web.Request) -> tuple[Caller, Budget | None]:
        """The caller's key, or why there is none: whether that matters is for the route to say. With it the budget
        that the request drew on: that of the key, or of the address where there is no valid key."""
        secret = _presented(request)
        if isinstance(secret, Fault):
            return secret, await self._draw(self._address(request), ANONYMOUS)
        if (known := self._ring.known(secret)) is not None:  # as nearly all are, within microseconds
            return known, await self._draw_for(known)
        # A key never seen costs a look-up. Made-up ones must not cost more of them than wrong ones may be told.
        if self._ring.is_stranger(secret) and (budget := self._look(self._address(request))) and budget.is_spent:
            return _invalid(), budget
        try:
            key = await self._ring.find(secret)
        except Fault as fault:
            return fault, None  # a key that cannot be checked now is not a wrong one
        if key is None:
            return _invalid(), await self._draw(self._address(request), ANONYMOUS)
        return key, await self._draw_for(key)

    async def _draw_for(self, key: ApiKey) -> Budget | None:
        return await self._draw(key.id, key.limit or (LIVE if key.mode == "live" else TEST))

    async def _draw(self, caller: str, limit: Limit) -> Budget | None:
        """Waits for nothing unless the buckets are shared."""
        if self._buckets is None:
            return None
        if self._shared is None:
            return self._buckets.take(caller, limit, time.monotonic_ns())
        return await self._shared.take(caller, limit, time.monotonic_ns())

    def _look(self, address: str) -> Budget | None:
        return None if self._buckets is None else self._buckets.look(address, ANONYMOUS, time.monotonic_ns())

    def _address(self, request: web.Request) -> str:
        forwarded = request.headers.getall("X-Forwarded-For", ()) if self._proxies else ()
        return bucket_name(client_address(request.remote or "", forwarded, self._proxies))


def _presented(request: web.Request) -> str | Fault:
    sent = request.headers.getall("Authorization", [])
    if len(sent) > 1:
        return _invalid()
    scheme, _, secret = (sent[0] if sent else "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        return Fault("authentication_required", "Send an API key: Authorization: Bearer sk_...")
    # Everybody knows this key, foreign web pages too: by a name of their own that resolves to loopback, a browser on
    # this machine would carry their requests here. The name it was asked for gives them away.
    if secret.strip() == EXAMPLE_KEY and not is_this_machine(request.headers.get("Host", "")):
        return _invalid()
    return secret.strip()


def is_this_machine(host: str) -> bool:
    """Whether a Host header names loopback itself, and not something that may resolve to it."""
    return _THIS_MACHINE.fullmatch(host) is not None


def _invalid() -> Fault:
    # Malformed, unknown and revoked are told alike.
    return Fault("invalid_api_key", "The API key is not valid.")
