"""Labels of many shipments at once: each as if it were alone, whatever becomes of its neighbours."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest

from chassis.consumer import SomeLater
from services.shipments import listener, topology
from services.shipments.carriers.port import CarrierRefused, CarrierUnavailable, Label, OutcomeUnknown, Purchase
from services.shipments.domain import LabelStatus, Shipment, Status, StockStatus
from services.shipments.label_steps import AT_ONCE_MAX, BEGIN_WITHIN_S, Left
from services.shipments.store import ShipmentKey
from services.shipments.stragglers import STRAGGLERS_MAX, Stragglers
from skutrail.v1 import events_pb2
from tests.shipments.carriers import ScriptedCarrier
from tests.shipments.conftest import LEASE, Shipments, eventually, warm_up

REFUSED = CarrierRefused("address_rejected", "No such street.")
DOWN = CarrierUnavailable("down")
LOST = OutcomeUnknown("reset")

Causes = Mapping[ShipmentKey, str]
"""Of the shipments that must be taken up again."""


def key(shipment: Shipment) -> tuple[str, str]:
    return shipment.tenant_id, shipment.id


async def allocated(shipments: Shipments, count: int, *warehouses: str) -> list[Shipment]:
    return [await shipments.allocated(*warehouses) for _ in range(count)]


async def buy(shipments: Shipments, of: Sequence[Shipment]) -> Causes:
    return causes(await shipments.steps.labels.buy_all([key(shipment) for shipment in of]))


async def void(shipments: Shipments, of: Sequence[Shipment]) -> Causes:
    return causes(await shipments.steps.labels.void_all([key(shipment) for shipment in of]))


def causes(left: Left) -> Causes:
    return {key: trouble.cause for key, trouble in left.items()}


async def statuses(shipments: Shipments, of: Sequence[Shipment]) -> list[Status]:
    return [(await shipments.read(shipment)).status for shipment in of]


class Busy(ScriptedCarrier):
    """Does not answer for some parcels; counts how many are asked for at once."""

    silent_for: frozenset[str] = frozenset()
    at_once = at_once_max = 0

    def __init__(self) -> None:
        super().__init__()
        self.speaks = asyncio.Event()

    async def buy(self, purchase: Purchase) -> Label:
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            if purchase.reference in self.silent_for:
                await self.speaks.wait()
            await asyncio.sleep(0)
            return await super().buy(purchase)
        finally:
            self.at_once -= 1


async def test_each_of_many_ends_as_it_would_alone(shipments: Shipments) -> None:
    well, refused, down, lost, broken, leased, silent = await allocated(shipments, 7)
    shipments.carrier = carrier = Busy()
    carrier.answers_within = timedelta(milliseconds=300)
    carrier.silent_for = frozenset({f"{silent.id}-1"})
    causes = {refused: REFUSED, down: DOWN, lost: LOST, broken: ValueError("a defect of the adapter")}
    carrier.faults = {f"{shipment.id}-1": cause for shipment, cause in causes.items()}
    await shipments.begin(leased)

    left = await buy(shipments, [leased, lost, refused, silent, well, broken, down])

    assert left == {
        key(leased): "somebody is at the label",
        key(down): "carrier_unavailable",
        **dict.fromkeys([key(lost), key(broken), key(silent)], "carrier_outcome_unknown"),
    }
    assert await statuses(shipments, [well, refused]) == [Status.LABEL_READY, Status.FAILED]
    assert await statuses(shipments, [down, lost, broken, leased, silent]) == [Status.ALLOCATED] * 5
    assert carrier.sold == {f"{well.id}-1": 1}
    assert await shipments.event_types(refused) == ["shipment.created", "shipment.allocated", "shipment.failed"]


async def test_every_parcel_of_many_shipments_is_sold_once_and_so_many_at_once(shipments: Shipments) -> None:
    shipments.carrier = carrier = Busy()
    many = await allocated(shipments, AT_ONCE_MAX + 4, "SEA-1", "PDX-1")

    assert await buy(shipments, [*many, *many]) == {}

    assert await statuses(shipments, many) == [Status.LABEL_READY] * len(many)
    assert carrier.sold == {f"{shipment.id}-{number}": 1 for shipment in many for number in (1, 2)}
    assert 1 < carrier.at_once_max <= AT_ONCE_MAX
    for shipment in many:
        *_, event = await shipments.events(shipment)
        assert event.type == "shipment.label_ready"
        assert [p.tracking_number for p in event.shipment.parcels] == [f"T-{shipment.id}-{n}-1" for n in (1, 2)]


async def test_whoever_has_an_answer_does_not_wait_for_who_has_none(shipments: Shipments) -> None:
    silent, *quick = await allocated(shipments, AT_ONCE_MAX + 4)
    shipments.carrier = carrier = Busy()
    carrier.answers_within = timedelta(minutes=1)
    carrier.silent_for = frozenset({f"{silent.id}-1"})

    buying = asyncio.create_task(buy(shipments, [silent, *quick]))
    ready = await eventually(lambda: statuses(shipments, quick), lambda all_: set(all_) == {Status.LABEL_READY})
    is_still_buying = not buying.done()
    buying.cancel()
    await asyncio.wait([buying])

    assert ready
    assert is_still_buying
    assert carrier.at_once == 0


@asynccontextmanager
async def taking_stragglers(shipments: Shipments, at_most: int = STRAGGLERS_MAX) -> AsyncIterator[asyncio.Task[None]]:
    """With room for whom the carrier lets wait; cut off at the end."""
    shipments.late_purchases, shipments.late_voids = Stragglers("purchases", at_most), Stragglers("voids", at_most)
    running = asyncio.create_task(shipments.late_purchases.run())
    running_voids = asyncio.create_task(shipments.late_voids.run())
    try:
        yield running
    finally:
        running.cancel()
        running_voids.cancel()
        await asyncio.wait([running, running_voids])


async def test_one_whom_the_carrier_lets_wait_is_seen_through_while_nobody_waits_for_it(shipments: Shipments) -> None:
    silent, *quick = await allocated(shipments, AT_ONCE_MAX)
    shipments.carrier = carrier = Busy()
    carrier.answers_within = timedelta(minutes=1)
    carrier.silent_for = frozenset({f"{silent.id}-1"})

    async with taking_stragglers(shipments):
        left = await buy(shipments, [silent, *quick])
        is_still_asked = carrier.at_once == 1
        again = await buy(shipments, [silent])
        carrier.speaks.set()
        await eventually(lambda: shipments.read(silent), lambda shipment: shipment.status is Status.LABEL_READY)

    assert is_still_asked
    assert left == {key(silent): "the carrier takes its time"}
    assert again == {key(silent): "somebody is at the label"}
    assert await statuses(shipments, quick) == [Status.LABEL_READY] * len(quick)
    assert set(carrier.sold.values()) == {1}


async def test_whoever_was_let_wait_goes_on_to_the_next_label(shipments: Shipments) -> None:
    [shipment] = await allocated(shipments, 1, "SEA-1", "PDX-1")
    shipments.carrier = carrier = Busy()
    carrier.answers_within = timedelta(minutes=1)
    carrier.silent_for = frozenset({f"{shipment.id}-1"})

    async with taking_stragglers(shipments):
        assert await buy(shipments, [shipment]) == {key(shipment): "the carrier takes its time"}
        carrier.speaks.set()
        await eventually(lambda: shipments.read(shipment), lambda read: read.status is Status.LABEL_READY)

    assert carrier.sold == {f"{shipment.id}-{number}": 1 for number in (1, 2)}


async def test_only_so_many_are_let_go_and_the_others_waited_for(shipments: Shipments) -> None:
    many = await allocated(shipments, 3)
    shipments.carrier = carrier = Busy()
    carrier.silent_for = frozenset({f"{shipment.id}-1" for shipment in many})

    async with taking_stragglers(shipments, at_most=1):
        left = await buy(shipments, many)

    assert Counter(left.values()) == {"the carrier takes its time": 1, "carrier_outcome_unknown": 2}


async def test_labels_that_are_slowly_taken_back_take_no_purchases_place(shipments: Shipments) -> None:
    bought, silent = await allocated(shipments, 2)
    await buy(shipments, [bought])
    await shipments.end(bought)
    shipments.carrier = carrier = Busy()
    carrier.answers_within = timedelta(minutes=1)
    carrier.void_gate = asyncio.Event()
    carrier.silent_for = frozenset({f"{silent.id}-1"})

    async with taking_stragglers(shipments, at_most=1), asyncio.timeout(10):
        assert await void(shipments, [bought]) == {key(bought): "the carrier takes its time"}
        assert await buy(shipments, [silent]) == {key(silent): "the carrier takes its time"}


async def test_who_is_let_wait_when_the_process_stops_is_written_down_before_it_ends(shipments: Shipments) -> None:
    first, second = await allocated(shipments, 2)
    shipments.carrier = carrier = Busy()
    carrier.answers_within = timedelta(minutes=1)
    carrier.silent_for = frozenset({f"{first.id}-1"})

    async with taking_stragglers(shipments) as running:
        await buy(shipments, [first])
        shipments.late_purchases.stop()
        assert await buy(shipments, [second]) == {}
        assert not running.done()
        carrier.speaks.set()
        await running

    assert await statuses(shipments, [first, second]) == [Status.LABEL_READY] * 2


async def test_who_is_let_wait_is_given_up_with_the_process_and_taken_up_again(shipments: Shipments) -> None:
    [shipment] = await allocated(shipments, 1)
    shipments.carrier = carrier = Busy()
    carrier.answers_within = timedelta(minutes=1)
    carrier.silent_for = frozenset({f"{shipment.id}-1"})
    async with taking_stragglers(shipments):
        await buy(shipments, [shipment])

    assert carrier.at_once == 0
    carrier.silent_for = frozenset()
    shipments.clock.passes(carrier.answers_within + LEASE)
    assert await buy(shipments, [shipment]) == {}
    assert carrier.sold == {f"{shipment.id}-1": 1}


async def test_a_shipment_of_more_labels_than_fit_in_one_go_comes_again_without_delay(shipments: Shipments) -> None:
    class Slow(ScriptedCarrier):
        async def buy(self, purchase: Purchase) -> Label:
            await asyncio.sleep(BEGIN_WITHIN_S / 4)
            return await super().buy(purchase)

    shipments.carrier = Slow()
    [shipment] = await allocated(shipments, 1, "SEA-1", "PDX-1", "AUS-1", "BOS-1", "JFK-1", "LAX-1")
    [*_, event] = await shipments.events(shipment)

    with pytest.raises(SomeLater) as later:
        await listener.together(shipments.steps)[topology.LABEL_STEPS]([event])
    await listener.together(shipments.steps)[topology.LABEL_STEPS]([event])

    [trouble] = later.value.troubles.values()
    assert trouble.waits_s(deliveries=20) <= 0.1
    assert await statuses(shipments, [shipment]) == [Status.LABEL_READY]


async def test_what_cannot_be_written_down_undoes_no_other(shipments: Shipments) -> None:
    bad, *well = await allocated(shipments, 5)

    class Careless(ScriptedCarrier):
        async def buy(self, purchase: Purchase) -> Label:
            label = await super().buy(purchase)
            is_bad = purchase.reference == f"{bad.id}-1"
            return Label(label.tracking_number, label.content, label.carrier, "\0") if is_bad else label

    shipments.carrier = Careless()
    with pytest.raises(psycopg.DataError):
        await buy(shipments, [well[0], bad, *well[1:]])

    assert await statuses(shipments, well) == [Status.LABEL_READY] * len(well)
    assert (await shipments.read(bad)).parcel(1).label_status is LabelStatus.PURCHASING


async def test_takers_of_overlapping_many_sell_each_parcel_once(shipments: Shipments) -> None:
    many = await allocated(shipments, 8, "SEA-1", "PDX-1")
    await warm_up(shipments.database, connections=4)

    overlapping = [many[:6], many[2:], many[::-1], many[::2]]
    await asyncio.gather(*(buy(shipments, some) for some in overlapping))
    shipments.clock.passes(LEASE)
    assert await buy(shipments, many) == {}

    assert await statuses(shipments, many) == [Status.LABEL_READY] * len(many)
    assert shipments.carrier.sold == {f"{shipment.id}-{number}": 1 for shipment in many for number in (1, 2)}


async def test_a_kill_in_the_middle_of_many_sells_nothing_twice(shipments: Shipments) -> None:
    many = await allocated(shipments, 6)
    tasks = [await shipments.begin(shipment) for shipment in many]
    for task in tasks[:3]:  # the carrier heard of these
        shipments.carrier.sell(shipments.steps.labels.purchase_of(task))
    assert set(await buy(shipments, many)) == {key(shipment) for shipment in many}

    shipments.clock.passes(LEASE)
    assert await buy(shipments, many) == {}

    assert await statuses(shipments, many) == [Status.LABEL_READY] * len(many)
    assert shipments.carrier.sold == {f"{shipment.id}-1": 1 for shipment in many}
    assert {p.attempt_key for p in shipments.carrier.asked} == {task.try_id for task in tasks[3:]}


async def test_many_labels_are_given_back_each_as_if_alone(shipments: Shipments) -> None:
    well, leased, unsold, *refused_or_down = many = await allocated(shipments, 5)
    await buy(shipments, [well, leased, *refused_or_down])
    await shipments.begin(unsold)
    shipments.clock.passes(LEASE)
    for shipment in many:
        await shipments.end(shipment)
    await shipments.begin_void(leased)
    shipments.carrier.void_script = [CarrierRefused("label_used", "It was scanned."), DOWN]

    left = await void(shipments, [*refused_or_down, leased, unsold, well])

    assert Counter(left.values()) == {"somebody is at the label": 1, "carrier_unavailable": 1}
    assert Counter([(await shipments.read(shipment)).parcel(1).label_status for shipment in many]) == {
        LabelStatus.VOIDED: 1,
        LabelStatus.VOIDING: 2,
        LabelStatus.READY: 1,
        LabelStatus.NONE: 1,
    }
    shipments.clock.passes(LEASE)
    assert await void(shipments, many) == {}


@pytest.mark.parametrize(
    ("consumer", "status"),
    [(topology.LABEL_STEPS, StockStatus.HELD), (topology.VOID_STEPS, StockStatus.WAITING)],
    ids=["buying", "giving back"],
)
async def test_the_events_of_those_in_trouble_alone_come_again(
    shipments: Shipments, consumer: topology.ConsumerSpec, status: StockStatus
) -> None:
    troubled, *well = await allocated(shipments, 3)
    if status is StockStatus.WAITING:
        await buy(shipments, [troubled, *well])
        shipments.carrier.void_script = [DOWN]
        await shipments.hear_of_stock(troubled, status, 2)
        for shipment in well:
            await shipments.hear_of_stock(shipment, status, 2)
    shipments.carrier.faults = {f"{troubled.id}-1": DOWN}
    events: list[events_pb2.Event] = [(await shipments.events(shipment))[-1] for shipment in (troubled, *well)]

    with pytest.raises(SomeLater) as later:
        await listener.together(shipments.steps)[consumer](events)

    assert len(later.value.troubles) == 1
    assert set(later.value.troubles) < {event.id for event in events}
    shipments.carrier.faults = {}
    await listener.together(shipments.steps)[consumer](events)
