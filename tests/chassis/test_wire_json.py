"""Protobuf to JSON, the public way: order, nulls, numbers, names and times as the reference has them."""

import json
from datetime import UTC, datetime, timedelta, timezone

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from chassis import wire
from skutrail.v1 import inventory_pb2, shipments_pb2

MOMENT = datetime(2026, 4, 22, 17, 4, 11, 999_999, tzinfo=UTC)


def an_entry() -> inventory_pb2.LedgerEntry:
    return inventory_pb2.LedgerEntry(
        id="inv_1",
        sku="SKU-0042",
        warehouse="SEA-1",
        qty=-5,
        balance=2**53 + 1,
        seq=3,
        reason=inventory_pb2.REASON_PICK,
        created_at=wire.timestamp(MOMENT),
    )


def test_an_entry_is_written_in_the_order_of_the_contract_with_its_nulls_and_numbers() -> None:
    assert json.dumps(wire.to_json(an_entry())) == (
        '{"id": "inv_1", "sku": "SKU-0042", "warehouse": "SEA-1", "qty": -5, "balance": 9007199254740993, "seq": 3,'
        ' "reason": "pick", "reference": null, "created_at": "2026-04-22T17:04:11Z"}'
    )


def test_what_is_present_but_empty_is_not_null() -> None:
    entry = an_entry()
    entry.reference = ""

    assert wire.to_json(entry)["reference"] == ""


def test_an_empty_message_has_every_field() -> None:
    empty = wire.to_json(shipments_pb2.Shipment(), only=("status", "label_url", "ship_to", "line_items", "created_at"))

    assert empty == {
        "status": "unspecified",
        "label_url": None,
        "ship_to": None,
        "line_items": [],
        "created_at": None,
    }


def test_messages_in_messages_and_lists_are_written_the_same_way() -> None:
    shipment = shipments_pb2.Shipment(
        status=shipments_pb2.SHIPMENT_STATUS_LABEL_READY,
        line_items=[inventory_pb2.StockLine(sku="SKU-0042", qty=2)],
        parcels=[shipments_pb2.Parcel(warehouse="SEA-1")],
        error=shipments_pb2.ShipmentError(code="c", message="m"),
    )

    written = wire.to_json(shipment)

    assert written["status"] == "label_ready"
    assert written["line_items"] == [{"sku": "SKU-0042", "qty": 2}]
    assert written["parcels"] == [{"warehouse": "SEA-1", "tracking_number": None, "label_status": "unspecified"}]
    assert written["error"] == {"code": "c", "message": "m"}


def test_fields_are_picked_and_ordered_or_left_out() -> None:
    assert list(wire.to_json(an_entry(), only=("balance", "id"))) == ["balance", "id"]
    assert "reference" not in wire.to_json(an_entry(), without=("reference",))


def test_the_order_is_that_of_the_declaration_whatever_the_numbers() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="order.proto", package="order", syntax="proto3")
    message = file.message_type.add(name="Shuffled")
    for name, number in {"zebra": 3, "apple": 1, "mango": 2}.items():
        message.field.add(name=name, number=number, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    shuffled = message_factory.GetMessageClass(pool.FindMessageTypeByName("order.Shuffled"))()

    assert list(wire.to_json(shuffled)) == ["zebra", "apple", "mango"]


def test_a_moment_keeps_its_microseconds_and_is_told_in_whole_seconds_of_utc() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-7)))

    assert wire.moment(wire.timestamp(elsewhere)) == MOMENT
    assert wire.rfc3339(elsewhere) == "2026-04-22T17:04:11Z"


def test_a_year_has_four_digits_however_long_ago_it_was() -> None:
    assert wire.rfc3339(datetime(322, 4, 3, 2, 45, 56, tzinfo=UTC)) == "0322-04-03T02:45:56Z"
