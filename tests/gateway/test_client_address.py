"""Whose address a request is counted by, with proxies before the gateway and without."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.client_address import bucket_name, client_address, parse_networks
from tests.gateway.conftest import Door

TRUSTED = parse_networks("10.0.0.0/8, fd00::/8")
PROXY, CLIENT = "10.0.0.1", "203.0.113.7"

ADDRESSES = [
    # peer             X-Forwarded-For                            counted
    (CLIENT, [], CLIENT),
    (CLIENT, ["198.51.100.1"], CLIENT),  # no proxy of ours: it may say what it likes
    (PROXY, [], PROXY),
    (PROXY, [CLIENT], CLIENT),
    (PROXY, [f" {CLIENT}\t"], CLIENT),
    (PROXY, [f"198.51.100.1, {CLIENT}"], CLIENT),  # the client made up what stands left of it
    (PROXY, [f"{CLIENT}, 10.9.9.9, 10.0.0.2"], CLIENT),  # through several proxies
    (PROXY, [CLIENT, "10.0.0.2"], CLIENT),  # several headers are one
    (PROXY, ["198.51.100.1", CLIENT], CLIENT),
    (PROXY, ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # nothing but proxies: the first of them asks
    (PROXY, [f"nonsense, {CLIENT}"], CLIENT),
    (PROXY, [f"{CLIENT}, nonsense"], PROXY),
    (PROXY, [f"{CLIENT}, nonsense, 10.0.0.2"], PROXY),
    (PROXY, [f"{CLIENT},"], PROXY),
    (PROXY, [""], PROXY),
    (PROXY, ["unknown"], PROXY),
    (PROXY, ["_hidden"], PROXY),
    (PROXY, ["203.0.113.256"], PROXY),
    (PROXY, ["203.0.113.007"], PROXY),
    (PROXY, [f"{CLIENT}:4711"], CLIENT),
    (PROXY, [f"{CLIENT}:port"], PROXY),
    (PROXY, ["2001:db8::7"], "2001:db8::7"),
    (PROXY, ["[2001:db8::7]"], "2001:db8::7"),
    (PROXY, ["[2001:db8::7]:4711"], "2001:db8::7"),
    (PROXY, ["2001:DB8:0::7, fd00::1"], "2001:db8::7"),
    (PROXY, [f"::ffff:{CLIENT}"], CLIENT),
    (f"::ffff:{PROXY}", [CLIENT], CLIENT),  # an IPv4 proxy on a socket for both families
    ("fd00::1", [CLIENT], CLIENT),
    ("", [CLIENT], ""),  # a peer without an address
]


@pytest.mark.parametrize(("peer", "forwarded", "counted"), ADDRESSES)
def test_the_client_is_the_right_most_address_that_is_no_proxy(peer: str, forwarded: list[str], counted: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == counted


def test_without_proxies_nobody_is_believed() -> None:
    assert client_address(PROXY, [CLIENT], ()) == PROXY


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.7", "address 203.0.113.7"),
        ("::ffff:203.0.113.7", "address 203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "address 2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "address 2001:db8:1:2::/64"),
        ("fe80::1%eth0", "address fe80::/64"),
        ("::1", "address ::/64"),
        ("", "address unknown"),
    ],
)
def test_a_bucket_is_that_of_an_ipv4_address_or_of_an_ipv6_site(address: str, name: str) -> None:
    assert bucket_name(address) == name


def test_networks_are_written_as_cidrs() -> None:
    assert parse_networks("") == ()
    assert parse_networks("10.0.0.0/8,::1/128 ,") == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize("written", ["10.0.0.1/8", "proxy", "10.0.0.0/8 fd00::/8", "*"])
def test_any_other_writing_of_networks_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"IPv4|IPv6|host bits"):
        parse_networks(written)


async def remaining(door: Door, *forwarded: str) -> int:
    """What a caller without a key has left, after one request that came this way."""
    headers = [("X-Forwarded-For", one) for one in forwarded]
    answer = await door.caller.by("").ask("GET", "/v1/orders/x", headers=headers)
    return int(answer.headers["X-RateLimit-Remaining"])


async def test_behind_a_proxy_callers_without_a_key_are_counted_one_by_one(proxied_door: Door) -> None:
    told = [await remaining(proxied_door, CLIENT) for _ in range(20)]

    assert min(told) < 95
    assert await remaining(proxied_door, "198.51.100.1") == 99
    assert await remaining(proxied_door, CLIENT, "198.51.100.2") == 99


async def test_where_nobody_is_trusted_the_header_counts_for_nothing(limited_door: Door) -> None:
    told = [await remaining(limited_door, f"198.51.100.{number}") for number in range(20)]

    assert min(told) < 95
