"""What became of each SKU of an order: sums that add up, whatever its shipments live through. Pure."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orders import domain
from services.orders.domain import Line, OrderLine, Shipment, ShipmentStatus, lines_of, newest, times_of
from services.orders.events import shipment_of
from tests.orders.lives import Moment, a_life

S = ShipmentStatus
chances = st.randoms(use_true_random=False)


@pytest.mark.parametrize(
    ("status", "held", "line"),
    [
        (S.QUEUED, 0, OrderLine("A", ordered=5, waiting=5)),
        (S.BACKORDERED, 0, OrderLine("A", ordered=5, waiting=5)),
        (S.BACKORDERED, 2, OrderLine("A", ordered=5, waiting=3, allocated=2)),
        (S.ALLOCATED, 5, OrderLine("A", ordered=5, allocated=5)),
        (S.LABEL_READY, 5, OrderLine("A", ordered=5, allocated=5)),
        (S.SHIPPED, 5, OrderLine("A", ordered=5, shipped=5)),
        (S.DELIVERED, 5, OrderLine("A", ordered=5, shipped=5)),
        (S.CANCELED, 2, OrderLine("A", ordered=5, canceled=5)),
        (S.FAILED, 0, OrderLine("A", ordered=5, canceled=5)),
    ],
)
def test_units_count_where_their_shipment_is(status: ShipmentStatus, held: int, line: OrderLine) -> None:
    assert lines_of([Shipment("shp_1", 1, status, lines=(Line("A", 5, held),))]) == (line,)


def test_lines_of_all_shipments_are_summed_by_sku() -> None:
    shipments = [
        Shipment("shp_1", 1, S.SHIPPED, lines=(Line("A", 2, 2), Line("B", 1, 1))),
        Shipment("shp_2", 1, S.BACKORDERED, lines=(Line("A", 5, 4),)),
        Shipment("shp_3", 1, S.CANCELED, lines=(Line("a", 3, 0),)),
    ]

    for order in permutations(shipments):
        assert lines_of(order) == (
            OrderLine("A", ordered=7, waiting=1, allocated=4, shipped=2),
            OrderLine("B", ordered=1, shipped=1),
            OrderLine("a", ordered=3, canceled=3),
        )


def test_sums_of_lines_that_are_not_known_are_not_told() -> None:
    assert lines_of([Shipment("shp_1", 1, S.QUEUED, lines=None), Shipment("shp_2", 1, S.QUEUED)]) is None


@given(chances, st.integers(1, 3))
def test_the_sums_add_up_at_every_moment_of_every_life(chance: Random, count: int) -> None:
    lives = [a_life(chance, shipment_id=f"shp_{number}") for number in range(count)]
    now = [life[0] for life in lives]
    for _ in range(3 * count):
        which = chance.randrange(count)
        now[which] = chance.choice(lives[which])

        shipments = [told(moment) for moment in now]
        lines = lines_of(shipments)

        assert lines is not None
        for line in lines:
            assert line.ordered == line.waiting + line.allocated + line.shipped + line.canceled
            assert min(line.waiting, line.allocated, line.shipped, line.canceled) >= 0
        asked = Counter[str]()
        for moment in now:
            asked.update({item.sku: 0 for item in moment.shipment.line_items})
            for item in moment.shipment.line_items:
                asked[item.sku] += item.qty
        assert {line.sku: line.ordered for line in lines} == asked
        # What the order says is held or gone out of the warehouses is what its lines say.
        shares = domain.derive(shipments).allocations
        assert sum(share.qty for share in shares) == sum(line.allocated + line.shipped for line in lines)


@given(chances)
def test_news_in_any_order_and_twice_and_answers_in_between_end_in_what_was_announced_last(chance: Random) -> None:
    life = a_life(chance)
    announced = [told(moment) for moment in life if moment.is_announced]
    answers = [shipment_of(moment.shipment, told_at=None) for moment in life]
    heard = [*announced, *chance.choices(announced, k=3), *chance.choices(answers, k=3)]
    chance.shuffle(heard)

    remembered = reduce(newest, heard[1:], newest(None, heard[0]))

    assert remembered == announced[-1]


@given(chances)
def test_an_answer_is_remembered_until_events_say_as_much(chance: Random) -> None:
    life = a_life(chance)
    answer = shipment_of(life[-1].shipment, told_at=None)

    remembered = newest(None, answer)

    assert remembered == answer
    assert newest(remembered, answer) == answer
    for moment in (moment for moment in life if moment.is_announced):
        remembered = newest(remembered, told(moment))
    assert remembered == [told(moment) for moment in life if moment.is_announced][-1]


def test_the_times_of_an_order_are_those_of_its_shipments() -> None:
    life, other = a_life(Random(1), shipment_id="shp_1"), a_life(Random(2), shipment_id="shp_2")
    last = [told(life[-1]), told(other[-1])]

    times = times_of(last)

    assert times.created_at == min(life[0].told_at, other[0].told_at)
    assert times.updated_at == max(life[-1].told_at, other[-1].told_at)
    earlier_release = Shipment("shp_3", 1, S.QUEUED, lines=None)
    assert times_of([*last, earlier_release]) == domain.Times(created_at=None, updated_at=times.updated_at)
    assert times_of([earlier_release]) == domain.Times(None, None)


def test_what_an_earlier_release_wrote_gets_its_lines_from_an_answer_and_its_time_from_an_event() -> None:
    moment = a_life(Random(1))[0]
    known = Shipment("shp_1", 1, S.QUEUED, lines=None)

    answered = newest(known, shipment_of(moment.shipment, told_at=None))

    assert (answered.lines, answered.created_at, answered.told_at) == (told(moment).lines, moment.told_at, None)
    assert answered.is_told
    assert newest(answered, told(moment)) == newest(known, told(moment)) == told(moment)


def told(moment: Moment) -> Shipment:
    return shipment_of(moment.shipment, told_at=moment.told_at)
