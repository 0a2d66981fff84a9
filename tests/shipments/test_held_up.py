"""Of many shipments one is held by somebody, or cannot be read: the others get their labels all the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from chassis.database import Database, create_engine
from chassis.errors import Fault
from services.shipments import store
from services.shipments.carriers.port import Label, Purchase
from services.shipments.domain import LabelStatus, Shipment, Status
from services.shipments.label_steps import HELD_UP
from services.shipments.one_by_one import IN_VAIN_MAX, do_for_all
from tests.shipments.carriers import ScriptedCarrier
from tests.shipments.conftest import LEASE, Shipments

_SPOIL = text("UPDATE shipment SET ship_to = jsonb_build_object('of_nobody', ship_to) WHERE id = :id")
_MEND = text("UPDATE shipment SET ship_to = ship_to -> 'of_nobody' WHERE id = :id")


def key(shipment: Shipment) -> store.ShipmentKey:
    return shipment.tenant_id, shipment.id


async def buy(shipments: Shipments, of: Sequence[Shipment]) -> dict[store.ShipmentKey, str]:
    left = await shipments.steps.labels.buy_all([key(shipment) for shipment in of])
    return {key: trouble.cause for key, trouble in left.items()}


async def statuses(shipments: Shipments, of: Sequence[Shipment]) -> list[Status]:
    return [(await shipments.read(shipment)).status for shipment in of]


@asynccontextmanager
async def held(shipments: Shipments, *some: Shipment) -> AsyncIterator[None]:
    """By a transaction that takes its time."""
    async with shipments.database.transaction() as tx:
        for shipment in some:
            await tx.execute(text("SELECT 1 FROM shipment WHERE id = :id FOR UPDATE"), {"id": shipment.id})
        yield


class AllAtOnce(ScriptedCarrier):
    """Answers when so many have asked, and not before it is let."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.missing = count
        self.all_asked = asyncio.Event()
        self.speaks = asyncio.Event()

    async def buy(self, purchase: Purchase) -> Label:
        self.missing -= 1
        if not self.missing:
            self.all_asked.set()
        await self.speaks.wait()
        return await super().buy(purchase)


async def test_labels_are_written_down_though_somebody_holds_one_of_the_shipments(shipments: Shipments) -> None:
    many = [await shipments.allocated() for _ in range(6)]
    busy, *others = sorted(many, key=key)
    shipments.carrier = carrier = AllAtOnce(len(many))

    buying = asyncio.create_task(buy(shipments, many))
    await carrier.all_asked.wait()
    async with held(shipments, busy):
        carrier.speaks.set()
        left = await buying

    assert left == {key(busy): HELD_UP.cause}
    assert await statuses(shipments, others) == [Status.LABEL_READY] * len(others)
    shipments.clock.passes(LEASE)
    assert await buy(shipments, many) == {}
    assert carrier.sold == {f"{shipment.id}-1": 1 for shipment in many}


async def test_labels_are_bought_though_somebody_holds_one_of_the_shipments(shipments: Shipments) -> None:
    many = [await shipments.allocated() for _ in range(6)]
    busy, *others = sorted(many, key=key)

    async with held(shipments, busy):
        left = await buy(shipments, many)

    assert left == {key(busy): HELD_UP.cause}
    assert await statuses(shipments, others) == [Status.LABEL_READY] * len(others)
    assert await buy(shipments, many) == {}
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1 for shipment in many}


async def test_labels_are_given_back_though_somebody_holds_one_of_the_shipments(shipments: Shipments) -> None:
    many = [await shipments.allocated() for _ in range(4)]
    await buy(shipments, many)
    for shipment in many:
        await shipments.end(shipment)
    busy, *others = sorted(many, key=key)

    async with held(shipments, busy):
        left = await shipments.steps.labels.void_all([key(shipment) for shipment in many])

    assert left == {key(busy): HELD_UP}
    labels = [(await shipments.read(shipment)).parcel(1).label_status for shipment in (busy, *others)]
    assert labels == [LabelStatus.READY, *[LabelStatus.VOIDED] * len(others)]


async def test_labels_are_bought_though_one_of_the_shipments_cannot_be_read(shipments: Shipments) -> None:
    bad, *well = [await shipments.allocated() for _ in range(5)]
    await shipments.run(lambda tx: tx.execute(_SPOIL, {"id": bad.id}))

    try:
        with pytest.raises(TypeError):
            await buy(shipments, [well[0], bad, *well[1:]])
        assert await statuses(shipments, well) == [Status.LABEL_READY] * len(well)
    finally:  # others look at this database too
        await shipments.run(lambda tx: tx.execute(_MEND, {"id": bad.id}))


async def test_a_database_that_is_away_is_told_at_once(shipments: Shipments) -> None:
    many = [await shipments.allocated() for _ in range(2)]
    away = Database(create_engine("postgresql://nobody:none@127.0.0.1:1/none"))

    with pytest.raises(Fault) as told:
        await replace(shipments.steps.labels, database=away).buy_all([key(shipment) for shipment in many])

    assert told.value.code == "unavailable"
    assert shipments.carrier.asked == []


async def test_where_several_are_held_up_the_rest_comes_again_without_being_tried(shipments: Shipments) -> None:
    tried: list[Sequence[int]] = []

    async def all_but_even(items: Sequence[int], lock_wait_ms: int | None) -> None:
        tried.append(items)
        if len(items) > 1 or items[0] % 2 == 0:
            raise Fault("unavailable", "Busy.")

    undone = await do_for_all(all_but_even, range(1, 10), shipments.database)

    assert (list(undone.held_up), undone.broken) == ([2, 4, 5, 6, 7, 8, 9], [])
    assert len(tried) == 1 + 2 * IN_VAIN_MAX


async def test_one_that_is_broken_stops_nobody(shipments: Shipments) -> None:
    done: list[int] = []

    async def none_but_odd(items: Sequence[int], lock_wait_ms: int | None) -> None:
        if len(items) > 1 or items[0] % 2 == 0:
            raise ValueError
        done.extend(items)

    undone = await do_for_all(none_but_odd, range(1, 10), shipments.database)

    assert done == [1, 3, 5, 7, 9]
    assert (list(undone.held_up), len(undone.broken)) == ([], 4)
