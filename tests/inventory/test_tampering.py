"""Whatever a superuser changes by hand in a trail is found, and the first entry that it broke is named."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from chassis.database import Database
from chassis.ids import new_id
from services.inventory import audit, chain
from services.inventory.audit import Report, Scope
from services.inventory.chain import Whole
from services.inventory.domain import Reason, StockKey
from tests.inventory.conftest import Inventory
from tests.inventory.ledgers import fill

LENGTH = 5
COLUMNS = "tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at, hash"
ENTRY = "ledger_entry e WHERE tenant_id = %(tenant)s AND seq"
# An entry as one writes it who knows how hashes are made: it follows from the one before it.
INSERT = f"""
    INSERT INTO ledger_entry SELECT n.* FROM (
        SELECT tenant_id, sku, warehouse, seq + 1, 'inv_new', 1, balance + 1, 1, NULL, created_at, hash
        FROM {ENTRY} = {{0}}
    ) AS n ({COLUMNS});
    UPDATE {ENTRY.replace(" WHERE", " SET hash = chain_hash(hash, e) WHERE")} = {{0}} + 1;
"""
SHIFT = f"UPDATE {ENTRY.replace(' WHERE', ' SET seq = seq + 1000 WHERE')} BETWEEN 3 AND 999;"
SHIFT_BACK = f"UPDATE {ENTRY.replace(' WHERE', ' SET seq = seq - 999 WHERE')} > 1000;"


def change(seq: int, what: str) -> str:
    return f"UPDATE {ENTRY.replace(' WHERE', f' SET {what} WHERE')} = {seq};"


def rehash(seq: int) -> str:
    previous = f"(SELECT hash FROM {ENTRY} = {seq - 1})"
    return f"UPDATE {ENTRY.replace(' WHERE', f' SET hash = chain_hash({previous}, e) WHERE')} = {seq};"


def change_balance(what: str) -> str:
    return f"UPDATE balance SET {what} WHERE tenant_id = %(tenant)s;"


SWAPPED = """
    UPDATE ledger_entry e SET reference = o.reference, created_at = o.created_at, hash = o.hash FROM ledger_entry o
    WHERE e.tenant_id = %(tenant)s AND o.tenant_id = e.tenant_id AND (e.seq, o.seq) IN ((2, 4), (4, 2));
"""

# What is done to a chain of five entries, and the seq that is named.
TAMPERED = {
    "a quantity": (change(3, "qty = 2"), 3),
    "a quantity and the balance with it": (change(3, "qty = 2, balance = balance + 1"), 3),
    "a quantity out of all bounds": (change(3, "qty = 9223372036854775807"), 3),
    "a balance": (change(3, "balance = 99"), 3),
    "a reason": (change(3, "reason = 3"), 3),
    "an id": (change(3, "id = 'inv_other'"), 3),
    "a reference": (change(3, "reference = 'PO-2'"), 3),
    "no reference into an empty one": (change(4, "reference = ''"), 4),
    "a time, by a microsecond": (change(3, "created_at = created_at + interval '1 microsecond'"), 3),
    "a time, into none at all": (change(3, "created_at = 'infinity'"), 3),
    "a hash": (change(3, "hash = sha256('x')"), 3),
    "the first entry": (change(1, "reference = 'PO-2'"), 1),
    "the last entry": (change(5, "reference = 'PO-2'"), 5),
    "an entry and its own hash": (change(3, "reference = 'PO-2'") + rehash(3), 4),
    "the last entry and its own hash": (change(5, "reference = 'PO-2'") + rehash(5), 5),
    "an entry moved to another chain": (change(4, "sku = 'OTHER'"), 4),
    "the first entry deleted": (f"DELETE FROM {ENTRY} = 1", 1),
    "a middle entry deleted": (f"DELETE FROM {ENTRY} = 3", 3),
    "the last entry deleted": (f"DELETE FROM {ENTRY} = 5", 5),
    "the last entry deleted, the balance's seq set": (f"DELETE FROM {ENTRY} = 5;" + change_balance("seq = 4"), 4),
    "all entries deleted": (f"DELETE FROM {ENTRY} > 0", 1),
    "the contents of two entries swapped": (SWAPPED, 2),
    "two entries swapped": (change(2, "seq = 99") + change(4, "seq = 2") + change(99, "seq = 4"), 2),
    "an entry inserted in the middle": (SHIFT + INSERT.format(2) + SHIFT_BACK, 4),
    "an entry inserted in the middle, not hashed": (SHIFT + INSERT.format(2).split(";")[0] + ";" + SHIFT_BACK, 3),
    "an entry added behind the last": (INSERT.format(5), 6),
    "the balance": (change_balance("on_hand = 6"), 5),
    "the balance's seq": (change_balance("seq = 6"), 6),
    "the balance's seq out of all bounds": (change_balance("seq = 9223372036854775807"), 6),
    "the balance's seq below all bounds": (change_balance("seq = -9223372036854775808"), 1),
    "the balance's hash": (change_balance("head = sha256('x')"), 5),
    "the balance deleted": ("DELETE FROM balance WHERE tenant_id = %(tenant)s", 1),
}


@pytest.fixture
async def superuser(postgres: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """In the inventory database, each statement committed. The client puts the parameters in, so that several pass."""
    connection = await psycopg.AsyncConnection.connect(
        postgres, dbname="skutrail_inventory", autocommit=True, cursor_factory=psycopg.AsyncClientCursor
    )
    async with connection:
        yield connection


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_was_tampered_with_is_found_and_named(
    superuser: psycopg.AsyncConnection, inventory: Inventory, what: str
) -> None:
    statements, first_broken = TAMPERED[what]
    await fill(superuser, inventory.key(), LENGTH)
    assert await first_broken_seqs(inventory) == (None, None)

    await superuser.execute(statements.encode(), {"tenant": inventory.tenant_id})

    assert await first_broken_seqs(inventory) == (first_broken, first_broken)


async def first_broken_seqs(inventory: Inventory) -> tuple[int | None, int | None]:
    """What callers are told of SKU-1, and what the operator is."""
    stretch = await inventory.database.run(lambda tx: chain.verify_stretch(tx, inventory.key(), Whole()))
    found, _ = (await look(inventory)).broken.get(inventory.key(), (None, ""))
    return stretch.first_broken_seq, found


async def look(inventory: Inventory) -> Report:
    return await audit.audit(url_of(inventory.database), Scope(inventory.tenant_id), lambda report: None)


def url_of(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


async def test_an_entry_in_a_chain_of_its_own_has_no_balance(
    superuser: psycopg.AsyncConnection, inventory: Inventory
) -> None:
    await fill(superuser, inventory.key(), 1)
    await superuser.execute(change(1, "sku = 'OTHER'").encode(), {"tenant": inventory.tenant_id})

    broken = (await look(inventory)).broken

    assert {key.sku: seq for key, (seq, _) in broken.items()} == {"SKU-1": 1, "OTHER": 1}


async def test_holds_and_what_is_held_are_held_against_each_other(
    superuser: psycopg.AsyncConnection, inventory: Inventory
) -> None:
    for sku in ("SKU-1", "SKU-2", "SKU-3"):
        await inventory.move(10, sku=sku)
        await inventory.allocate(f"shp_{sku}", (sku, 2))
    assert (await look(inventory)).is_whole

    tenant = {"tenant": inventory.tenant_id}
    await superuser.execute(b"UPDATE balance SET held = 3 WHERE tenant_id = %(tenant)s AND sku = 'SKU-1'", tenant)
    await superuser.execute(b"UPDATE hold SET open = 1 WHERE tenant_id = %(tenant)s AND sku = 'SKU-2'", tenant)
    await superuser.execute(b"DELETE FROM balance WHERE tenant_id = %(tenant)s AND sku = 'SKU-3'", tenant)
    report = await look(inventory)

    assert {key.sku: text for key, text in report.held_wrong.items()} == {
        "SKU-1": "held is 3, the open holds are 2",
        "SKU-2": "held is 2, the open holds are 1",
        "SKU-3": "open holds of 2, and no balance",
    }
    assert [key.sku for key in report.broken] == ["SKU-3"]


def change_of(table: str, what: str) -> str:
    return f"UPDATE {table} SET {what} WHERE tenant_id = %(tenant)s AND request_id = %(request)s;"


# What is done to one of the requests below, and what is said of it.
TAMPERED_REQUESTS = {
    "a fact's units": ("held", change_of("hold_fact", "units = 3"), "is 4 open and 0 picked, its facts say 3 and 0"),
    "a fact of another kind": ("picked", change_of("hold_fact", "fact = 3"), "its facts say"),
    "a fact deleted": ("held", "DELETE FROM hold_fact WHERE request_id = %(request)s", "its facts say 0 and 0"),
    "a hold's open units": ("held", change_of("hold", "open = 5"), "is 5 open and 0 picked, its facts say 4 and 0"),
    "a hold's picked units": (
        "part",
        change_of("hold", "consumed = 2"),
        "is 3 open and 2 picked, its facts say 3 and 1",
    ),
    "a hold deleted": ("held", "DELETE FROM hold WHERE request_id = %(request)s", "is 0 open and 0 picked, its facts"),
    "a hold elsewhere": ("held", change_of("hold", "warehouse = 'X'"), "the hold of SKU-1 in SEA-1 is 0 open"),
    "a hold's expiry": ("held", change_of("hold", "expires_at = now()"), "expires at another time than it"),
    "a request's expiry": ("held", change_of("allocation", "expires_at = now()"), "expires at another time than it"),
    "a line's units": ("held", change_of("allocation_line", "qty = 9"), "of 9 wanted 0 are missing, 4 held, 0 picked"),
    "a line's missing units": ("waiting", change_of("allocation_line", "missing = 98"), "of 99 wanted 98 are missing"),
    "a line's picked units": ("part", change_of("allocation_line", "consumed = 0"), "says 0 picked, the holds 1"),
    "a line deleted": (
        "held",
        "DELETE FROM allocation_line WHERE request_id = %(request)s",
        "SKU-1: it is held, but no line wants it",
    ),
    "one that is held waits": ("held", change_of("allocation", "status = 1"), "it waits for nothing"),
    "one that waits is held": ("waiting", change_of("allocation", "status = 2"), "told to be held, but misses"),
    "one that is picked is held": (
        "picked",
        change_of("allocation", "status = 2"),
        "told to be held, and is not",
    ),
    "one that is held is released": ("held", change_of("allocation", "status = 3"), "but 0 are missing and 4 held"),
    "one that waits is released": ("waiting", change_of("allocation", "status = 3"), "but 99 are missing and 0 held"),
    "one that is held is dispatched": ("held", change_of("allocation", "status = 5"), "0 are missing and 4 held"),
    "one that is released is dispatched": ("released", change_of("allocation", "status = 5"), "but 0 of 2 are"),
}


@pytest.mark.parametrize("what", TAMPERED_REQUESTS)
async def test_a_request_that_was_tampered_with_is_found_and_told_of(
    superuser: psycopg.AsyncConnection, inventory: Inventory, what: str
) -> None:
    request_id, statements, told = TAMPERED_REQUESTS[what]
    await inventory.move(20)
    for name, units in (("held", 4), ("part", 4), ("picked", 3), ("left", 1), ("released", 2), ("waiting", 99)):
        await inventory.allocate(name, ("SKU-1", units))
    await inventory.move(1, Reason.PICK, reference="part")
    await inventory.move(3, Reason.PICK, reference="picked")
    await inventory.dispatch("left")
    await inventory.release("released")
    assert (await look(inventory)).is_whole

    await superuser.execute(statements.encode(), {"tenant": inventory.tenant_id, "request": request_id})

    [(key, text)] = (await look(inventory)).requests_wrong.items()
    assert key == (inventory.tenant_id, request_id)
    assert told in text


@pytest.mark.parametrize(("page", "parts"), [(2, 1), (2, 7), (3, 4), (100, 3)])
async def test_an_audit_finds_the_same_wherever_its_pages_and_parts_end(
    superuser: psycopg.AsyncConnection, inventory: Inventory, monkeypatch: pytest.MonkeyPatch, page: int, parts: int
) -> None:
    monkeypatch.setattr(audit, "ENTRIES_PAGE", page)
    monkeypatch.setattr(audit, "BALANCES_PAGE", page)
    monkeypatch.setattr(audit, "REQUESTS_PAGE", page)
    monkeypatch.setattr(audit, "PARTS", parts)
    lengths = {f"SKU-{number}": length for number, length in enumerate((1, 2, 3, 7, 1, 4))}
    for sku, length in lengths.items():
        await fill(superuser, inventory.key(sku), length)

    whole = await look(inventory)
    every_third = b"UPDATE ledger_entry SET qty = 2 WHERE tenant_id = %(tenant)s AND mod(seq, 3) = 0"
    await superuser.execute(every_third, {"tenant": inventory.tenant_id})
    broken = await look(inventory)

    assert whole.is_whole, list(whole.findings())
    assert (whole.entries, whole.balances) == (sum(lengths.values()), len(lengths))
    assert {key.sku: seq for key, (seq, _) in broken.broken.items()} == {"SKU-2": 3, "SKU-3": 3, "SKU-5": 3}


async def test_what_never_moved_is_no_balance_unless_it_says_that_it_did(
    superuser: psycopg.AsyncConnection, inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BALANCES_PAGE", 1)
    await inventory.move(1, Reason.PICK, sku="A")
    await inventory.move(1, sku="B")
    await inventory.move(1, Reason.PICK, sku="C")

    refused = await look(inventory)
    await superuser.execute(change_balance("on_hand = 2").encode(), {"tenant": inventory.tenant_id})
    tampered = await look(inventory)

    assert (refused.entries, refused.balances, refused.balances_in_all) == (1, 1, 1)
    assert refused.is_whole
    assert [key.sku for key in tampered.broken] == ["A", "B", "C"]


async def test_where_nothing_ever_moved_all_is_whole(inventory: Inventory) -> None:
    scope = Scope(new_id("nobody"))

    report = await audit.audit(url_of(inventory.database), scope, lambda report: None)

    assert (report.entries, report.balances, report.is_whole) == (0, 0, True)


def test_a_chain_is_named_once_by_its_first_broken_entry() -> None:
    report, key = Report(), StockKey("t", "s", "w")

    report.chain_broken(key, 7, "later")
    report.chain_broken(key, 3, "first")
    report.chain_broken(key, 5, "between")

    assert list(report.findings()) == [(key, "first")]
