"""How a shipment ends: inventory judges between cancel, dispatch and expiry, and everybody hears the truth."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from chassis import rpc
from chassis.clock import utc_now
from chassis.errors import Fault
from chassis.ids import new_id
from services.shipments import operations
from services.shipments.domain import Line, Policy, Shipment, Status
from skutrail.v1 import common_pb2, events_pb2, inventory_pb2, shipments_pb2, shipments_pb2_grpc
from tests.shipments.conftest import Shipments, eventually, warm_up

Stub = shipments_pb2_grpc.ShipmentsStub
Reply = shipments_pb2.ShipmentReply
Ask = Callable[[Stub, Shipment], Awaitable[Reply]]

CANCELED, SHIPPED = shipments_pb2.SHIPMENT_STATUS_CANCELED, shipments_pb2.SHIPMENT_STATUS_SHIPPED
RACES = 6


def cancel(stub: Stub, shipment: Shipment, key: str | None = None) -> Awaitable[Reply]:
    request = shipments_pb2.CancelShipmentRequest(tenant_id=shipment.tenant_id, idempotency=_key(key), id=shipment.id)
    return rpc.call(stub.CancelShipment, request, timeout_s=10.0)


def dispatch(stub: Stub, shipment: Shipment, key: str | None = None) -> Awaitable[Reply]:
    request = shipments_pb2.DispatchShipmentRequest(tenant_id=shipment.tenant_id, idempotency=_key(key), id=shipment.id)
    return rpc.call(stub.DispatchShipment, request, timeout_s=10.0)


ASKED_AT_ONCE: Sequence[Ask] = (cancel, dispatch) * 3


def batched(answers: Sequence[object], size: int) -> list[Sequence[object]]:
    return [answers[start : start + size] for start in range(0, len(answers), size)]


async def refusal(answer: Awaitable[Reply]) -> tuple[str, object]:
    with pytest.raises(Fault) as refused:
        await answer
    return refused.value.code, refused.value.facts.get("current_status")


async def in_status(shipments: Shipments, status: Status) -> Shipment:
    """By the real inventory."""
    if status is Status.QUEUED:
        return await shipments.create(Line("SKU-1", 2))
    if status is Status.BACKORDERED:
        shipment = await shipments.create(Line("SKU-1", 2))
        await shipments.steps.allocate(shipments.tenant_id, shipment.id)
        return await shipments.read(shipment)
    if status is Status.ALLOCATED:
        await shipments.receive(2)
        return await in_status(shipments, Status.BACKORDERED)
    return await shipments.ready()


async def balance(shipments: Shipments) -> int:
    wanted = inventory_pb2.GetBalanceRequest(tenant_id=shipments.tenant_id, sku="SKU-1", warehouse="SEA-1")
    return (await rpc.call(shipments.inventory.GetBalance, wanted)).balance


@pytest.mark.parametrize("status", [Status.QUEUED, Status.BACKORDERED, Status.ALLOCATED, Status.LABEL_READY])
async def test_what_has_not_left_can_be_canceled_and_holds_nothing_then(
    shipments: Shipments, stub: Stub, status: Status
) -> None:
    shipment = await in_status(shipments, status)
    assert shipment.status is status

    reply = await cancel(stub, shipment)

    assert reply.shipment.status == CANCELED
    assert list(reply.shipment.allocations) == []
    assert not reply.shipment.HasField("error")
    assert (await shipments.event_types(shipment))[-1] == "shipment.canceled"
    allocation = await shipments.allocation_of(shipment)
    assert (allocation.status, list(allocation.held)) == (inventory_pb2.ALLOCATION_STATUS_RELEASED, [])


async def test_a_canceled_shipment_gets_no_stock_that_comes_later(shipments: Shipments, stub: Stub) -> None:
    shipment = await in_status(shipments, Status.BACKORDERED)
    await cancel(stub, shipment)

    await shipments.receive(2)
    other = await shipments.ready()

    assert other.status is Status.LABEL_READY
    await shipments.steps.allocate(shipments.tenant_id, shipment.id)
    assert (await shipments.read(shipment)).status is Status.CANCELED


async def test_what_was_picked_by_the_ledger_can_be_canceled_all_the_same(shipments: Shipments, stub: Stub) -> None:
    shipment = await shipments.ready()
    await shipments.pick(2, shipment)

    assert (await cancel(stub, shipment)).shipment.status == CANCELED
    assert await balance(shipments) == 0


async def test_a_shipment_with_its_labels_leaves_and_takes_its_stock_along(shipments: Shipments, stub: Stub) -> None:
    shipment = await shipments.ready()

    reply = await dispatch(stub, shipment)

    assert reply.shipment.status == SHIPPED
    assert [(line.warehouse, line.qty) for line in reply.shipment.allocations] == [("SEA-1", 2)]
    assert reply.shipment.label_url
    assert await balance(shipments) == 0
    assert (await shipments.event_types(shipment))[-1] == "shipment.shipped"


@pytest.mark.parametrize("status", [Status.QUEUED, Status.BACKORDERED, Status.ALLOCATED])
async def test_a_shipment_without_its_labels_stays(shipments: Shipments, stub: Stub, status: Status) -> None:
    shipment = await in_status(shipments, status)

    assert await refusal(dispatch(stub, shipment)) == ("invalid_state", status.value)

    assert await shipments.read(shipment) == shipment


async def test_stock_that_has_moved_unheard_does_not_leave_under_a_label_of_elsewhere(
    shipments: Shipments, stub: Stub
) -> None:
    shipment = await shipments.ready()
    # It is lost where its label is for, and there is other stock in another warehouse: inventory holds that for it.
    await shipments.record(-2, inventory_pb2.REASON_ADJUSTMENT)
    await shipments.receive(2, warehouse="PDX-1")
    await eventually(
        lambda: shipments.allocation_of(shipment),
        lambda allocation: [line.warehouse for line in allocation.held] == ["PDX-1"],
    )

    assert await refusal(dispatch(stub, shipment)) == ("invalid_state", "allocated")
    assert [line.warehouse for line in (await shipments.read(shipment)).allocations] == ["PDX-1"]

    moved = await shipments.read(shipment)
    await shipments.buy(moved)
    assert (await dispatch(stub, moved)).shipment.status == SHIPPED


async def test_what_was_picked_by_the_ledger_leaves_with_its_labels(shipments: Shipments, stub: Stub) -> None:
    shipment = await shipments.ready()
    await shipments.pick(2, shipment)

    assert (await dispatch(stub, shipment)).shipment.status == SHIPPED
    assert await balance(shipments) == 0


async def test_both_are_idempotent_under_any_key(shipments: Shipments, stub: Stub) -> None:
    leaving, ending = await shipments.ready(), await shipments.ready()

    first = [await dispatch(stub, leaving, "key-1"), await cancel(stub, ending, "key-2")]
    again = [await dispatch(stub, leaving, "key-1"), await cancel(stub, ending, "key-2")]
    anew = [await dispatch(stub, leaving), await cancel(stub, ending)]

    assert [reply.replayed for reply in first + again + anew] == [False, False, True, True, False, False]
    assert [reply.shipment for reply in again] == [reply.shipment for reply in first]
    assert [reply.shipment.version for reply in anew] == [reply.shipment.version for reply in first]
    assert (await shipments.event_types(leaving)).count("shipment.shipped") == 1
    assert (await shipments.event_types(ending)).count("shipment.canceled") == 1


async def test_what_has_left_is_not_canceled_and_what_was_canceled_does_not_leave(
    shipments: Shipments, stub: Stub
) -> None:
    left, canceled = await shipments.ready(), await shipments.ready()
    await dispatch(stub, left)
    await cancel(stub, canceled)

    assert await refusal(cancel(stub, left, "key-1")) == ("invalid_state", "shipped")
    assert await refusal(dispatch(stub, canceled, "key-2")) == ("invalid_state", "canceled")

    # A refusal stays one.
    assert await refusal(cancel(stub, left, "key-1")) == ("invalid_state", "shipped")
    assert (await shipments.read(left)).cancel_asked_at is None


async def test_what_was_delivered_was_dispatched(shipments: Shipments, stub: Stub) -> None:
    shipment = await shipments.ready()
    await dispatch(stub, shipment)
    await shipments.pipelined(
        lambda p: operations.deliver(
            p, (shipments.tenant_id, shipment.id), announcer=shipments.steps.announcer, now=shipments.clock()
        )
    )

    assert (await dispatch(stub, shipment)).shipment.status == shipments_pb2.SHIPMENT_STATUS_DELIVERED
    assert await refusal(cancel(stub, shipment)) == ("invalid_state", "delivered")


async def test_a_shipment_that_is_not_there_is_not_found_whoever_asks(shipments: Shipments, stub: Stub) -> None:
    shipment = await shipments.ready()
    foreign = shipments_pb2.CancelShipmentRequest(tenant_id="tenant_else", idempotency=_key(None), id=shipment.id)

    with pytest.raises(Fault) as refused:
        await rpc.call(stub.CancelShipment, foreign)

    assert refused.value.code == "not_found"
    assert await shipments.read(shipment) == shipment


async def test_of_cancels_and_dispatches_at_once_one_wins_and_all_are_told_the_truth(
    shipments: Shipments, stub: Stub
) -> None:
    racing = [await shipments.ready() for _ in range(RACES)]
    await warm_up(shipments.database, connections=8)
    barrier = asyncio.Barrier(RACES * len(ASKED_AT_ONCE))

    async def at_once(ask: Ask, shipment: Shipment) -> object:
        await barrier.wait()
        while True:
            try:
                return (await ask(stub, shipment)).shipment.status
            except Fault as fault:
                if fault.code != "unavailable":  # a machine under load may be too slow: then they ask again
                    return fault.code, fault.facts["current_status"]

    answers = await asyncio.gather(*(at_once(ask, shipment) for shipment in racing for ask in ASKED_AT_ONCE))

    shipped = 0
    for shipment, told in zip(racing, batched(answers, len(ASKED_AT_ONCE)), strict=True):
        ended = await shipments.read(shipment)
        assert set(told[::2]) == ({CANCELED} if ended.status is Status.CANCELED else {("invalid_state", "shipped")})
        assert set(told[1::2]) == ({SHIPPED} if ended.status is Status.SHIPPED else {("invalid_state", "canceled")})
        assert ended.cancel_asked_at is None
        assert (await shipments.event_types(shipment))[3:] == [f"shipment.{ended.status}"]
        shipped += ended.status is Status.SHIPPED
    assert await balance(shipments) == 2 * (RACES - shipped)


async def test_news_of_the_release_that_comes_before_the_answer_cancels(shipments: Shipments) -> None:
    shipment = await shipments.ready()
    await shipments.pipelined(lambda p: operations.ask_cancel(p, (shipments.tenant_id, shipment.id), shipments.clock()))
    released = await rpc.call(
        shipments.inventory.Release,
        inventory_pb2.ReleaseRequest(tenant_id=shipments.tenant_id, request_id=shipment.id),
    )

    await shipments.deliver(
        events_pb2.Event(type="allocation.changed", tenant_id=shipments.tenant_id, allocation=released)
    )
    await shipments.cancel(shipment)

    assert (await shipments.read(shipment)).status is Status.CANCELED
    assert (await shipments.event_types(shipment)).count("shipment.canceled") == 1


async def test_a_hold_that_expires_fails_the_shipment_and_neither_leaves_nor_is_canceled(
    shipments: Shipments, stub: Stub
) -> None:
    await shipments.receive(2)
    shipments.clock.now = utc_now()
    shipment = await shipments.create(Line("SKU-1", 2), hold_expires_at=utc_now() + timedelta(seconds=1))
    await shipments.steps.allocate(shipments.tenant_id, shipment.id)
    await shipments.buy(shipment)

    expired = inventory_pb2.ALLOCATION_STATUS_EXPIRED
    await eventually(lambda: shipments.allocation_of(shipment), lambda allocation: allocation.status == expired)

    assert await refusal(dispatch(stub, shipment)) == ("invalid_state", "failed")
    assert await refusal(cancel(stub, shipment)) == ("invalid_state", "failed")
    failed = await shipments.read(shipment)
    assert failed.error is not None
    assert failed.error.code == "hold_expired"


async def test_partial_stock_is_shown_as_it_comes_and_the_whole_is_labeled(shipments: Shipments) -> None:
    await shipments.receive(1)
    shipment = await shipments.create(Line("SKU-1", 3), policy=Policy.PARTIAL)

    async def allocations() -> list[tuple[str, int]]:
        await shipments.steps.allocate(shipments.tenant_id, shipment.id)
        return [(line.warehouse, line.qty) for line in (await shipments.read(shipment)).allocations]

    assert await allocations() == [("SEA-1", 1)]
    assert (await shipments.read(shipment)).status is Status.BACKORDERED
    await shipments.receive(1, warehouse="PDX-1")
    await eventually(allocations, lambda held: sum(qty for _, qty in held) == 2)
    await shipments.receive(1, warehouse="PDX-1")
    await eventually(allocations, lambda held: sum(qty for _, qty in held) == 3)
    await shipments.buy(shipment)

    types = await shipments.event_types(shipment)
    assert types == [
        "shipment.created",
        "shipment.backordered",
        "shipment.backordered",
        "shipment.allocated",
        "shipment.label_ready",
    ]


def _key(key: str | None) -> common_pb2.IdempotencyKey:
    return common_pb2.IdempotencyKey(key=key or new_id("key"), fingerprint=b"f")
