"""A line of shipments counts only when its checker finds no fault. So it is shown every fault that it must find."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from bench.check import Connection
from bench.check_shipments import ShipmentChecker, Told
from bench.milestones import ALLOCATED, CREATED, LABEL_READY
from cli.provision import DatabaseUrls

TENANT, TAG = "bench/test", "ship1"
MADE = 3
IDS = [f"shp_{number}" for number in range(1, MADE + 1)]

# Shipment n is of one unit of SKU-1 and two of SKU-2, from SEA-1.
_ADD_SHIPMENTS = """
    INSERT INTO shipment (tenant_id, id, order_id, status, ship_to, line_items, allocations, version,
        allocation_version, created_at, updated_at, looked_at)
    SELECT %(tenant)s, 'shp_' || n, %(tag)s || '-' || n, 'label_ready', '{}',
        '[{"sku": "SKU-1", "qty": 1}, {"sku": "SKU-2", "qty": 2}]',
        '[{"sku": "SKU-1", "warehouse": "SEA-1", "qty": 1}, {"sku": "SKU-2", "warehouse": "SEA-1", "qty": 2}]',
        3, 1, now(), now(), now()
    FROM generate_series(1, %(made)s) n
"""
_ADD_PARCELS = """
    INSERT INTO parcel (tenant_id, shipment_id, warehouse, number, reference, label_status, tracking_number)
    SELECT %(tenant)s, 'shp_' || n, 'SEA-1', 1, 'shp_' || n || '-1', 'ready', 'SKTT' || n
    FROM generate_series(1, %(made)s) n
"""
_ADD_BALANCES = """
    INSERT INTO balance (tenant_id, sku, warehouse, on_hand, held)
    SELECT %(tenant)s, 'SKU-' || units, 'SEA-1', 10, units * %(made)s FROM generate_series(1, 2) units
"""
_ADD_ALLOCATIONS = """
    INSERT INTO allocation (tenant_id, request_id, status, created_at)
    SELECT %(tenant)s, 'shp_' || n, 2, now() FROM generate_series(1, %(made)s) n
"""
_ADD_HOLDS = """
    INSERT INTO hold (tenant_id, request_id, sku, warehouse, open)
    SELECT %(tenant)s, 'shp_' || n, 'SKU-' || units, 'SEA-1', units
    FROM generate_series(1, %(made)s) n CROSS JOIN generate_series(1, 2) units
"""


@pytest.fixture
async def connections(postgres: str, databases: Mapping[str, DatabaseUrls]) -> AsyncIterator[Mapping[str, Connection]]:
    """The services' own tables, in transactions that are rolled back: what is planted here nobody else sees."""
    async with AsyncExitStack() as opened:
        found = {}
        for name in ("shipments", "inventory"):
            url = urlunsplit(urlsplit(postgres)._replace(path=urlsplit(databases[name].owner).path))
            found[name] = await opened.enter_async_context(await psycopg.AsyncConnection.connect(url))
            opened.push_async_callback(found[name].rollback)
        yield found


@pytest.fixture
async def checker(connections: Mapping[str, Connection]) -> ShipmentChecker:
    """Of shipments that are just as they should be."""
    given = {"tenant": TENANT, "tag": TAG, "made": MADE}
    for statement in (_ADD_SHIPMENTS, _ADD_PARCELS):
        await connections["shipments"].execute(statement, given)
    for statement in (_ADD_BALANCES, _ADD_ALLOCATIONS, _ADD_HOLDS):
        await connections["inventory"].execute(statement, given)
    return ShipmentChecker(**connections, tenant=TENANT)


def _told() -> dict[str, Counter[str]]:
    return {kind: Counter(IDS) for kind in (CREATED, ALLOCATED, LABEL_READY)}


async def test_shipments_that_hold_what_was_ordered_are_without_fault(checker: ShipmentChecker) -> None:
    findings = await checker.check(accepted=MADE, sent=MADE, tag=TAG, told=_told())

    assert findings.written == MADE
    assert not findings.faults


async def test_what_was_sent_but_never_answered_may_be_a_shipment_or_not(checker: ShipmentChecker) -> None:
    findings = await checker.check(accepted=MADE - 1, sent=MADE + 4, tag=TAG, told=_told())

    assert not findings.faults


async def test_stock_that_another_load_holds_is_no_fault(
    connections: Mapping[str, Connection], checker: ShipmentChecker
) -> None:
    await connections["shipments"].execute("UPDATE shipment SET order_id = 'ship0-1' WHERE id = 'shp_1'")
    told = {kind: Counter(IDS[1:]) for kind in (CREATED, ALLOCATED, LABEL_READY)}

    findings = await checker.check(accepted=MADE - 1, sent=MADE - 1, tag=TAG, told=told)

    assert not findings.faults


@pytest.mark.parametrize("accepted", [MADE + 1, MADE - 1])
async def test_a_shipment_too_few_or_too_many_is_found(checker: ShipmentChecker, accepted: int) -> None:
    findings = await checker.check(accepted=accepted, sent=accepted, tag=TAG, told=_told())

    assert any("accepted" in fault for fault in findings.faults), findings


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        pytest.param("UPDATE shipment SET order_id = 'ship1-1' WHERE id = 'shp_2'", "second", id="an_order_twice"),
        pytest.param(
            "UPDATE shipment SET status = 'allocated' WHERE id = 'shp_2'", "not label_ready", id="left_behind"
        ),
        pytest.param(
            """UPDATE shipment SET line_items = '[{"sku": "SKU-1", "qty": 1}, {"sku": "SKU-2", "qty": 3}]'""",
            "3 shipments hold not what was ordered",
            id="less_than_ordered",
        ),
        pytest.param(
            """UPDATE shipment SET line_items = line_items || '[{"sku": "SKU-3", "qty": 1}]' WHERE id = 'shp_2'""",
            "1 shipments hold not what was ordered",
            id="a_line_without_stock",
        ),
        pytest.param(
            "UPDATE parcel SET label_status = 'none', tracking_number = NULL WHERE shipment_id = 'shp_2'",
            "one parcel and label",
            id="no_label",
        ),
        pytest.param(
            "INSERT INTO parcel (tenant_id, shipment_id, warehouse, number, reference, label_status, tracking_number)"
            " VALUES ('bench/test', 'shp_2', 'LAX-2', 2, 'shp_2-2', 'ready', 'SKTT9')",
            "one parcel and label",
            id="a_label_too_many",
        ),
        pytest.param("UPDATE parcel SET tracking_number = 'SKTT1'", "number of another", id="one_label_for_all"),
    ],
)
async def test_a_shipment_that_is_not_right_is_found(
    connections: Mapping[str, Connection], checker: ShipmentChecker, planted: str, found: str
) -> None:
    await connections["shipments"].execute(planted.encode())

    findings = await checker.check(accepted=MADE, sent=MADE, tag=TAG, told=_told())

    assert any(found in fault for fault in findings.faults), findings


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        pytest.param("UPDATE balance SET on_hand = 5, held = 5 WHERE sku = 'SKU-2'", "OVERSOLD", id="oversold"),
        pytest.param("DELETE FROM balance WHERE sku = 'SKU-2'", "OVERSOLD", id="of_nothing"),
        pytest.param("UPDATE balance SET held = held + 1 WHERE sku = 'SKU-2'", "open holds", id="a_sum_too_high"),
        pytest.param("UPDATE hold SET open = 1 WHERE request_id = 'shp_2'", "inventory holds", id="a_hold_too_low"),
        pytest.param("DELETE FROM hold WHERE request_id = 'shp_2'", "inventory holds", id="no_hold"),
        pytest.param("UPDATE allocation SET status = 3 WHERE request_id = 'shp_2'", "not held", id="released"),
        pytest.param(
            "WITH request AS (INSERT INTO allocation (tenant_id, request_id, status, created_at)"
            " VALUES ('bench/test', 'shp_9', 2, now()))"
            " INSERT INTO hold (tenant_id, request_id, sku, warehouse, open)"
            " VALUES ('bench/test', 'shp_9', 'SKU-1', 'SEA-1', 1)",
            "inventory holds",
            id="held_for_nobody",
        ),
    ],
)
async def test_stock_that_does_not_agree_is_found(
    connections: Mapping[str, Connection], checker: ShipmentChecker, planted: str, found: str
) -> None:
    await connections["inventory"].execute(planted.encode())

    findings = await checker.check(accepted=MADE, sent=MADE, tag=TAG, told=_told())

    assert any(found in fault for fault in findings.faults), findings


@pytest.mark.parametrize(
    ("told", "found"),
    [
        pytest.param({ALLOCATED: Counter([*IDS, "shp_2"])}, "once as shipment.allocated", id="twice"),
        pytest.param({LABEL_READY: Counter(IDS[1:])}, "once as shipment.label_ready", id="never"),
        pytest.param({CREATED: Counter([*IDS, "shp_9"])}, "once as shipment.created", id="of_another"),
        pytest.param({"shipment.failed": Counter(["shp_2"])}, "1 events of shipment.failed", id="of_an_end"),
    ],
)
async def test_what_was_told_otherwise_is_found(checker: ShipmentChecker, told: Told, found: str) -> None:
    findings = await checker.check(accepted=MADE, sent=MADE, tag=TAG, told={**_told(), **told})

    assert any(found in fault for fault in findings.faults), findings
