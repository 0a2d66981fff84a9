"""skutrail doctor: each trouble is made by hand, in databases where nobody mends it, and must be told in a line."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from chassis import jetstream
from chassis.migrate import upgrade
from cli import doctor, migrate
from cli.diagnosis import streams
from cli.diagnosis.check import FOUND_MAX, Sources
from cli.provision import DatabaseUrls
from tests.chassis.conftest import OwnNats

TENANT = "acme/test"
LONG_AGO = "now() - interval '2 hours'"


@dataclass(frozen=True)
class Patient:
    """Databases without services, and a NATS without anybody on it."""

    urls: Mapping[str, str]
    nats: OwnNats

    async def suffers(self, service: str, *statements: str) -> None:
        async with await psycopg.AsyncConnection.connect(self.urls[service]) as connection:
            for statement in statements:
                await connection.execute(statement.encode())

    async def is_examined(self) -> int:
        """What the command does, without the waiting before the second look."""
        checks = [replace(check, again_after_s=0.01) for check in doctor.CHECKS]
        return await doctor.examine(Sources(self.urls, self.nats.url), checks)

    @property
    def environment(self) -> dict[str, str]:
        owners = {f"SKUTRAIL_{name.upper()}_OWNER_URL": url for name, url in self.urls.items()}
        return {"PATH": os.environ["PATH"], "SKUTRAIL_NATS_URL": self.nats.url, **owners}


@pytest.fixture(scope="module")
async def own_databases(postgres: str, databases: Mapping[str, DatabaseUrls]) -> Mapping[str, str]:
    """As the roles that own them; those of the other tests are full of trouble."""
    urls = {}
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as server:
        for name in doctor.SERVICES:
            database = f"doctor_{name}"
            await server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())
            await server.execute(f"CREATE DATABASE {database} OWNER skutrail_{name}_owner TEMPLATE template0".encode())
            urls[name] = urlunsplit(urlsplit(databases[name].owner)._replace(path=f"/{database}"))
            await asyncio.to_thread(upgrade, name, urls[name])
    return urls


@pytest.fixture(scope="module")
async def running_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnNats]:
    server = OwnNats(tmp_path_factory.mktemp("doctor"))
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def patient(own_databases: Mapping[str, str], running_nats: OwnNats) -> Patient:
    """In good health: every table empty, all streams declared."""
    for url in own_databases.values():
        async with await psycopg.AsyncConnection.connect(url) as connection:
            listed = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            tables = [table for (table,) in await (await connection.execute(listed.encode())).fetchall()]
            await connection.execute(f"TRUNCATE {', '.join(tables)}".encode())
    await migrate.declare(running_nats.url)
    return Patient(own_databases, running_nats)


def a_shipment(status: str, shipment_id: str = "shp_1", at: str = LONG_AGO, **columns: str) -> str:
    held = '[{"sku": "A", "warehouse": "W", "qty": 1}]' if status in ("allocated", "label_ready", "shipped") else "[]"
    error = "'carrier_rejected'" if status == "failed" else "NULL"
    more = {"error_code": error, **columns}
    return f"""
        INSERT INTO shipment (tenant_id, id, order_id, status, ship_to, line_items, allocations, version,
            allocation_version, created_at, updated_at, looked_at, {", ".join(more)})
        VALUES ('{TENANT}', '{shipment_id}', 'ord_1', '{status}', '{{}}', '[{{"sku": "A", "qty": 1}}]', '{held}', 3,
            1, {at}, {at}, {at}, {", ".join(more.values())})
    """


def a_parcel(label_status: str, shipment_id: str = "shp_1", began_at: str = LONG_AGO, warehouse: str = "W") -> str:
    return f"""
        INSERT INTO parcel (tenant_id, shipment_id, warehouse, number, reference, label_status, attempt_key, try_id,
            began_at, tried_at, leased_until)
        VALUES ('{TENANT}', '{shipment_id}', '{warehouse}', 1, '{shipment_id}-1', '{label_status}', 'key', 'att_1',
            {began_at}, now(), now())
    """


def a_label(shipment_id: str = "shp_1", void_refused_at: str = "NULL") -> str:
    return f"""
        INSERT INTO parcel (tenant_id, shipment_id, warehouse, number, reference, label_status, tracking_number,
            void_refused_at)
        VALUES ('{TENANT}', '{shipment_id}', 'W', 1, '{shipment_id}-1', 'ready', 'T1', {void_refused_at})
    """


def a_request(status: int, request_id: str = "shp_1", *, qty: int = 1) -> Sequence[str]:
    return (
        f"INSERT INTO allocation (tenant_id, request_id, status, created_at)"
        f" VALUES ('{TENANT}', '{request_id}', {status}, {LONG_AGO})",
        f"INSERT INTO allocation_line (tenant_id, request_id, sku, qty, missing)"
        f" VALUES ('{TENANT}', '{request_id}', 'A', {qty}, {qty if status == 1 else 0})",
    )


def a_balance(on_hand: int, held: int) -> str:
    return (
        f"INSERT INTO balance (tenant_id, sku, warehouse, on_hand, held)"
        f" VALUES ('{TENANT}', 'A', 'W', {on_hand}, {held})"
    )


def a_hold(open_units: int, request_id: str = "shp_1") -> str:
    return (
        f"INSERT INTO hold (tenant_id, request_id, sku, warehouse, open)"
        f" VALUES ('{TENANT}', '{request_id}', 'A', 'W', {open_units})"
    )


def an_order(status: int, shipment_status: int | None) -> Sequence[str]:
    order = (
        f"INSERT INTO sales_order (tenant_id, id, status, created_at, updated_at)"
        f" VALUES ('{TENANT}', 'ord_1', {status}, {LONG_AGO}, {LONG_AGO})"
    )
    if shipment_status is None:
        return (order,)
    warehouses, qtys = ("{W}", "{1}") if 3 <= shipment_status <= 6 else ("{}", "{}")
    shipment = (
        f"INSERT INTO order_shipment (tenant_id, order_id, shipment_id, version, status, warehouses, qtys)"
        f" VALUES ('{TENANT}', 'ord_1', 'shp_1', 3, {shipment_status}, '{warehouses}', '{qtys}')"
    )
    return order, shipment


HELD = (*a_request(2), a_balance(5, 1), a_hold(1))
ALLOCATED_ORDER = an_order(4, 3)
AN_EVENT = "INSERT INTO outbox (event_id, subject, key, payload, created_at) VALUES"

Trouble = Mapping[str, Sequence[str]]
TROUBLES: Mapping[str, tuple[Trouble, Sequence[str]]] = {
    "an event that does not leave": (
        {"orders": [f"{AN_EVENT} ('evt_1', 'skutrail.order.updated', 'k', '', {LONG_AGO})"]},
        ["orders: unpublished: evt_1: skutrail.order.updated waits to be published for 720"],
    ),
    "a parked event": (
        {
            "webhooks": [
                "INSERT INTO parked_event (consumer, event_id, subject, payload, error)"
                " VALUES ('webhooks-orders', 'evt_2', 'skutrail.order.updated', '', E'ValueError: a\\nb')"
            ]
        },
        [
            "webhooks: parked: evt_2: webhooks-orders could not take skutrail.order.updated: ValueError: a\\nb.",
            "skutrail parked release webhooks evt_2",
        ],
    ),
    "a queued shipment": (
        {"shipments": [a_shipment("queued")], "orders": an_order(1, 1)},
        [f"shipments: stuck: shp_1: queued for 120 min ({TENANT})"],
    ),
    "an allocated shipment that is tried again and again": (
        {
            "shipments": [a_shipment("allocated", at="now()"), a_parcel("purchasing", began_at=LONG_AGO)],
            "inventory": HELD,
        },
        [
            f"shipments: stuck: shp_1: allocated for 120 min ({TENANT})",
            f"shipments: labels: shp_1-1: its label is purchasing for 120 min ({TENANT})",
        ],
    ),
    "an allocated shipment whose carrier sells nothing": (
        {"shipments": [a_shipment("allocated", at="now()"), a_parcel("none")], "inventory": HELD},
        [f"shipments: stuck: shp_1: allocated for 120 min ({TENANT})"],
    ),
    "a label that may have been bought": (
        {"shipments": [a_shipment("label_ready", at="now()"), a_parcel("unknown")], "inventory": HELD},
        [f"shipments: labels: shp_1-1: its label is unknown for 120 min ({TENANT})"],
    ),
    "stock that is not given back": (
        {"shipments": [a_shipment("failed")], "orders": an_order(9, 8)},
        [f"shipments: not given back: shp_1: failed for 120 min, and its stock is not given back ({TENANT})"],
    ),
    "a cancel that is not done": (
        {
            "shipments": [a_shipment("label_ready", cancel_asked_at=LONG_AGO)],
            "inventory": HELD,
            "orders": an_order(4, 4),
        },
        [f"shipments: not canceled: shp_1: to be canceled for 120 min, and still label_ready ({TENANT})"],
    ),
    "a label that nobody gives back": (
        {
            "shipments": [a_shipment("backordered", voids_looked_at="now()"), a_label()],
            "orders": an_order(2, 2),
        },
        [
            "shipments: not voided: shp_1: has a label that serves nobody, and for 120 min nobody gave it back"
            f" ({TENANT})"
        ],
    ),
    "a label that the carrier did not take back": (
        {
            "shipments": [a_shipment("canceled", stock_given_back="true"), a_label(void_refused_at=LONG_AGO)],
            "orders": an_order(8, 7),
        },
        [
            "shipments: not taken back: shp_1-1: label T1 serves nobody, and the carrier did not take it back"
            f" ({TENANT})"
        ],
    ),
    "a shipment that never arrives": (
        {"shipments": [a_shipment("shipped", at="now() - interval '15 days'"), a_label()], "orders": an_order(6, 5)},
        [f"shipments: not delivered: shp_1: shipped 15 days ago, and never delivered ({TENANT})"],
    ),
    "holds that do not add up": (
        {
            "inventory": [*a_request(2), a_balance(5, 3), a_hold(1)],
            "shipments": [a_shipment("backordered", at="now()")],
        },
        [f"inventory: held: A in W: held is 3, open holds are 1 ({TENANT})"],
    ),
    "a hold without a balance": (
        {"inventory": [*a_request(2), a_hold(1)], "shipments": [a_shipment("backordered", at="now()")]},
        [f"inventory: held: A in W: held is 0, open holds are 1 ({TENANT})"],
    ),
    "a request that waits though its stock is there": (
        {"inventory": [*a_request(1), a_balance(5, 0)]},
        [f"inventory: unserved: shp_1: waits, though its stock is there, for 10 s and more ({TENANT})"],
    ),
    "stock held for nobody": (
        {"inventory": HELD},
        [f"inventory: orphan holds: shp_1: stock is held for it, and the shipment is not there ({TENANT})"],
    ),
    "stock held for what has ended": (
        {
            "inventory": HELD,
            "shipments": [a_shipment("canceled", stock_given_back="true")],
            "orders": an_order(8, 7),
        },
        [f"inventory: orphan holds: shp_1: stock is held for it, and the shipment is canceled ({TENANT})"],
    ),
    "a shipment whose stock is not held": (
        {"shipments": [a_shipment("label_ready")], "orders": an_order(4, 4)},
        [f"shipments: without stock: shp_1: label_ready, and inventory holds nothing for it ({TENANT})"],
    ),
    "an order that has not heard of its shipment": (
        {"shipments": [a_shipment("shipped")]},
        [f"orders: behind: shp_1: shipped, and its order ord_1 does not know it ({TENANT})"],
    ),
    "an order that has missed news": (
        {"shipments": [a_shipment("label_ready")], "inventory": HELD, "orders": ALLOCATED_ORDER},
        [f"orders: behind: shp_1: label_ready, and its order ord_1 has allocated ({TENANT})"],
    ),
    "an order that is not what its shipments make it": (
        {"shipments": [a_shipment("label_ready")], "inventory": HELD, "orders": an_order(2, 4)},
        [f"orders: misjudged: ord_1: stored as backordered, its shipments make it allocated ({TENANT})"],
    ),
    "an order of nothing": (
        {"orders": an_order(1, None)},
        ["orders: misjudged: ord_1: stored as queued, its shipments make it nothing: it has none"],
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_trouble_is_told_with_its_id_and_nothing_else_is(
    patient: Patient, trouble: str, capsys: pytest.CaptureFixture[str]
) -> None:
    statements, expected = TROUBLES[trouble]
    for service, of_service in statements.items():
        await patient.suffers(service, *of_service)

    assert await patient.is_examined() == 1

    told = capsys.readouterr().out
    assert all(part in told for part in expected), told
    names = {line.split(": ")[1] for line in told.splitlines()}
    assert names == {part.split(": ")[1] for part in expected if ": " in part}, told


async def test_who_is_well_is_told_so(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    await patient.suffers(
        "shipments",
        a_shipment("label_ready", voids_looked_at=LONG_AGO),
        a_parcel("unknown", began_at="now()"),
        a_shipment("queued", "shp_2", at="now()", cancel_asked_at="now()"),
    )
    await patient.suffers("inventory", *HELD)
    await patient.suffers("orders", *an_order(4, 4))

    assert await patient.is_examined() == 0

    assert capsys.readouterr().out == "All is well.\n"


@pytest.mark.parametrize(
    "parcel",
    [a_parcel("none", began_at=LONG_AGO, warehouse="X"), a_parcel("none", began_at="now()")],
    ids=["where its stock no longer is", "where its stock has come back to"],
)
async def test_a_shipment_is_not_stuck_because_somebody_once_looked_for_its_label(
    patient: Patient, capsys: pytest.CaptureFixture[str], parcel: str
) -> None:
    await patient.suffers("shipments", a_shipment("allocated", at="now()"), parcel)
    await patient.suffers("inventory", *HELD)
    await patient.suffers("orders", *ALLOCATED_ORDER)

    assert await patient.is_examined() == 0, capsys.readouterr().out


async def test_streams_and_consumers_that_are_lost_are_named(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    async with jetstream.connected(patient.nats.url) as js:
        await js.delete_stream("ORDERS")
        await js.delete_consumer("SHIPMENTS", "orders")

    assert await patient.is_examined() == 1

    told = capsys.readouterr().out
    assert "nats: undeclared: ORDERS: the stream is not there. Run skutrail migrate" in told
    assert "nats: undeclared: orders: the consumer is not there, on SHIPMENTS." in told


async def test_a_consumer_that_does_not_get_on_is_named_with_how_much_waits(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    async with jetstream.connected(patient.nats.url) as js:
        for _ in range(streams.BEHIND_MAX + 1):
            await js.publish("skutrail.order.updated", b"event")

        assert await patient.is_examined() == 1
        await js.purge_stream("ORDERS")

    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("nats: standing still: webhooks-orders: 101 messages of ORDERS wait")


async def test_more_than_an_operator_reads_is_cut_short(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    many = f"SELECT 'evt_' || n, 's', 'k', '', {LONG_AGO} FROM generate_series(1, {FOUND_MAX + 5}) n"
    await patient.suffers("orders", f"{AN_EVENT.removesuffix('VALUES')} {many}")

    assert await patient.is_examined() == 1

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == FOUND_MAX + 1
    assert lines[-1] == "orders: unpublished: ... and perhaps more."


async def run_doctor(environment: Mapping[str, str]) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "doctor"), env=dict(environment), stdout=PIPE, stderr=PIPE
    )
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


async def test_the_exit_code_tells_well_from_ill_and_from_unknown(patient: Patient, tmp_path: Path) -> None:
    elsewhere = {**patient.environment, "SKUTRAIL_ORDERS_OWNER_URL": "postgresql://nobody@127.0.0.1:1/nothing"}

    well = await run_doctor(patient.environment)
    unknown = await run_doctor(elsewhere)
    await patient.suffers("shipments", a_shipment("queued"))
    await patient.suffers("orders", *an_order(1, 1))
    ill = await run_doctor(patient.environment)
    nowhere = await run_doctor({"PATH": os.environ["PATH"], "SKUTRAIL_HOME": str(tmp_path)})

    assert well == (0, "All is well.\n", "")
    assert (unknown[0], unknown[1]) == (2, "")
    assert "skutrail: orders: parked: could not look: " in unknown[2]
    assert "Traceback" not in unknown[2]
    assert (ill[0], ill[2]) == (1, "")
    assert "shipments: stuck: shp_1" in ill[1]
    assert nowhere[0] == 1
    assert "No stack runs in" in nowhere[2]
