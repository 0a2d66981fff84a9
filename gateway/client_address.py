"""From which address a request comes, when proxies stand before the gateway, and under which name it is counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

# Some proxies write the port too.
_WITH_PORT = re.compile(r"\[([0-9a-fA-F:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}", re.ASCII)
_SITE_BITS = 64  # whoever has one IPv6 address has this many bits of them


def parse_networks(written: str) -> Networks:
    """CIDRs separated by commas: `10.0.0.0/8, fd00::/8`. Raises ValueError for anything else."""
    return tuple(ip_network(part.strip()) for part in written.split(",") if part.strip())


def client_address(peer: str, forwarded: Sequence[str], trusted: Networks) -> str:
    """The address that a request is counted by; `forwarded` is every X-Forwarded-For header, in order.

    Each proxy appends whom it heard, so the right-most address that is no trusted proxy is the client: what stands left
    of it may be made up. The peer's own where it is no trusted proxy, or where the way back to the client cannot be
    read. The left-most where all are trusted.
    """
    client = _address(peer)
    if client is None or not _is_of(client, trusted):
        return peer
    for written in reversed([part for header in forwarded for part in header.split(",")]):
        heard = _address(written)
        if heard is None:
            return peer
        client = heard
        if not _is_of(client, trusted):
            break
    return str(client)


def bucket_name(address: str) -> str:
    """One per IPv4 address, one per /64 of IPv6."""
    parsed = _address(address)
    if isinstance(parsed, IPv6Address):
        site = int(parsed) >> (128 - _SITE_BITS) << (128 - _SITE_BITS)
        return f"address {IPv6Address(site)}/{_SITE_BITS}"
    return f"address {parsed or 'unknown'}"


def _address(written: str) -> Address | None:
    text = written.strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_of(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
