"""What is remembered and announced, on a real PostgreSQL."""

from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from chassis.errors import Fault
from chassis.pipeline import Pipeline
from services.shipments import operations, purchasing, store
from services.shipments.domain import Line, Parcel, Shipment, Status, StockStatus
from skutrail.v1 import shipments_pb2
from tests.shipments.conftest import LEASE, Shipments

HELD, WAITING = StockStatus.HELD, StockStatus.WAITING


async def test_a_shipment_is_stored_whole_and_announced_in_the_same_commit(shipments: Shipments) -> None:
    shipment = await shipments.create(Line("SKU-1", 2), Line("ŻÓŁĆ", 1), name="Ελένη")

    event, *more = await shipments.events(shipment)

    assert await shipments.read(shipment) == shipment
    assert more == []
    assert (event.type, event.key, event.tenant_id) == ("shipment.created", shipment.id, shipments.tenant_id)
    assert event.shipment.status == shipments_pb2.SHIPMENT_STATUS_QUEUED
    assert event.shipment.ship_to.name == "Ελένη"
    assert not event.shipment.ship_to.HasField("line2")
    assert not event.shipment.HasField("label_url")
    assert event.shipment.version == 1


class Compared(Parcel):
    """Counts how often a parcel is compared."""

    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


async def test_a_parcel_among_hundreds_is_saved_without_looking_for_it_among_them_all(shipments: Shipments) -> None:
    many = await shipments.allocated(*(f"WH-{number}" for number in range(300)))
    read = replace(many, opened_parcels=tuple(Compared(**vars(parcel)) for parcel in many.opened_parcels))
    leased_until = shipments.clock() + LEASE
    begun = purchasing.begin_purchase(read, 300, try_id="att_1", leased_until=leased_until, now=shipments.clock())
    Compared.times = 0

    async def save(pipeline: Pipeline) -> None:
        store.tell_changes(pipeline, [(many, begun)])

    await shipments.pipelined(save)

    assert Compared.times <= 300
    stored = await shipments.read(many)
    assert [parcel.number for parcel in stored.opened_parcels if parcel.attempt is not None] == [300]
    assert len(stored.opened_parcels) == 300


async def test_the_same_news_of_stock_twice_changes_nothing(shipments: Shipments) -> None:
    shipment = await shipments.create()

    first = await shipments.hear_of_stock(shipment, HELD, 1, "SEA-1")
    second = await shipments.hear_of_stock(shipment, HELD, 1, "SEA-1")

    assert second == first
    assert await shipments.event_types(shipment) == ["shipment.created", "shipment.allocated"]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (2, 1, 3), (1, 3, 2), (3, 1, 2)])
async def test_news_of_stock_in_any_order_ends_where_the_newest_says(
    shipments: Shipments, order: tuple[int, ...]
) -> None:
    news = {1: (WAITING, ()), 2: (HELD, ("SEA-1",)), 3: (WAITING, ())}
    shipment = await shipments.create()

    for version in order:
        status, warehouses = news[version]
        shipment = await shipments.hear_of_stock(shipment, status, version, *warehouses)

    assert (shipment.status, shipment.allocation_version) == (Status.BACKORDERED, 3)
    assert list(shipment.allocations) == []


async def test_versions_in_events_rise_with_every_announcement(shipments: Shipments) -> None:
    shipment = await shipments.create()
    for version, (status, warehouses) in enumerate([(WAITING, ()), (HELD, ("SEA-1",)), (WAITING, ())], start=1):
        await shipments.hear_of_stock(shipment, status, version, *warehouses)

    events = await shipments.events(shipment)

    assert [(event.type, event.shipment.version) for event in events] == [
        ("shipment.created", 1),
        ("shipment.backordered", 2),
        ("shipment.allocated", 3),
        ("shipment.backordered", 4),
    ]


async def test_another_tenants_shipment_is_as_unknown_as_no_shipment(shipments: Shipments) -> None:
    shipment = await shipments.create()

    with pytest.raises(Fault) as of_another:
        await shipments.run(lambda tx: operations.get_shipment(tx, "tenant_else", shipment.id))
    with pytest.raises(Fault) as of_nobody:
        await shipments.run(lambda tx: operations.get_shipment(tx, shipments.tenant_id, "shp_none"))

    assert of_another.value.args == of_nobody.value.args
    assert of_another.value.code == "not_found"


async def test_shipments_are_listed_newest_first_with_their_parcels_by_order_and_status(shipments: Shipments) -> None:
    first, second = await shipments.create(), await shipments.create()
    other = await shipments.create(order_id="ord_2")
    await shipments.hear_of_stock(second, HELD, 1, "SEA-1", "PDX-1")

    async def listed(tenant_id: str = shipments.tenant_id, **filters: object) -> list[Shipment]:
        asked = {"order_id": None, "status": None, "after_id": None, "limit": 10, **filters}
        return await shipments.run(lambda tx: operations.list_shipments(tx, tenant_id, **asked))

    of_order = await listed(order_id="ord_1")
    assert [shipment.id for shipment in of_order] == [second.id, first.id]
    assert [parcel.warehouse for parcel in of_order[0].parcels] == ["SEA-1", "PDX-1"]
    assert [shipment.id for shipment in await listed()] == [other.id, second.id, first.id]
    assert [shipment.id for shipment in await listed(status=Status.QUEUED, limit=1)] == [other.id, first.id]
    assert [shipment.id for shipment in await listed(after_id=second.id)] == [first.id]
    assert await listed("tenant_else") == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM shipment",
        "DELETE FROM parcel",
        "DELETE FROM label",
        "UPDATE label SET content = 'x'",
        "TRUNCATE shipment CASCADE",
    ],
)
async def test_the_service_may_neither_delete_nor_alter_what_was_bought(shipments: Shipments, statement: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        await shipments.run(lambda tx: tx.execute(text(statement)))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shipment SET status = 'failed' WHERE id = :id",
        "UPDATE shipment SET status = 'lost' WHERE id = :id",
        "UPDATE shipment SET status = 'canceled' WHERE id = :id",
        "UPDATE parcel SET label_status = 'ready' WHERE shipment_id = :id",
        "UPDATE parcel SET label_status = 'purchasing' WHERE shipment_id = :id",
        "UPDATE parcel SET attempt_key = 'att' WHERE shipment_id = :id",
        "UPDATE parcel SET label_status = 'voided' WHERE shipment_id = :id",
        "UPDATE parcel SET void_refused_at = now() WHERE shipment_id = :id",
        "UPDATE shipment SET priority = 101 WHERE id = :id",
        "UPDATE shipment SET policy = 'some' WHERE id = :id",
        "UPDATE shipment SET status = 'shipped', cancel_asked_at = now() WHERE id = :id",
    ],
)
async def test_the_tables_refuse_what_the_domain_would_never_do(shipments: Shipments, statement: str) -> None:
    shipment = await shipments.allocated()

    with pytest.raises(DBAPIError, match="check constraint"):
        await shipments.run(lambda tx: tx.execute(text(statement), {"id": shipment.id}))
