"""Which URLs a webhook may have: their shape, and the addresses they spell out. Pure: no name is resolved here."""

import re

from yarl import URL

from services.webhooks.addresses import Guard

URL_LENGTH_MAX = 2048


class UrlRefused(Exception):
    """`code`: bad_url (the shape) or address_refused (it spells a forbidden one). `detail` follows "The URL"."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def check_url(text: str, guard: Guard) -> URL:
    """The URL to dial. Raises UrlRefused.

    Names are not resolved here; `localhost` is an address by definition (RFC 6761, section 6.3).
    """
    if len(text) > URL_LENGTH_MAX:
        raise UrlRefused("bad_url", f"is longer than {URL_LENGTH_MAX} characters")
    if _UNSAFE.search(text):
        raise UrlRefused("bad_url", "contains white space, a control character or a backslash")
    try:
        url = URL(text)
    except ValueError as error:
        raise UrlRefused("bad_url", "is not a URL") from error
    if reason := _fault_of_shape(text, url):
        raise UrlRefused("bad_url", reason)
    if reason := _refusal_of_literal(url.raw_host or "", guard):
        raise UrlRefused("address_refused", f"names an address that is never delivered to ({reason})")
    return url


_UNSAFE = re.compile(r"[\s\\\x00-\x20\x7f-\x9f]")
_AUTHORITY = re.compile(r"[^:/?#]+://([^/?#]*)")
# A DNS name in its ASCII form; underscores occur in the wild.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,254}}$){_LABEL}(?:\.{_LABEL})*\.?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def _fault_of_shape(text: str, url: URL) -> str | None:
    authority = _AUTHORITY.match(text)
    if url.scheme not in ("http", "https") or authority is None:
        return "must begin with https:// or http://"
    if "@" in authority[1]:
        return "must not carry a user name or password"
    if "#" in text:
        return "must not carry a fragment"
    host = url.raw_host or ""
    if ":" not in host and not _NAME.fullmatch(host):
        return "has no valid host"
    # Below 1024 live mail, remote shells and the like: a POST must not be mistaken for their protocol.
    if url.port not in (80, 443) and not (url.port or 0) >= 1024:
        return "must use port 80, 443 or one from 1024 to 65535"
    return None


def _refusal_of_literal(host: str, guard: Guard) -> str | None:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return guard.refusal("127.0.0.1")
    # A last label that is a number makes the host an IPv4 address (WHATWG URL); 127.1 and 0x7f.1 are not canonical.
    if ":" in name or _NUMBER.fullmatch(name.rpartition(".")[2]):
        return guard.refusal(name)
    return None
