"""Keys of writes that other services own: reserved many at a time, each for itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from chassis import idempotency, rpc
from chassis.errors import Fault
from chassis.idempotency import Claim
from services.inventory.registrar import Registrar, Reserved
from skutrail.v1 import common_pb2, inventory_pb2, inventory_pb2_grpc
from tests.inventory.conftest import Inventory
from tests.inventory.test_ledger import code


@pytest.fixture
async def registrar(inventory: Inventory) -> AsyncIterator[Registrar]:
    registrar = Registrar(inventory.database, inventory.clock)
    running = asyncio.create_task(registrar.run())
    yield registrar
    registrar.stop()
    await running


def words(told: Sequence[Reserved | Fault]) -> list[str]:
    return [one.code if isinstance(one, Fault) else "reserved" for one in told]


async def reserve(registrar: Registrar, *claims: Claim) -> list[str]:
    """What each is told that is asked for at once, each in a call of its own."""
    calls = await asyncio.gather(*(registrar.reserve([claim]) for claim in claims))
    return words([one for [one] in calls])


async def test_a_key_reserved_for_another_operation_is_not_the_ledgers(
    inventory: Inventory, registrar: Registrar
) -> None:
    reserved = Claim(inventory.tenant_id, "k", b"elsewhere")
    for _ in range(2):
        assert await reserve(registrar, reserved) == ["reserved"]

    assert code(await inventory.move(1, key="k")) == "idempotency_key_reused"
    await inventory.database.run(lambda tx: idempotency.free(tx, reserved))
    assert code(await inventory.move(1, key="k")) == "ok"

    assert await reserve(registrar, reserved) == ["idempotency_key_reused"]
    await inventory.database.run(lambda tx: idempotency.free(tx, reserved))
    assert (await inventory.move(1, key="k")).replayed


async def test_keys_that_are_asked_for_together_are_reserved_each_for_itself(
    inventory: Inventory, registrar: Registrar
) -> None:
    taken, free = Claim(inventory.tenant_id, "a", b"first"), Claim(inventory.tenant_id, "b", b"f")
    other = Claim(inventory.tenant_id, "a", b"other")

    told = words(await registrar.reserve([taken, other, taken, free]))

    assert told == ["reserved", "idempotency_key_reused", "reserved", "reserved"]
    assert await reserve(registrar, other, free) == ["idempotency_key_reused", "reserved"]


async def test_a_key_that_runs_elsewhere_fails_none_of_its_neighbours(
    inventory: Inventory, registrar: Registrar
) -> None:
    one, busy, two = (Claim(inventory.tenant_id, key, b"f") for key in ("a", "b", "c"))

    async with inventory.database.transaction() as tx:
        await idempotency.claim(tx, busy, inventory.clock())
        told = await reserve(registrar, one, busy, two)

    assert told == ["reserved", "idempotency_key_in_use", "reserved"]


async def test_a_reservation_without_a_key_fails_none_of_its_neighbours(
    inventory: Inventory, stub: inventory_pb2_grpc.InventoryStub
) -> None:
    keys = [common_pb2.IdempotencyKey(key=key, fingerprint=b"f") for key in ("a", "", "b")]
    wanted = [inventory_pb2.KeyReservation(tenant_id=inventory.tenant_id, idempotency=key) for key in keys]

    reply = await rpc.call(stub.ReserveKeys, inventory_pb2.ReserveKeysRequest(reservations=wanted))

    assert [one.refusal.code for one in reply.outcomes] == ["", "validation_failed", ""]
    assert code(await inventory.move(1, key="b", fingerprint=b"other")) == "idempotency_key_reused"


async def test_a_key_whose_time_is_over_is_reserved_anew(inventory: Inventory, registrar: Registrar) -> None:
    assert await reserve(registrar, Claim(inventory.tenant_id, "k", b"first")) == ["reserved"]
    inventory.ahead = idempotency.RETENTION + timedelta(seconds=1)

    assert await reserve(registrar, Claim(inventory.tenant_id, "k", b"other")) == ["reserved"]


async def test_a_key_that_is_reserved_again_stays_reserved_from_then_on(
    inventory: Inventory, registrar: Registrar
) -> None:
    """The write was refused for the moment, and its repetition is done in the last hour of the reservation."""
    reserved = Claim(inventory.tenant_id, "k", b"elsewhere")
    await reserve(registrar, reserved)
    inventory.ahead = idempotency.RETENTION - timedelta(hours=1)
    other = Claim(inventory.tenant_id, "other", b"f")
    assert await reserve(registrar, reserved, other, reserved) == ["reserved"] * 3

    inventory.ahead += timedelta(hours=24)
    assert code(await inventory.move(1, key="k")) == "idempotency_key_reused"
    inventory.ahead += idempotency.RETENTION
    assert code(await inventory.move(1, key="k")) == "ok"


async def test_an_answer_is_not_kept_longer_because_its_key_is_asked_for_again(
    inventory: Inventory, registrar: Registrar
) -> None:
    await inventory.move(1, key="k")
    recorded = await inventory.ask("SELECT expires_at FROM idempotency_key WHERE tenant_id = :tenant")
    inventory.ahead = idempotency.RETENTION - timedelta(hours=1)

    assert await reserve(registrar, Claim(inventory.tenant_id, "k", b"f")) == ["reserved"]
    assert await inventory.ask("SELECT expires_at FROM idempotency_key WHERE tenant_id = :tenant") == recorded
