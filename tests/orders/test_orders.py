"""How an order follows from its shipments: the rule in a table, the projection on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from itertools import permutations

import psycopg
import pytest
from sqlalchemy import text

from chassis import outbox, wire
from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.ids import new_id
from cli.provision import DatabaseUrls
from services.orders import operations
from services.orders.domain import Line, OrderStatus, Share, Shipment, ShipmentStatus, derive
from services.orders.events import shipment_of
from skutrail.v1 import inventory_pb2, orders_pb2, shipments_pb2
from tests.builders import eventually
from tests.orders.waiting import waiting

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


@pytest.mark.parametrize(
    ("others", "order"),
    [
        ([], O.PARTIALLY_ALLOCATED),
        ([S.QUEUED], O.PARTIALLY_ALLOCATED),
        ([S.BACKORDERED], O.PARTIALLY_ALLOCATED),
        ([S.ALLOCATED], O.PARTIALLY_ALLOCATED),
        ([S.SHIPPED], O.PARTIALLY_SHIPPED),
        ([S.CANCELED], O.PARTIALLY_ALLOCATED),
    ],
)
def test_a_shipment_that_waits_with_some_of_its_units_makes_its_order_partial(
    others: list[ShipmentStatus], order: OrderStatus
) -> None:
    share = Share("shp_1", "SEA-1", 2)
    waiting = Shipment("shp_1", 1, S.BACKORDERED, (share,), (Line("A", 3, 2),))

    made = derive([waiting, *(Shipment(f"shp_other_{n}", 1, status) for n, status in enumerate(others))])

    assert (made.status, made.allocations) == (order, (share,))


def test_what_was_held_for_a_shipment_that_ended_is_allocated_no_more() -> None:
    share = Share("shp_1", "SEA-1", 2)

    assert derive([Shipment("shp_1", 1, S.CANCELED, (share,), (Line("A", 2, 2),))]).allocations == ()


@pytest.fixture(scope="module")
async def database(databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Database]:
    database = Database(create_engine(databases["orders"].application))
    yield database
    await database.engine.dispose()


def snapshot(
    shipment_id: str, version: int, status: ShipmentStatus, *held: tuple[str, int], at: datetime | None = None
) -> Shipment:
    """Told by an event, with three units of each of three SKUs asked for."""
    message = shipments_pb2.Shipment(
        id=shipment_id,
        order_id="ord_1",
        version=version,
        status=shipments_pb2.ShipmentStatus.Name(status),
        line_items=[inventory_pb2.StockLine(sku=f"S{n}", qty=3) for n in range(3)],
        allocations=[inventory_pb2.HeldLine(sku=f"S{n}", warehouse=w, qty=qty) for n, (w, qty) in enumerate(held)],
        created_at=wire.timestamp(at or utc_now()),
    )
    return shipment_of(message, told_at=at or utc_now())


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


async def test_older_news_that_is_folded_at_the_same_time_waits_for_the_newer(
    database: Database, databases: Mapping[str, DatabaseUrls]
) -> None:
    tenant_id = new_id("tenant")

    async def fold(shipment: Shipment) -> bool:
        return await database.run(
            lambda tx: operations.fold_shipments(tx, tenant_id, "ord_1", [shipment], utc_now(), new_id)
        )

    # The order's own row stays as it is: to change that would make the other wait as well.
    at = utc_now()
    await fold(snapshot("shp_b", 1, S.SHIPPED, at=at))
    await fold(snapshot("shp_a", 1, S.QUEUED, at=at))
    async with await psycopg.AsyncConnection.connect(databases["orders"].owner) as owner:
        # Both have read what is known, but for the lock that comes first, when the newer one comes to write.
        await owner.execute("SELECT FROM order_shipment WHERE tenant_id = %s FOR UPDATE", [tenant_id])
        newer = asyncio.create_task(fold(snapshot("shp_a", 3, S.ALLOCATED, ("SEA-1", 2), at=at)))
        await eventually(lambda: waiting(owner), lambda count: count == 1)
        older = asyncio.create_task(fold(snapshot("shp_a", 2, S.BACKORDERED, ("SEA-1", 1), at=at)))
        await eventually(lambda: waiting(owner), lambda count: count == 2)

    assert (await newer, await older) == (True, False)
    order = await database.run(lambda tx: operations.read_order(tx, tenant_id, "ord_1"))
    assert order is not None
    assert [allocation.qty for allocation in order.allocations] == [2]


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

    async def fold(*shipments: Shipment) -> bool:
        return await database.run(
            lambda tx: operations.fold_shipments(tx, tenant_id, "ord_1", shipments, utc_now(), new_id)
        )

    assert await fold(snapshot("shp_a", 1, S.FAILED), snapshot("shp_b", 2, S.ALLOCATED, ("SEA-1", 2)))
    assert not await fold(snapshot("shp_b", 3, S.LABEL_READY, ("SEA-1", 2)))
    assert not await fold(snapshot("shp_b", 2, S.ALLOCATED, ("SEA-1", 2)))

    async with database.transaction() as tx:
        rows = await tx.execute(text("SELECT payload FROM outbox WHERE key = :key"), {"key": f"{tenant_id}/ord_1"})
        announced = [event.order.status for row in rows for event in outbox.events_in(row.payload)]
    assert announced == [orders_pb2.ORDER_STATUS_ALLOCATED]


async def test_a_change_of_the_lines_alone_is_announced(database: Database) -> None:
    tenant_id = new_id("tenant")

    async def fold(*shipments: Shipment) -> bool:
        return await database.run(
            lambda tx: operations.fold_shipments(tx, tenant_id, "ord_1", shipments, utc_now(), new_id)
        )

    # One goes and another is called off; and the units that one holds are of another SKU.
    assert await fold(snapshot("shp_a", 1, S.SHIPPED, ("SEA-1", 3)), snapshot("shp_b", 1, S.QUEUED))
    assert await fold(snapshot("shp_c", 1, S.CANCELED))
    assert await fold(snapshot("shp_b", 2, S.BACKORDERED, ("SEA-1", 2), ("SEA-1", 1)))
    assert await fold(snapshot("shp_b", 3, S.BACKORDERED, ("SEA-1", 1), ("SEA-1", 2)))
    assert not await fold(snapshot("shp_b", 4, S.BACKORDERED, ("SEA-1", 1), ("SEA-1", 2)))


async def test_lines_are_told_page_by_page_by_sku(database: Database) -> None:
    tenant_id = new_id("tenant")
    waiting = snapshot("shp_a", 1, S.BACKORDERED, ("SEA-1", 2))
    await database.run(lambda tx: operations.fold_shipments(tx, tenant_id, "ord_1", [waiting], utc_now(), new_id))

    async def page(after_sku: str) -> orders_pb2.OrderLines:
        lines = await database.run(
            lambda tx: operations.read_lines(tx, tenant_id, "ord_1", after_sku=after_sku, limit=2)
        )
        assert lines is not None
        return lines

    first, second, beyond = await page(""), await page("S1"), await page("S2")
    assert [(line.sku, line.ordered, line.waiting, line.allocated) for line in first.lines] == [
        ("S0", 3, 1, 2),
        ("S1", 3, 3, 0),
    ]
    assert ([line.sku for line in second.lines], list(beyond.lines)) == (["S2"], [])
    assert (first.has_more, second.has_more, beyond.has_more) == (True, False, False)


async def test_orders_are_listed_page_by_page_newest_first_and_by_status(database: Database) -> None:
    tenant_id, began = new_id("tenant"), utc_now()
    for number in range(5):
        status = S.QUEUED if number % 2 else S.FAILED
        # The last one first: when it was heard of does not count.
        message = snapshot("shp_a", 1, status, at=began - timedelta(seconds=number))
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

    assert await walk() == ["ord_0", "ord_1", "ord_2", "ord_3", "ord_4"]
    assert await walk(O.FAILED) == ["ord_0", "ord_2", "ord_4"]
    assert await walk(O.SHIPPED) == []
