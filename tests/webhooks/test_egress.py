"""A delivery never reaches a private, loopback, link-local or metadata address, however it is spelled or re-bound."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from itertools import cycle
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from services.webhooks.addresses import SEALED, Guard, parse_allow
from services.webhooks.egress import RESPONSE_BYTES_MAX, AddressRefused, Egress, EgressError
from services.webhooks.urls import UrlRefused, check_url
from tests.webhooks.receiving import Receiver, answering, receiving
from tests.webhooks.spellings import SPELLINGS

STRICT = Guard()
TENANT = "acc_1:test"
LOOPBACK = Guard(parse_allow("127.0.0.0/8, ::1/128"))


def test_the_table_of_spellings_is_worth_its_name() -> None:
    assert len(set(SPELLINGS)) == len(SPELLINGS) >= 120


@pytest.fixture(scope="module")
async def internal() -> AsyncIterator[Receiver]:
    """What must not be reached: it listens wherever the spellings could lead."""
    async with receiving("127.0.0.1") as receiver, receiving("::1", receiver.port):
        yield receiver


@pytest.fixture(scope="module")
async def strict_egress() -> AsyncIterator[Egress]:
    async with Egress(STRICT, resolver=Naming(cycle(["127.0.0.1"])), connect_timeout_s=0.5) as egress:
        yield egress


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_forbidden_target_is_refused_however_it_is_spelled(
    spelling: str, internal: Receiver, strict_egress: Egress
) -> None:
    with pytest.raises(EgressError) as refused:
        await strict_egress.post(spelling.format(port=internal.port), b"{}", {}, tenant_id=TENANT)

    assert refused.value.code in ("bad_url", "address_refused")
    assert internal.requests == []


@pytest.mark.parametrize("text", ["\thttp://a.example/", "http://a.example/\r\nx: y", "http://a.example/\x00", "", " "])
def test_a_url_with_white_space_or_control_characters_is_refused(text: str) -> None:
    with pytest.raises(UrlRefused):
        check_url(text, STRICT)


def test_a_url_has_a_length_limit() -> None:
    start = "https://a.example/"

    check_url(start + "x" * (2048 - len(start)), STRICT)
    with pytest.raises(UrlRefused, match="longer than 2048"):
        check_url(start + "x" * (2049 - len(start)), STRICT)


@pytest.mark.parametrize(
    "text",
    [
        "https://your.app/webhooks/skutrail",
        "https://your.app:8443/a?b=c&d=%20",
        "http://bücher.example/ä",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/",
        "https://[64:ff9b::8.8.8.8]/",
        "https://a_b.example./",
        "https://1.example/",
    ],
)
def test_an_ordinary_url_is_accepted(text: str) -> None:
    check_url(text, STRICT)


@pytest.mark.parametrize("text", ["8.8.8.8", "100.63.255.255", "172.32.0.1", "192.0.1.1", "2a00:1450::1"])
def test_a_public_address_may_be_reached(text: str) -> None:
    assert STRICT.refusal(text) is None


@pytest.mark.parametrize(
    "text", ["", "a.example", "127.0.0.1 ", "1.2.3", "010.0.0.1", "::1%lo", "8.8.8.8%1", "١.1.1.1"]
)
def test_what_is_not_an_address_fails_closed(text: str) -> None:
    assert STRICT.refusal(text)


@given(st.integers(0, 2**32 - 1))
@example(int(IPv4Address("127.0.0.1")))
@example(int(IPv4Address("8.8.8.8")))
def test_a_nat64_address_is_judged_as_the_ipv4_address_it_carries(carried: int) -> None:
    nat64 = IPv6Address(int(IPv6Address("64:ff9b::")) + carried)

    for guard in (STRICT, LOOPBACK):
        assert guard.refusal(str(nat64)) == guard.refusal(str(IPv4Address(carried)))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["::ffff:0:0", "::", "::ffff:0:0:0", "64:ff9b:1::"]))
def test_every_other_way_to_carry_ipv4_is_refused_even_where_all_is_allowed(carried: int, prefix: str) -> None:
    wide_open = Guard(parse_allow("0.0.0.0/0,::/0"))
    address = IPv6Address(int(IPv6Address(prefix)) + carried)

    assert STRICT.refusal(str(address))
    assert wide_open.refusal(str(address)) or address == IPv6Address("::1")


@given(st.integers(0, 2**120 - 1))
def test_the_first_block_of_ipv6_is_refused_but_for_nat64(number: int) -> None:
    address = IPv6Address(number)

    assert STRICT.refusal(str(address)) or address in IPv6Network("64:ff9b::/96")


@given(st.integers(0, 2**112 - 1))
def test_6to4_is_refused(number: int) -> None:
    assert STRICT.refusal(str(IPv6Address((0x2002 << 112) + number)))


@given(st.integers(0, 2**128 - 1))
def test_ipv6_outside_global_unicast_is_refused(number: int) -> None:
    address = IPv6Address(number)

    assert STRICT.refusal(str(address)) or address in IPv6Network("2000::/3") or address in IPv6Network("64:ff9b::/96")


@pytest.mark.parametrize("network", [n for n in SEALED if n != ip_network("::/8")], ids=str)
def test_no_allow_list_opens_metadata(network: object) -> None:
    wide_open = Guard(parse_allow("0.0.0.0/0,::/0"))

    assert wide_open.refusal(str(network).partition("/")[0])


def test_the_allow_list_opens_what_it_names_and_nothing_else() -> None:
    guard = Guard(parse_allow("10.1.0.0/16,fd12::/16"))

    assert guard.refusal("10.1.2.3") is None
    assert guard.refusal("fd12::1") is None
    assert guard.refusal("10.2.0.1")
    assert guard.refusal("127.0.0.1")
    with pytest.raises(ValueError, match="host bits"):
        parse_allow("10.1.2.3/16")


class Naming(AbstractResolver):
    """Answers each look-up of any name with the next address, all of them in one answer where it is a list."""

    def __init__(self, answers: Iterator[str | list[str]]) -> None:
        self._answers = answers

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        answer = next(self._answers)
        hosts = [answer] if isinstance(answer, str) else answer
        return [ResolveResult(hostname=host, host=h, port=port, family=_family(h), proto=0, flags=0) for h in hosts]

    async def close(self) -> None:
        return


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def test_a_name_that_is_bound_again_after_it_was_vetted_reaches_nothing_private(internal: Receiver) -> None:
    """127.0.0.2 stands for a public address; 127.0.0.1 stays private."""
    guard = Guard(parse_allow("127.0.0.2/32"))
    refused = 0
    async with receiving("127.0.0.2", internal.port) as public:
        public.answer = answering(200, {"connection": "close"})
        async with Egress(guard, resolver=Naming(cycle(["127.0.0.2", "127.0.0.1"]))) as egress:
            for _ in range(1_000):
                try:
                    await egress.post(f"http://rebound.example:{internal.port}/", b"{}", {}, tenant_id=TENANT)
                except EgressError as error:
                    assert error.code == "address_refused"  # noqa: PT017 - half of the calls succeed
                    refused += 1

    assert (len(public.requests), refused) == (500, 500)
    assert internal.requests == []


@pytest.mark.parametrize("answers", [["127.0.0.2", "10.0.0.1"], ["10.0.0.1", "127.0.0.2"], ["127.0.0.2", "::1"]])
async def test_a_name_with_one_forbidden_answer_is_refused_as_a_whole(answers: list[str]) -> None:
    guard = Guard(parse_allow("127.0.0.2/32"))
    async with receiving("127.0.0.2") as public, Egress(guard, resolver=Naming(cycle([answers]))) as egress:
        with pytest.raises(EgressError, match="address_refused"):
            await egress.post(f"http://mixed.example:{public.port}/", b"{}", {}, tenant_id=TENANT)

    assert public.requests == []


async def test_the_dial_itself_is_guarded_whatever_let_an_address_come_so_far(internal: Receiver) -> None:
    """Behind the checks of URL and name: aiohttp asks no resolver about an address literal."""
    async with Egress(Guard(parse_allow("127.0.0.2/32"))) as egress:
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "①②⑦.0.0.1"):
            with pytest.raises(ClientConnectorError) as refused:
                await egress._session.post(f"http://{host}:{internal.port}/")
            assert isinstance(refused.value.os_error, AddressRefused)

    assert internal.requests == []


async def test_the_system_resolver_finds_a_name_and_the_guard_still_judges_its_address(internal: Receiver) -> None:
    url = f"http://localhost:{internal.port}/"

    async with Egress(Guard(parse_allow("127.0.0.0/8, ::1/128"))) as egress:
        assert (await egress.post(url, b"{}", {}, tenant_id=TENANT)).status == 204
    internal.requests.clear()
    async with Egress(Guard(parse_allow("127.0.0.2/32"))) as egress:
        with pytest.raises(EgressError, match="address_refused"):
            await egress.post(url, b"{}", {}, tenant_id=TENANT)
    assert internal.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_an_internal_target_is_not_followed(status: int, internal: Receiver) -> None:
    async with receiving() as receiver, Egress(LOOPBACK) as egress:
        receiver.answer = answering(status, {"location": internal.url})
        reply = await egress.post(receiver.url, b"{}", {}, tenant_id=TENANT)

    assert reply.status == status
    assert internal.requests == []


async def test_a_dripping_body_ends_at_the_total_timeout() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.02)

    async with receiving() as receiver, Egress(LOOPBACK, total_timeout_s=0.3) as egress:
        receiver.answer = drip
        began = time.monotonic()
        with pytest.raises(EgressError, match="timeout"):
            await egress.post(receiver.url, b"{}", {}, tenant_id=TENANT)

    assert 0.25 < time.monotonic() - began < 1.5


async def test_an_endless_body_is_read_to_the_cap_and_no_further() -> None:
    written = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(headers={"content-encoding": "gzip"})
        await response.prepare(request)
        while True:
            await response.write(b"\0" * RESPONSE_BYTES_MAX)
            written += RESPONSE_BYTES_MAX

    async with receiving() as receiver, Egress(LOOPBACK) as egress:
        receiver.answer = flood
        reply = await egress.post(receiver.url, b"{}", {}, tenant_id=TENANT)

    assert reply.status == 200
    assert written < 16 * 1024 * 1024  # what the sockets hold


async def test_the_bytes_go_out_as_they_are_and_nothing_is_carried_over_to_the_next_call(
    monkeypatch: pytest.MonkeyPatch, internal: Receiver
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{internal.port}")
    body = '{"é":  1}\n'.encode()

    async with receiving() as receiver, Egress(LOOPBACK) as egress:
        receiver.answer = answering(200, {"set-cookie": "a=b"})
        for _ in range(2):
            await egress.post(receiver.url, body, {"content-type": "application/json"}, tenant_id=TENANT)

    assert [r.body for r in receiver.requests] == [body, body]
    assert all("cookie" not in r.headers for r in receiver.requests)
    assert internal.requests == []


async def test_trouble_has_a_stable_code(internal: Receiver) -> None:
    async with receiving() as receiver:
        closed = receiver.url
    async with Egress(LOOPBACK, resolver=NoNames()) as egress:
        assert await _code(egress, closed) == "connection_failed"
        assert await _code(egress, "http://nowhere.example/") == "name_not_resolved"
        assert await _code(egress, f"https://127.0.0.1:{internal.port}/") == "tls_failed"


async def test_an_answer_that_is_not_http_is_trouble_too() -> None:
    async def junk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.7\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(junk, "127.0.0.1", 0)
    async with server, Egress(LOOPBACK) as egress:
        port = server.sockets[0].getsockname()[1]
        assert await _code(egress, f"http://127.0.0.1:{port}/") in ("invalid_response", "connection_failed")


async def test_a_certificate_must_be_trusted_and_name_the_host(tmp_path: Path) -> None:
    certificate = self_signed("hooks.example", tmp_path)
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=certificate)
    serving.load_cert_chain(certificate)
    async with receiving(tls=serving) as receiver:
        for name, tls, expected in [
            ("hooks.example", trusting, "204"),
            ("other.example", trusting, "tls_failed"),
            ("hooks.example", None, "tls_failed"),
        ]:
            async with Egress(LOOPBACK, resolver=Naming(cycle(["127.0.0.1"])), tls=tls) as egress:
                assert await _code(egress, f"https://{name}:{receiver.port}/") == expected


def self_signed(name: str, folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return path


class NoNames(Naming):
    def __init__(self) -> None:
        super().__init__(iter(()))

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")


async def _code(egress: Egress, url: str) -> str:
    """The code of the trouble, or the status of the answer."""
    try:
        return str((await egress.post(url, b"{}", {}, tenant_id=TENANT)).status)
    except EgressError as trouble:
        return trouble.code
