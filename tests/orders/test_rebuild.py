"""A rebuild makes of the kept events what the listener made of them: the same rows, whatever was lost or spoiled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.rows import dict_row

from chassis import event_log, outbox
from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.errors import Fault
from chassis.ids import new_id
from chassis.migrate import upgrade
from chassis.outbox import events_in
from cli.provision import DatabaseUrls
from services.orders import operations, rebuild
from services.orders.events import shipment_of
from services.orders.rebuild import Rebuilt
from tests.builders import eventually
from tests.orders.lives import Moment, a_life
from tests.orders.waiting import waiting

TENANTS, ORDERS, SHIPMENTS = 2, 4, 3
TABLES = ("sales_order", "order_shipment")
BORN_BEFORE_LINES = """
    UPDATE order_shipment SET lines_version = NULL, skus = NULL, ordered = NULL, held = NULL, created_at = NULL,
        told_at = NULL
"""
ODD = "INSERT INTO outbox (event_id, subject, key, payload) VALUES ('evt_odd', %s, 'k', 'odd')"

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class House:
    """The databases of orders and shipments, of which nobody else knows."""

    orders: Database
    shipments: Database
    # As the roles that own them.
    of_orders: psycopg.AsyncConnection
    of_shipments: psycopg.AsyncConnection

    async def announce(self, moments: Iterable[Moment]) -> None:
        """As shipments does: in its outbox."""
        events = [moment.event() for moment in moments]
        await self.shipments.run(lambda tx: outbox.add(tx, events))

    async def hear(self, moment: Moment) -> bool:
        """As the listener does."""
        return await self._fold(moment, is_told=True)

    async def ask(self, moment: Moment) -> bool:
        """As a call does that finds the order missing."""
        return await self._fold(moment, is_told=False)

    async def rebuild(self) -> Rebuilt:
        return await self.orders.run(lambda tx: rebuild.rebuild(tx, self.shipments, utc_now(), new_id))

    async def rows(self) -> Rows:
        found = {}
        for table in TABLES:
            cursor = self.of_orders.cursor(row_factory=dict_row)
            found[table] = await (await cursor.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")).fetchall()  # type: ignore[arg-type]
        return found

    async def announced(self) -> list[tuple[str, str]]:
        """Tenant and order of every order.updated so far."""
        rows = await (await self.of_orders.execute("SELECT payload FROM outbox ORDER BY id")).fetchall()
        return [(event.tenant_id, event.key) for row in rows for event in events_in(row[0])]

    async def _fold(self, moment: Moment, *, is_told: bool) -> bool:
        shipment = shipment_of(moment.shipment, told_at=moment.told_at if is_told else None)
        return await self.orders.run(
            lambda tx: operations.fold_shipments(
                tx, moment.tenant_id, moment.shipment.order_id, [shipment], utc_now(), new_id
            )
        )


@pytest.fixture(scope="module")
async def house_of_the_module(postgres: str, databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[House]:
    urls = {}
    for name in ("orders", "shipments"):
        async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as server:
            await server.execute(f"DROP DATABASE IF EXISTS rebuild_{name} WITH (FORCE)")  # type: ignore[arg-type]
            await server.execute(f"CREATE DATABASE rebuild_{name} OWNER skutrail_{name}_owner")  # type: ignore[arg-type]
        urls[name] = DatabaseUrls(*(_on(url, f"rebuild_{name}") for url in vars(databases[name]).values()))
        await asyncio.to_thread(upgrade, name, urls[name].owner)
    orders, shipments = (Database(create_engine(urls[name].application)) for name in ("orders", "shipments"))
    async with (
        await psycopg.AsyncConnection.connect(urls["orders"].owner, autocommit=True) as of_orders,
        await psycopg.AsyncConnection.connect(urls["shipments"].owner, autocommit=True) as of_shipments,
    ):
        yield House(orders, shipments, of_orders, of_shipments)
    await orders.engine.dispose()
    await shipments.engine.dispose()


@pytest.fixture
async def house(house_of_the_module: House) -> House:
    """An empty one."""
    await house_of_the_module.of_orders.execute("TRUNCATE sales_order, order_shipment, outbox")
    await house_of_the_module.of_shipments.execute("TRUNCATE outbox")
    return house_of_the_module


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are several of each."""
    monkeypatch.setattr(event_log, "BATCH_MAX", 11)
    monkeypatch.setattr(rebuild, "ORDERS_MAX", 3)


def lives(chance: Random) -> list[list[Moment]]:
    """Of several shipments of several orders, which two tenants name alike."""
    return [
        a_life(chance, tenant_id=f"t{tenant}/test", order_id=f"ord_{order}", shipment_id=f"shp_{tenant}{order}{number}")
        for tenant in range(TENANTS)
        for order in range(ORDERS)
        for number in range(SHIPMENTS)
    ]


def announced(lives: Iterable[Sequence[Moment]]) -> list[Moment]:
    return [moment for life in lives for moment in life if moment.is_announced]


async def live(house: House, chance: Random) -> list[list[Moment]]:
    """Everything is announced in order, and heard in none, some of it twice; and in between orders are asked for."""
    lived = lives(chance)
    await house.announce(sorted(announced(lived), key=lambda moment: moment.told_at))
    heard = [(house.hear, moment) for moment in announced(lived)]
    heard += chance.sample(heard, len(heard) // 4)
    heard += [(house.ask, chance.choice(life)) for life in chance.sample(lived, len(lived) // 2)]
    chance.shuffle(heard)
    for take_in, moment in heard:
        await take_in(moment)
    return lived


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_rebuild_gives_the_same_rows_and_announces_nothing(house: House, seed: int) -> None:
    lived = await live(house, Random(seed))
    before, told = await house.rows(), await house.announced()

    again = await house.rebuild()
    assert await house.rows() == before
    await house.of_orders.execute("TRUNCATE sales_order, order_shipment")
    anew = await house.rebuild()
    assert await house.rows() == before

    count = len(announced(lived))
    assert again == Rebuilt(events=count, orders=TENANTS * ORDERS)
    assert anew == Rebuilt(events=count, orders=TENANTS * ORDERS, changed=TENANTS * ORDERS * SHIPMENTS)
    assert len(before["order_shipment"]) == TENANTS * ORDERS * SHIPMENTS
    # Old events come again: nothing of them is news.
    for moment in Random(seed).sample(announced(lived), 20):
        assert not await house.hear(moment)
    assert (await house.rows(), await house.announced()) == (before, told)


async def test_what_was_spoiled_or_missed_is_mended_and_announced_once(house: House) -> None:
    lived = await live(house, Random(3))
    sound, told = await house.rows(), await house.announced()
    spoiled, missed = ("t0/test", "ord_1"), ("t1/test", "ord_2")
    await house.of_orders.execute(
        "UPDATE order_shipment SET status = 9 - status WHERE (tenant_id, order_id) = (%s, %s)", spoiled
    )
    await house.of_orders.execute("UPDATE sales_order SET status = 1, updated_at = now() WHERE tenant_id = 't0/test'")
    late = a_life(Random(4), tenant_id=missed[0], order_id=missed[1], shipment_id="shp_late")
    await house.announce([late[0]])
    new = replace(late[0], tenant_id="t2/test")
    await house.announce([new])

    await house.rebuild()

    mended = await house.rows()
    assert [row for row in mended["order_shipment"] if row["shipment_id"] != "shp_late"] == sound["order_shipment"]
    orders_of_t0 = [[row for row in rows["sales_order"] if row["tenant_id"] == "t0/test"] for rows in (sound, mended)]
    assert orders_of_t0[0] == orders_of_t0[1]
    assert (await house.announced())[len(told) :] == [spoiled, missed, ("t2/test", missed[1])]
    second = await house.rebuild()
    assert (second.changed, second.announced, await house.rows()) == (0, 0, mended)
    assert second.events == len(announced(lived)) + 2


async def test_shipments_whose_events_are_gone_keep_their_row(house: House) -> None:
    lived = await live(house, Random(5))
    before, told = await house.rows(), await house.announced()
    long = [life for life in lived if len(announced([life])) > 2]
    gone, cut_short = long[0], long[1]
    ids = [moment.event().id for moment in announced([gone])] + [announced([cut_short])[-1].event().id]
    await house.of_shipments.execute("DELETE FROM outbox WHERE event_id = ANY(%s)", [ids])

    done = await house.rebuild()

    assert (done.kept, done.changed, done.announced) == (2, 0, 0)
    assert (await house.rows(), await house.announced()) == (before, told)


async def test_rows_of_an_earlier_release_get_their_lines_and_times(house: House) -> None:
    await live(house, Random(6))
    before, told = await house.rows(), await house.announced()
    await house.of_orders.execute(BORN_BEFORE_LINES)  # type: ignore[arg-type]
    await house.of_orders.execute("UPDATE sales_order SET created_at = now(), updated_at = now()")

    done = await house.rebuild()

    assert (done.changed, done.announced) == (TENANTS * ORDERS * SHIPMENTS, 0)
    assert (await house.rows(), await house.announced()) == (before, told)


async def test_what_an_answer_said_stands_until_its_event_is_kept(house: House) -> None:
    life = next(life for life in map(a_life, map(Random, range(100))) if not life[-1].is_announced and len(life) > 4)
    await house.announce(announced([life]))
    await house.ask(life[-1])
    [asked] = (await house.rows())["order_shipment"]

    done = await house.rebuild()

    [row] = (await house.rows())["order_shipment"]
    last = announced([life])[-1]
    assert (asked["version"], asked["is_hearsay"]) == (life[-1].shipment.version, True)
    assert (row["version"], row["is_hearsay"], row["told_at"]) == (last.shipment.version, False, last.told_at)
    assert (done.changed, done.announced) == (1, 0)


async def test_news_that_comes_during_a_rebuild_waits_for_it_and_is_not_lost(house: House) -> None:
    first, second = (life_of_two(order_id) for order_id in ("ord_1", "ord_2"))
    await house.announce([first[0], second[0]])
    for moment in (first[0], second[0]):
        await house.hear(moment)
    await house.of_orders.execute("UPDATE order_shipment SET status = 8")

    async with house.of_orders.transaction():
        # The rebuild has read both orders when it comes to this one.
        await house.of_orders.execute("SELECT FROM order_shipment WHERE order_id = 'ord_1' FOR UPDATE")
        rebuilding = asyncio.create_task(house.rebuild())
        await eventually(lambda: waiting(house.of_orders), lambda count: count == 1)
        hearing = asyncio.create_task(heard_at_last(house, second[1]))
        await eventually(lambda: waiting(house.of_orders), lambda count: count == 2 or hearing.done())
    await asyncio.gather(rebuilding, hearing)

    told = {row["shipment_id"]: row["version"] for row in (await house.rows())["order_shipment"]}
    assert told == {first[0].shipment.id: 1, second[1].shipment.id: 2}


async def test_an_event_that_cannot_be_read_ends_it_and_changes_nothing(house: House) -> None:
    await live(house, Random(7))
    await house.of_orders.execute("UPDATE order_shipment SET status = 8")
    before = await house.rows()
    await house.of_shipments.execute(ODD, ["skutrail.shipment.created"])

    with pytest.raises(ValueError, match="evt_odd is no event"):
        await house.rebuild()

    assert await house.rows() == before


async def test_events_of_others_in_the_same_outbox_are_not_read(house: House) -> None:
    await house.of_shipments.execute(ODD, ["skutrail.shipments.created"])

    assert await house.rebuild() == Rebuilt()


def life_of_two(order_id: str) -> list[Moment]:
    """Queued, then backordered without any stock."""
    [queued, *_] = a_life(Random(1), order_id=order_id, shipment_id=f"shp_{order_id}")
    later = type(queued.shipment)()
    later.CopyFrom(queued.shipment)
    later.status, later.version = 2, 2  # type: ignore[assignment]
    return [queued, replace(queued, shipment=later)]


async def heard_at_last(house: House, moment: Moment) -> None:
    """As JetStream brings it again where it was refused."""
    async with asyncio.timeout(20):
        while True:
            try:
                await house.hear(moment)
            except Fault as fault:
                if fault.code != "unavailable":
                    raise
            else:
                return


def _on(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
