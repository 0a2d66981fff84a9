"""Which addresses a delivery may reach. Pure: tables and one verdict; the dialling is in egress.py.

The tables are our own. The standard library's `is_global` says yes to NAT64, 6to4, multicast and the Azure platform
address, so it cannot be the guard.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Guard:
    """Judges addresses. `allow` are the private networks which the operator opened (SKUTRAIL_EGRESS_ALLOW)."""

    allow: tuple[Network, ...] = ()

    def refusal(self, text: str) -> str | None:
        """Why the address must not be dialled, as the name of its range; None where it may be.

        What does not parse, or carries a scope id, is refused: an address we cannot read we cannot judge.
        """
        if "%" in text:
            return "scoped address"
        try:
            address = ip_address(text)
        except ValueError:
            return "not an address"
        return self._refusal_of(_carried(address))

    def _refusal_of(self, address: Address) -> str | None:
        if sealed := _range_of(address, SEALED):
            # ::1 lies in a sealed block, and is the one address there that an operator has a use for.
            if address == LOOPBACK_V6 and _is_within(address, self.allow):
                return None
            return sealed
        if _is_within(address, self.allow):
            return None
        if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST_V6:
            return "outside global unicast"
        return _range_of(address, CLOSED)


def parse_allow(text: str) -> tuple[Network, ...]:
    """Reads SKUTRAIL_EGRESS_ALLOW: CIDRs, separated by commas. Raises ValueError on anything else."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def _carried(address: Address) -> Address:
    """A NAT64 address is the IPv4 address it carries (RFC 6052): networks without IPv4 reach the world by it."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _range_of(address: Address, ranges: dict[Network, str]) -> str | None:
    return next((name for network, name in ranges.items() if address in network), None)


def _is_within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


LOOPBACK_V6 = IPv6Address("::1")
NAT64 = IPv6Network("64:ff9b::/96")
GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")

# Refused whatever the allow-list says: cloud metadata hands out credentials, and the transition ranges smuggle an
# IPv4 address (metadata too) past rules that are written for IPv4.
SEALED: dict[Network, str] = {
    IPv4Network("169.254.0.0/16"): "link-local or metadata",
    IPv4Network("100.100.100.200/32"): "metadata",  # Alibaba Cloud
    IPv4Network("168.63.129.16/32"): "metadata",  # Azure
    IPv4Network("192.0.0.192/32"): "metadata",  # Oracle Cloud
    IPv6Network("fe80::/10"): "link-local",
    IPv6Network("fd00:ec2::/32"): "metadata",  # AWS
    IPv6Network("fd20:ce::/32"): "metadata",  # Google Cloud
    IPv6Network("::/8"): "unspecified, loopback or carries IPv4",  # also mapped, compatible, SIIT, local NAT64
    IPv6Network("2001::/32"): "carries IPv4",  # Teredo
    IPv6Network("2002::/16"): "carries IPv4",  # 6to4
}

# Special by the IANA registries (RFC 6890 and later), and not for the world. The operator may open them.
CLOSED: dict[Network, str] = {
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("10.0.0.0/8"): "private",
    IPv4Network("100.64.0.0/10"): "shared address space",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("172.16.0.0/12"): "private",
    IPv4Network("192.0.0.0/24"): "protocol assignments",
    IPv4Network("192.0.2.0/24"): "documentation",
    IPv4Network("192.88.99.0/24"): "6to4 relay",
    IPv4Network("192.168.0.0/16"): "private",
    IPv4Network("198.18.0.0/15"): "benchmarking",
    IPv4Network("198.51.100.0/24"): "documentation",
    IPv4Network("203.0.113.0/24"): "documentation",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved or broadcast",
    IPv6Network("2001::/23"): "protocol assignments",
    IPv6Network("2001:db8::/32"): "documentation",
    IPv6Network("3fff::/20"): "documentation",
}
