"""A look-up cannot be cancelled: names that hang cost their own tenant its turns, and nobody an attempt."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from services.webhooks import names
from services.webhooks.domain import POSTPONED_BY
from services.webhooks.egress import CONNECTIONS_MAX, Egress, EgressError, NotAttempted
from services.webhooks.names import LOOK_UPS_PER_TENANT_MAX
from tests.webhooks.building import an_event
from tests.webhooks.house import LOOPBACK, House
from tests.webhooks.receiving import Receiver, receiving

SLOW, GOOD = "acc_1:test", "acc_2:live"
look_up_for_real = socket.getaddrinfo


@dataclass
class Nameserver:
    """Every name under .example is 127.0.0.1; one that begins with `slow` is told only when the server wakes."""

    asked: list[str] = field(default_factory=list)
    awake: threading.Event = field(default_factory=threading.Event)

    def getaddrinfo(self, host: str, *arguments: object, **options: object) -> object:
        if not str(host).endswith(".example"):
            return look_up_for_real(host, *arguments, **options)  # type: ignore[arg-type]
        self.asked.append(host)
        if host.startswith("slow"):
            self.awake.wait(30)
        return look_up_for_real("127.0.0.1", *arguments, **options)  # type: ignore[arg-type]


@pytest.fixture
def nameserver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nameserver]:
    nameserver = Nameserver()
    monkeypatch.setattr(socket, "getaddrinfo", nameserver.getaddrinfo)
    monkeypatch.setattr(names, "TURN_TIMEOUT_S", 0.2)
    yield nameserver
    nameserver.awake.set()


@pytest.fixture
async def egress(nameserver: Nameserver) -> AsyncIterator[Egress]:
    async with Egress(LOOPBACK, connect_timeout_s=0.4) as egress:
        yield egress


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def post(egress: Egress, host: str, receiver: Receiver, tenant_id: str) -> str:
    """The status of the answer, or the code of the trouble."""
    try:
        reply = await egress.post(f"http://{host}.example:{receiver.port}/", b"{}", {}, tenant_id=tenant_id)
    except EgressError as trouble:
        assert isinstance(trouble, NotAttempted) == (trouble.code == "no_resolver")  # noqa: PT017
        return trouble.code
    return str(reply.status)


async def test_a_tenant_whose_names_hang_holds_up_nobody_else(
    egress: Egress, nameserver: Nameserver, receiver: Receiver
) -> None:
    slow = [post(egress, f"slow{number}", receiver, SLOW) for number in range(CONNECTIONS_MAX)]
    answers = await asyncio.gather(*slow)

    assert await post(egress, "good", receiver, GOOD) == "204"
    assert set(answers) == {"no_resolver", "timeout"}
    # One that begins late, on a slow machine, may find that another has given up.
    assert LOOK_UPS_PER_TENANT_MAX <= answers.count("timeout") <= 2 * LOOK_UPS_PER_TENANT_MAX


async def test_a_look_up_is_counted_until_it_ends_though_its_attempt_gave_up(
    egress: Egress, nameserver: Nameserver, receiver: Receiver
) -> None:
    given_up = [post(egress, f"slow{number}", receiver, SLOW) for number in range(LOOK_UPS_PER_TENANT_MAX)]
    assert set(await asyncio.gather(*given_up)) == {"timeout"}
    assert await post(egress, "mine", receiver, SLOW) == "no_resolver"

    nameserver.awake.set()

    assert await post(egress, "mine", receiver, SLOW) == "204"


async def test_one_slow_name_costs_its_tenant_one_turn_and_another_tenant_asks_anew(
    egress: Egress, nameserver: Nameserver, receiver: Receiver
) -> None:
    same = [post(egress, "slow", receiver, SLOW) for _ in range(LOOK_UPS_PER_TENANT_MAX * 2)]
    assert set(await asyncio.gather(*same)) == {"timeout"}

    assert await post(egress, "quick", receiver, SLOW) == "204"
    assert await post(egress, "slow", receiver, GOOD) == "timeout"
    assert nameserver.asked == ["slow.example", "quick.example", "slow.example"]


async def test_an_attempt_that_got_no_resolver_is_not_spent(
    house: House, egress: Egress, nameserver: Nameserver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LOOK_UPS_MAX", 1)
    sender = house.make_sender(egress=egress, jitter=0.5)
    await house.subscribe(f"http://good.example:{receiver.port}/", tenant_id=GOOD)
    await house.announce(an_event(tenant_id=GOOD))
    assert await post(egress, "slow", receiver, SLOW) == "timeout"

    await sender.send_due()
    await sender.finish()

    due = house.clock() + POSTPONED_BY * 1.1
    assert await house.rows("SELECT status, attempts_made, claim, due_at FROM delivery") == [("pending", 0, None, due)]
    assert await house.rows("SELECT count(*) FROM attempt") == [(0,)]
    nameserver.awake.set()
    house.clock.advance(POSTPONED_BY * 1.1 + timedelta(milliseconds=1))
    await sender.send_due()
    await sender.finish()
    assert await house.rows("SELECT status, attempts_made FROM delivery") == [("delivered", 1)]
