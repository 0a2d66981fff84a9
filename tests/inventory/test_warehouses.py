"""Warehouses as their owners describe them, and what that does to holds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chassis import rpc
from chassis.errors import Fault
from chassis.ids import new_id
from services.inventory import warehouses
from services.inventory.domain import Reason
from services.inventory.sourcing import Coordinates
from services.inventory.warehouses import PostalAddress, Warehouse
from skutrail.v1 import common_pb2, inventory_pb2, inventory_pb2_grpc
from tests.builders import eventually
from tests.inventory.conftest import Inventory
from tests.inventory.test_holds import HELD, WAITING, lines

SEATTLE, TACOMA, NEWARK = Coordinates(47.6062, -122.3321), Coordinates(47.25, -122.44), Coordinates(40.7357, -74.1724)
ADDRESS = {"line1": "1 Dock St", "city": "Seattle", "postal": "98101", "country": "US"}


async def test_a_warehouse_that_was_never_described_works_all_the_same(inventory: Inventory) -> None:
    await inventory.move(3, warehouse="anywhere")

    assert lines(await inventory.allocate("shp_1", ("SKU-1", 2))) == [("SKU-1", "anywhere", 2)]
    with pytest.raises(Fault) as unknown:
        await inventory.database.run(lambda tx: warehouses.get(tx, inventory.tenant_id, "anywhere"))
    assert unknown.value.code == "not_found"


async def test_the_doors_put_get_and_list_warehouses(
    inventory: Inventory, stub: inventory_pb2_grpc.InventoryStub
) -> None:
    described = inventory_pb2.Warehouse(
        code="SEA-1",
        name="Seattle",
        address=inventory_pb2.PostalAddress(**ADDRESS),
        coordinates=common_pb2.Coordinates(latitude=47.5, longitude=-122.25),
        priority=7,
        active=True,
    )
    tenant = {"tenant_id": inventory.tenant_id}

    put = await rpc.call(stub.PutWarehouse, inventory_pb2.PutWarehouseRequest(warehouse=described, **tenant))
    got = await rpc.call(stub.GetWarehouse, inventory_pb2.GetWarehouseRequest(code="SEA-1", **tenant))
    for code in ("a", "B", "Ä", "b"):
        one = inventory_pb2.Warehouse(code=code)
        await rpc.call(stub.PutWarehouse, inventory_pb2.PutWarehouseRequest(warehouse=one, **tenant))
    first = await rpc.call(stub.ListWarehouses, inventory_pb2.ListWarehousesRequest(limit=3, **tenant))
    after = {"after_code": first.warehouses[-1].code}
    rest = await rpc.call(stub.ListWarehouses, inventory_pb2.ListWarehousesRequest(limit=3, **after, **tenant))
    other = await rpc.call(stub.ListWarehouses, inventory_pb2.ListWarehousesRequest(tenant_id="other", limit=3))

    assert put == got
    expected = inventory_pb2.Warehouse()
    expected.CopyFrom(described)
    expected.created_at.CopyFrom(got.created_at)
    expected.updated_at.CopyFrom(got.created_at)
    assert got == expected
    assert [one.code for one in first.warehouses] == ["B", "SEA-1", "a"]
    assert [one.code for one in rest.warehouses] == ["b", "Ä"]
    assert (first.has_more, rest.has_more) == (True, False)
    assert first.warehouses[1] == got
    assert not first.warehouses[0].HasField("name")
    assert not first.warehouses[0].HasField("coordinates")
    assert list(other.warehouses) == []


async def test_a_description_is_put_wholly_anew_and_its_times_tell_of_changes(inventory: Inventory) -> None:
    address = PostalAddress("1 Dock St", None, "Seattle", None, "98101", "US")
    first = await inventory.put_warehouse("A", name="A", address=address, coordinates=SEATTLE, priority=3)
    inventory.ahead = timedelta(hours=1)
    same = await inventory.put_warehouse("A", name="A", address=address, coordinates=SEATTLE, priority=3)
    inventory.ahead = timedelta(hours=2)
    other = await inventory.put_warehouse("A", priority=3)

    assert same == first
    assert (other.created_at, other.warehouse) == (first.created_at, Warehouse(inventory.tenant_id, "A", priority=3))
    assert other.updated_at > first.updated_at
    inventory.ahead = timedelta(0)  # a clock that is behind
    assert (await inventory.put_warehouse("A", priority=4)).updated_at == other.updated_at


@pytest.mark.parametrize(
    ("described", "pointer"),
    [
        ({"code": ""}, "/code"),
        ({"code": " A"}, "/code"),
        ({"code": "A" * 65}, "/code"),
        ({"name": ""}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a" * 101}, "/name"),
        ({"priority": -1}, "/priority"),
        ({"priority": 101}, "/priority"),
        ({"coordinates": Coordinates(90.1, 0)}, "/coordinates"),
        ({"coordinates": Coordinates(0, -180.1)}, "/coordinates"),
        ({"coordinates": Coordinates(float("nan"), 0)}, "/coordinates"),
        ({"coordinates": Coordinates(0, float("inf"))}, "/coordinates"),
    ],
)
async def test_a_description_that_is_not_valid_is_refused_and_nothing_put(
    inventory: Inventory, described: dict[str, object], pointer: str
) -> None:
    with pytest.raises(Fault) as refused:
        await inventory.put_warehouse(**{"code": "A", **described})  # type: ignore[arg-type]

    assert (refused.value.code, [field.pointer for field in refused.value.fields]) == ("validation_failed", [pointer])
    rows = await inventory.ask("SELECT 1 FROM warehouse WHERE tenant_id = :tenant")
    assert rows == []


async def test_one_that_is_switched_off_gives_nothing_new_but_keeps_what_it_holds(inventory: Inventory) -> None:
    await inventory.record(inventory.wish(9, warehouse="A"), inventory.wish(1, warehouse="B"))
    before = await inventory.allocate("shp_1", ("SKU-1", 3))
    await inventory.put_warehouse("A", active=False)

    assert await inventory.allocate("shp_1", ("SKU-1", 3)) == before
    assert (await inventory.allocate("shp_2", ("SKU-1", 2))).status == WAITING
    assert lines(await inventory.allocate("shp_3", ("SKU-1", 1))) == [("SKU-1", "B", 1)]
    assert not isinstance((await inventory.move(2, warehouse="A")).answer, Fault)
    assert await inventory.serveable() == []
    assert not isinstance((await inventory.move(1, Reason.PICK, warehouse="A", reference="shp_1")).answer, Fault)
    dispatched = await inventory.dispatch("shp_1")
    assert dispatched.status == inventory_pb2.ALLOCATION_STATUS_DISPATCHED
    assert (await inventory.stock(warehouse="A")).on_hand == 8


async def test_switched_on_again_it_serves_those_that_wait_without_any_call(
    inventory: Inventory, stub: inventory_pb2_grpc.InventoryStub
) -> None:
    await inventory.put_warehouse("A", active=False)
    await inventory.move(5, warehouse="A")
    assert (await inventory.allocate("shp_1", ("SKU-1", 5))).status == WAITING

    on = inventory_pb2.Warehouse(code="A", active=True)
    request = inventory_pb2.PutWarehouseRequest(tenant_id=inventory.tenant_id, warehouse=on)
    await rpc.call(stub.PutWarehouse, request)

    await eventually(lambda: inventory.stock(warehouse="A"), lambda stock: stock.held == 5)


async def test_the_higher_priority_gives_first_and_fewer_warehouses_before_that(inventory: Inventory) -> None:
    await inventory.put_warehouse("B", priority=1)
    await inventory.put_warehouse("C", priority=100)
    await inventory.record(*(inventory.wish(units, warehouse=code) for code, units in (("A", 9), ("B", 5), ("C", 2))))

    assert lines(await inventory.allocate("shp_1", ("SKU-1", 2))) == [("SKU-1", "C", 2)]
    assert lines(await inventory.allocate("shp_2", ("SKU-1", 3))) == [("SKU-1", "B", 3)]
    assert lines(await inventory.allocate("shp_3", ("SKU-1", 7))) == [("SKU-1", "A", 7)]


async def test_of_equals_the_nearest_gives_and_who_is_nowhere_comes_last(inventory: Inventory) -> None:
    await inventory.put_warehouse("A-NEWARK", coordinates=NEWARK)
    await inventory.put_warehouse("B-TACOMA", coordinates=TACOMA)
    await inventory.put_warehouse("C-NOWHERE")
    await inventory.record(
        *(inventory.wish(units, warehouse=code) for code, units in (("A-NEWARK", 4), ("B-TACOMA", 2), ("C-NOWHERE", 9)))
    )

    near = await inventory.allocate("shp_1", ("SKU-1", 2), destination=SEATTLE)
    next_near = await inventory.allocate("shp_2", ("SKU-1", 2), destination=SEATTLE)
    to_nowhere = await inventory.allocate("shp_3", ("SKU-1", 2))

    assert [line[1] for one in (near, next_near, to_nowhere) for line in lines(one)] == [
        "B-TACOMA", "A-NEWARK", "C-NOWHERE",
    ]  # fmt: skip


async def test_warehouses_of_another_tenant_decide_nothing(inventory: Inventory) -> None:
    await Inventory(inventory.database, new_id("tenant")).put_warehouse("A", active=False)
    await inventory.move(1, warehouse="A")

    assert (await inventory.allocate("shp_1", ("SKU-1", 1))).status == HELD
