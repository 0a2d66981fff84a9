"""When shipments came where is read from their events, however those travel and however often they come."""

from datetime import UTC, datetime, timedelta

from bench.milestones import ALLOCATED, LABEL_READY, Milestones
from chassis.wire import timestamp
from skutrail.v1 import events_pb2, shipments_pb2

START = datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC)


def _event(number: int, event_type: str, *, created_ms: int, after_ms: int) -> events_pb2.Event:
    """Of shipment `number`, created so long after START; the event came so long after that."""
    created_at = START + timedelta(milliseconds=created_ms)
    return events_pb2.Event(
        id=f"evt_{number}_{event_type}",
        type=event_type,
        occurred_at=timestamp(created_at + timedelta(milliseconds=after_ms)),
        shipment=shipments_pb2.Shipment(id=f"shp_{number}", created_at=timestamp(created_at)),
    )


def _us(ms: int) -> int:
    return round((START + timedelta(milliseconds=ms)).timestamp() * 1e6)


def test_speed_counts_from_the_first_creation_to_the_last_event() -> None:
    milestones = Milestones()

    for number in range(10):
        event = _event(number, ALLOCATED, created_ms=number * 100, after_ms=100 if number < 9 else 1_100)
        milestones.hear(event.SerializeToString(), heard_us=_us(5_000))

    journey = milestones.journey(ALLOCATED)
    assert journey.per_second == 10 / 2
    assert round(journey.p50_ms) == 100
    assert journey.p99_ms > 1_000


def test_a_time_is_that_of_the_event_and_that_at_which_it_was_heard() -> None:
    milestones = Milestones()

    for number in (1, 2):
        event = _event(number, LABEL_READY, created_ms=0, after_ms=30)
        milestones.hear(event.SerializeToString(), heard_us=_us(70))

    journey = milestones.journey(LABEL_READY)
    assert round(journey.p99_ms) == 30
    assert round(journey.heard_p99_ms) == 70


def test_an_event_that_is_told_twice_counts_once_and_a_second_one_counts() -> None:
    milestones = Milestones()
    once = _event(1, ALLOCATED, created_ms=0, after_ms=10)
    again = _event(1, ALLOCATED, created_ms=0, after_ms=20)
    again.id = "evt_another"

    milestones.hear(once.SerializeToString(), heard_us=_us(10))
    milestones.hear(events_pb2.EventBundle(events=[once, again]).SerializeToString(), heard_us=_us(20))

    assert milestones.told() == {ALLOCATED: {"shp_1": 2}}


def test_what_was_before_is_forgotten() -> None:
    milestones = Milestones()
    milestones.hear(_event(1, ALLOCATED, created_ms=0, after_ms=10).SerializeToString(), heard_us=_us(10))

    milestones.forget()

    assert not milestones.told()
    assert milestones.journey(ALLOCATED).per_second == 0
