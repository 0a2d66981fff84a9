"""The way out: the one client that every outbound HTTP call of this service goes through.

A URL is checked three times, each time by the same tables: when it is written down (`check_url`), when its name is
resolved (any forbidden answer refuses them all), and at every dial, where address literals and re-bound names pass
too. Redirects, proxies, cookies and decompression are off: each of them is a way around the guard or a bomb.
"""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from services.webhooks import names
from services.webhooks.addresses import Guard
from services.webhooks.names import NoTurn, SystemResolver
from services.webhooks.urls import UrlRefused, check_url

TOTAL_TIMEOUT_S = 15.0  # resolve, connect, send and read the whole answer
CONNECT_TIMEOUT_S = 5.0
CONNECTIONS_MAX = 64
RESPONSE_BYTES_MAX = 64 * 1024


class EgressError(Exception):
    """A call that got no usable answer. `code` is stable and lands in the log of attempts."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class NotAttempted(EgressError):
    """A call that was not begun, for want of a resolver. It tells nothing about the receiver."""


class AddressRefused(OSError):
    """Raised where a dial would begin. An OSError, because that is what aiohttp expects to find there."""


@dataclass(frozen=True)
class Reply:
    status: int
    retry_after: str | None


class Egress:
    """The guarded client. Use it as an async context manager; connections are kept alive and shared."""

    def __init__(
        self,
        guard: Guard,
        *,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`resolver` and `tls` replace the system's names and authorities, where a deployment has its own."""
        self._guard = guard
        self._timeout = aiohttp.ClientTimeout(total=total_timeout_s, connect=connect_timeout_s)
        self._resolver = GuardedResolver(guard, resolver or SystemResolver())
        self._tls = tls

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            socket_factory=self._dial,
            ssl=self._tls or True,
            limit=CONNECTIONS_MAX,
            use_dns_cache=False,  # it would let all tenants wait for the turn of the one that asks first
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"accept": "*/*", "accept-encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._resolver.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, tenant_id: str) -> Reply:
        """POSTs exactly these bytes. Any HTTP status is a Reply; everything else raises EgressError.

        `tenant_id` is whose look-up of the name it is. Raises NotAttempted where that could not even begin.
        """
        try:
            target = check_url(url, self._guard)
            with names.looked_up_for(tenant_id):
                async with self._session.post(target, data=body, headers=headers, allow_redirects=False) as response:
                    await _read_bounded(response)
        except UrlRefused as refusal:
            raise EgressError(refusal.code, refusal.detail) from refusal
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _egress_error(error) from error
        return Reply(response.status, response.headers.get("retry-after"))

    def _dial(self, address_info: aiohttp.AddrInfoType) -> socket.socket:
        """Every dial passes here with its concrete address, whatever the URL or the resolver called it."""
        family, kind, protocol, _, address = address_info
        reason = self._guard.refusal(str(address[0]))
        if len(address) == 4 and address[3]:
            reason = "scoped address"
        if reason:
            raise AddressRefused(f"{address[0]}: {reason}")
        return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Refuses a name as a whole when any of its answers is forbidden: half a private name is an attack or a mistake."""

    def __init__(self, guard: Guard, resolver: AbstractResolver) -> None:
        self._guard = guard
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answers = await self._resolver.resolve(host, port, family)
        for answer in answers:
            if reason := self._guard.refusal(answer["host"]):
                raise AddressRefused(f"{host} is {answer['host']}: {reason}")
        return answers

    async def close(self) -> None:
        await self._resolver.close()


async def _read_bounded(response: aiohttp.ClientResponse) -> None:
    """Reads the body to its end, so that the connection can serve again; at most RESPONSE_BYTES_MAX of it."""
    read = 0
    async for chunk in response.content.iter_any():
        read += len(chunk)
        if read > RESPONSE_BYTES_MAX:
            response.close()  # the rest is not worth reading, and the connection not worth keeping
            return


def _egress_error(error: Exception) -> EgressError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, AddressRefused):
        return EgressError("address_refused", str(cause))
    if isinstance(cause, NoTurn):
        return NotAttempted("no_resolver", str(cause))
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "connection_failed")
    return EgressError(code, str(error) or type(error).__name__)


# First match wins: the narrow ones first.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorDNSError, "name_not_resolved"),
    (aiohttp.ClientSSLError, "tls_failed"),
    (aiohttp.InvalidURL, "bad_url"),
    (aiohttp.ClientResponseError, "invalid_response"),
    (aiohttp.ClientPayloadError, "invalid_response"),
)
