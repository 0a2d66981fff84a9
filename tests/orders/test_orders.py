"""How an order follows from its shipments: the rule in a table, the projection on a real PostgreSQL."""

from collections.abc import AsyncIterator, Mapping
from itertools import permutations

import pytest
from sqlalchemy import text

from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.ids import new_id
from cli.provision import DatabaseUrls
from services.orders import operations
from services.orders.domain import OrderStatus, Shipment, ShipmentStatus, derive
from skutrail.v1 import events_pb2, inventory_pb2, orders_pb2, shipments_pb2

S, O = ShipmentStatus, OrderStatus  # noqa: E741


@pytest.mark.parametrize(
    ("shipments", "order"),
    [
        ([S.QUEUED], O.QUEUED),
        ([S.BACKORDERED], O.BACKORDERED),
        ([S.QUEUED, S.BACKORDERED], O.BACKORDERED),
        ([S.ALLOCATED, S.QUEUED], O.PARTIALLY_ALLOCATED),
        ([S.LABEL_READY, S.BACKORDERED], O.PARTIALLY_ALLOCATED),
        ([S.ALLOCATED, S.LABEL_READY], O.ALLOCATED),
        ([S.ALLOCATED, S.CANCELED, S.FAILED], O.ALLOCATED),
        ([S.SHIPPED, S.ALLOCATED], O.PARTIALLY_SHIPPED),
        ([S.DELIVERED, S.QUEUED], O.PARTIALLY_SHIPPED),
        ([S.SHIPPED, S.DELIVERED], O.SHIPPED),
        ([S.DELIVERED, S.CANCELED], O.DELIVERED),
        ([S.CANCELED], O.CANCELED),
        ([S.FAILED, S.CANCELED], O.FAILED),
    ],
)
def test_an_orders_status_follows_from_its_shipments(shipments: list[ShipmentStatus], order: OrderStatus) -> None:
    for ordering in permutations(shipments):
        made = [Shipment(f"shp_{n}", 1, status, ()) for n, status in enumerate(ordering)]
        assert derive(made).status is order


@pytest.fixture(scope="module")
async def database(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    database = Database(create_engine(databases["orders"].application))
    yield database
    await database.engine.dispose()


def snapshot(shipment_id: str, version: int, status: ShipmentStatus, *held: tuple[str, int]) -> shipments_pb2.Shipment:
    return shipments_pb2.Shipment(
        id=shipment_id,
        order_id="ord_1",
        version=version,
        status=shipments_pb2.ShipmentStatus.Name(status),
        allocations=[inventory_pb2.HeldLine(sku=f"S{n}", warehouse=w, qty=qty) for n, (w, qty) in enumerate(held)],
    )


async def test_snapshots_in_any_order_and_twice_give_the_same_order(database: Database) -> None:
    news = [
        snapshot("shp_a", 1, S.QUEUED),
        snapshot("shp_a", 2, S.ALLOCATED, ("SEA-1", 2), ("SEA-1", 3), ("NYC-1", 1)),
        snapshot("shp_b", 1, S.QUEUED),
        snapshot("shp_b", 2, S.BACKORDERED),
    ]
    orders = []
    for ordering in (news, news[::-1], [*news, *news]):
        tenant_id = new_id("tenant")
        for shipment in ordering:
            await database.run(
                lambda tx, s=shipment, t=tenant_id: operations.fold_shipments(tx, t, "ord_1", [s], utc_now(), new_id)
            )
        orders.append(await database.run(lambda tx, t=tenant_id: operations.read_order(tx, t, "ord_1")))

    assert orders[0] == orders[1] == orders[2]
    assert orders[0].status == orders_pb2.ORDER_STATUS_PARTIALLY_ALLOCATED
    allocations = [(a.warehouse, a.qty, a.shipment_id) for a in orders[0].allocations]
    assert allocations == [("NYC-1", 1, "shp_a"), ("SEA-1", 5, "shp_a")]


async def test_another_tenants_order_is_not_there(database: Database) -> None:
    tenant_id = new_id("tenant")
    await database.run(
        lambda tx: operations.fold_shipments(
            tx, tenant_id, "ord_1", [snapshot("shp_a", 1, S.QUEUED)], utc_now(), new_id
        )
    )

    assert await database.run(lambda tx: operations.read_order(tx, "another/test", "ord_1")) is None


async def test_only_a_change_of_the_order_is_announced(database: Database) -> None:
    tenant_id = new_id("tenant")

    async def fold(*shipments: shipments_pb2.Shipment) -> bool:
        return await database.run(
            lambda tx: operations.fold_shipments(tx, tenant_id, "ord_1", shipments, utc_now(), new_id)
        )

    assert await fold(snapshot("shp_a", 1, S.FAILED), snapshot("shp_b", 2, S.ALLOCATED, ("SEA-1", 2)))
    assert not await fold(snapshot("shp_b", 3, S.LABEL_READY, ("SEA-1", 2)))
    assert not await fold(snapshot("shp_b", 2, S.ALLOCATED, ("SEA-1", 2)))

    async with database.transaction() as tx:
        rows = await tx.execute(text("SELECT payload FROM outbox WHERE key = :key"), {"key": f"{tenant_id}/ord_1"})
        announced = [events_pb2.Event.FromString(row.payload).order.status for row in rows]
    assert announced == [orders_pb2.ORDER_STATUS_ALLOCATED]


async def test_orders_are_listed_page_by_page_newest_first_and_by_status(database: Database) -> None:
    tenant_id = new_id("tenant")
    for number in range(5):
        status = S.QUEUED if number % 2 else S.FAILED
        message = snapshot("shp_a", 1, status)
        await database.run(
            lambda tx, m=message, n=number: operations.fold_shipments(tx, tenant_id, f"ord_{n}", [m], utc_now(), new_id)
        )

    async def walk(status: OrderStatus | None = None) -> list[str]:
        ids: list[str] = []
        while True:
            after_id = ids[-1] if ids else None
            page = await database.run(
                lambda tx, after_id=after_id: operations.list_orders(
                    tx, tenant_id, status=status, after_id=after_id, limit=2
                )
            )
            ids += [order.id for order in page.orders]
            if not page.has_more:
                return ids

    assert await walk() == ["ord_4", "ord_3", "ord_2", "ord_1", "ord_0"]
    assert await walk(O.FAILED) == ["ord_4", "ord_2", "ord_0"]
    assert await walk(O.SHIPPED) == []
