"""The door for calls: real gRPC, one happy path and one refusal per method."""

import hashlib
from contextlib import suppress
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pypdfium2
import pytest
import zxingcpp
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import rpc, wire
from chassis.consumer import RetryLater
from chassis.errors import Fault, from_message
from services.shipments import operations
from services.shipments.domain import Line, Policy, Shipment, Status
from services.shipments.steps import stock_request
from skutrail.v1 import common_pb2, inventory_pb2, shipments_pb2, shipments_pb2_grpc
from tests.shipments.conftest import Shipments
from tests.shipments.selling import selling

Stub = shipments_pb2_grpc.ShipmentsStub


def create_request(shipments: Shipments, key: str = "key-1", **more: object) -> shipments_pb2.CreateShipmentRequest:
    return shipments_pb2.CreateShipmentRequest(
        **{  # type: ignore[arg-type]
            "tenant_id": shipments.tenant_id,
            "idempotency": common_pb2.IdempotencyKey(key=key, fingerprint=b"f"),
            "order_id": "ord_1",
            "ship_to": shipments_pb2.Address(
                name="Ada Lovelace", line1="1 Shoreline Dr", city="Seattle", postal="98101", country="US"
            ),
            "line_items": [inventory_pb2.StockLine(sku="SKU-1", qty=2)],
            **more,
        }
    )


async def create(stub: Stub, request: shipments_pb2.CreateShipmentRequest) -> shipments_pb2.CreateShipmentReply:
    """Raises the Fault that refuses it."""
    reply = await rpc.call(stub.CreateShipments, shipments_pb2.CreateShipmentsRequest(requests=[request]))
    [outcome] = reply.outcomes
    if outcome.HasField("refusal"):
        raise from_message(outcome.refusal)
    return outcome.created


async def labeled(shipments: Shipments, *warehouses: str) -> Shipment:
    shipment = await shipments.allocated(*warehouses)
    async with selling() as shop:
        while (await shipments.read(shipment)).status is Status.ALLOCATED:
            with suppress(RetryLater):  # that was more than fits in one go
                await shipments.steps_with(shop.carrier).buy_labels(shipments.tenant_id, shipment.id)
    return await shipments.read(shipment)


async def token_of(stub: Stub, shipment: Shipment) -> str:
    message = await rpc.call(
        stub.GetShipment, shipments_pb2.GetShipmentRequest(tenant_id=shipment.tenant_id, id=shipment.id)
    )
    return parse_qs(urlsplit(message.label_url).query)["token"][0]


async def test_a_created_shipment_is_queued_and_can_be_read(shipments: Shipments, stub: Stub) -> None:
    reply = await create(stub, create_request(shipments, carrier_hint="ups_ground"))

    read = await rpc.call(
        stub.GetShipment, shipments_pb2.GetShipmentRequest(tenant_id=shipments.tenant_id, id=reply.shipment.id)
    )
    assert read == reply.shipment
    assert read.status == shipments_pb2.SHIPMENT_STATUS_QUEUED
    assert read.carrier_hint == "ups_ground"
    assert not read.ship_to.HasField("state")
    assert not reply.replayed


async def test_what_a_request_says_of_its_stock_is_kept_and_told_to_inventory(shipments: Shipments, stub: Stub) -> None:
    expires_at = shipments.clock() + timedelta(hours=1)
    address = shipments_pb2.Address(name="Ada", line1="1", city="Seattle", postal="98101", country="US")
    address.coordinates.CopyFrom(common_pb2.Coordinates(latitude=47.6, longitude=-122.3))
    request = create_request(
        shipments,
        allocation=inventory_pb2.ALLOCATION_POLICY_PARTIAL,
        priority=7,
        hold_expires_at=wire.timestamp(expires_at),
        ship_to=address,
    )

    created = (await create(stub, request)).shipment

    kept = await shipments.run(lambda tx: operations.get_shipment(tx, shipments.tenant_id, created.id))
    assert (kept.policy, kept.priority, kept.hold_expires_at) == (Policy.PARTIAL, 7, expires_at)
    terms = await rpc.call(
        stub.GetTerms, shipments_pb2.GetShipmentRequest(tenant_id=shipments.tenant_id, id=created.id)
    )
    assert (terms.allocation, terms.priority) == (inventory_pb2.ALLOCATION_POLICY_PARTIAL, 7)
    assert wire.moment(terms.hold_expires_at) == expires_at
    assert created.ship_to.coordinates.latitude == 47.6
    wanted = stock_request(kept)
    assert wanted.policy == inventory_pb2.ALLOCATION_POLICY_PARTIAL
    assert (wanted.priority, wire.moment(wanted.expires_at)) == (7, expires_at)
    assert wanted.destination == created.ship_to.coordinates


@pytest.mark.parametrize(
    "never", [Timestamp(seconds=10**12), Timestamp(seconds=-(10**12)), Timestamp(nanos=-1), Timestamp(seconds=2**62)]
)
async def test_a_time_that_is_none_refuses_its_own_request_alone(
    shipments: Shipments, stub: Stub, never: Timestamp
) -> None:
    requests = [create_request(shipments, "key-1"), create_request(shipments, "key-2", hold_expires_at=never)]

    reply = await rpc.call(stub.CreateShipments, shipments_pb2.CreateShipmentsRequest(requests=requests))

    well, refused = reply.outcomes
    assert well.created.shipment.id
    fault = from_message(refused.refusal)
    assert (fault.code, [field.pointer for field in fault.fields]) == ("validation_failed", ["/hold_expires_at"])


async def test_a_policy_that_is_none_is_refused(shipments: Shipments, stub: Stub) -> None:
    with pytest.raises(Fault) as refused:
        await create(stub, create_request(shipments, allocation=99))

    assert [field.pointer for field in refused.value.fields] == ["/allocation"]


async def test_the_same_key_answers_the_same_and_creates_nothing_more(shipments: Shipments, stub: Stub) -> None:
    first = await create(stub, create_request(shipments))
    again = await create(stub, create_request(shipments))

    assert again.replayed
    assert again.shipment == first.shipment
    orders = await rpc.call(
        stub.ListShipments,
        shipments_pb2.ListShipmentsRequest(tenant_id=shipments.tenant_id, order_id="ord_1", limit=10),
    )
    assert list(orders.shipments) == [first.shipment]
    assert not orders.has_more


async def test_shipments_that_share_a_call_are_answered_each_for_itself(shipments: Shipments, stub: Stub) -> None:
    traceparent = f"00-{1:032x}-{2:016x}-01"
    wanted = [
        create_request(shipments, "key-1", order_id="ord_1"),
        create_request(shipments, "key-2", allocation=99),
        create_request(shipments, "key-3", order_id="ord 3"),
        create_request(shipments, "key-1", order_id="ord_1"),
        create_request(shipments, "key-4", cause=inventory_pb2.Cause(request_id="req_4", traceparent=traceparent)),
    ]

    reply = await rpc.call(stub.CreateShipments, shipments_pb2.CreateShipmentsRequest(requests=wanted))

    first, no_policy, no_order, again, caused = reply.outcomes
    assert [fault.refusal.code for fault in (no_policy, no_order)] == ["validation_failed", "validation_failed"]
    assert again.created.shipment == first.created.shipment
    assert (first.created.replayed, again.created.replayed) == (False, True)
    assert caused.created.shipment.id != first.created.shipment.id
    [created] = await shipments.events(await shipments.find(caused.created.shipment.id))
    assert created.traceparent == traceparent


@pytest.mark.parametrize("count", [0, 65])
async def test_a_call_for_none_or_too_many_is_refused(shipments: Shipments, stub: Stub, count: int) -> None:
    wanted = [create_request(shipments, f"key-{number}") for number in range(count)]

    with pytest.raises(Fault) as refused:
        await rpc.call(stub.CreateShipments, shipments_pb2.CreateShipmentsRequest(requests=wanted))

    assert refused.value.code == "validation_failed"


async def test_a_finished_key_can_be_looked_up(shipments: Shipments, stub: Stub) -> None:
    key = common_pb2.IdempotencyKey(key="key-1", fingerprint=b"f")
    wanted = common_pb2.LookUpAnswerRequest(tenant_id=shipments.tenant_id, idempotency=key)
    assert not (await rpc.call(stub.LookUpAnswer, wanted)).found

    created = await create(stub, create_request(shipments))

    found = await rpc.call(stub.LookUpAnswer, wanted)
    assert shipments_pb2.CreateShipmentReply.FromString(found.reply) == created


async def test_a_refused_request_leaves_its_key_free(shipments: Shipments, stub: Stub) -> None:
    with pytest.raises(Fault) as refused:
        await create(stub, create_request(shipments, order_id="ord 1", line_items=[]))
    assert refused.value.code == "validation_failed"
    assert [field.pointer for field in refused.value.fields] == ["/line_items", "/order_id"]

    reply = await create(stub, create_request(shipments))

    assert not reply.replayed


async def test_a_label_is_read_by_its_tenant_and_by_whoever_holds_the_link(shipments: Shipments, stub: Stub) -> None:
    shipment = await labeled(shipments)

    by_tenant = await rpc.call(
        stub.GetLabel, shipments_pb2.GetLabelRequest(tenant_id=shipments.tenant_id, shipment_id=shipment.id)
    )
    by_link = await rpc.call(
        stub.GetLabel,
        shipments_pb2.GetLabelRequest(shipment_id=shipment.id, token=await token_of(stub, shipment)),
    )

    assert by_link == by_tenant
    assert by_tenant.content_type == "application/pdf"
    assert by_tenant.sha256 == hashlib.sha256(by_tenant.content).hexdigest()


async def test_several_parcels_are_one_document_with_a_page_each(shipments: Shipments, stub: Stub) -> None:
    shipment = await labeled(shipments, "SEA-1", "PDX-1", "ŁÓDŹ-1")
    wanted = shipments_pb2.GetLabelRequest(tenant_id=shipments.tenant_id, shipment_id=shipment.id)

    label = await rpc.call(stub.GetLabel, wanted)

    pages = list(pypdfium2.PdfDocument(label.content))
    read = [zxingcpp.read_barcodes(page.render(scale=203 / 72).to_pil())[0].text for page in pages]
    assert read == [parcel.tracking_number for parcel in shipment.parcels]
    assert "ŁÓDŹ-1" in pages[2].get_textpage().get_text_range()
    assert [page.get_size() for page in pages] == [(288.0, 432.0)] * 3
    assert (await rpc.call(stub.GetLabel, wanted)).sha256 == label.sha256


async def test_a_label_that_is_not_there_is_not_found_whoever_asks(shipments: Shipments, stub: Stub) -> None:
    queued, ready, other = await shipments.create(Line("SKU-1", 1)), await labeled(shipments), await labeled(shipments)
    assert ready.status is Status.LABEL_READY
    token = await token_of(stub, other)

    for wanted in (
        shipments_pb2.GetLabelRequest(tenant_id=shipments.tenant_id, shipment_id=queued.id),
        shipments_pb2.GetLabelRequest(tenant_id="tenant_else", shipment_id=ready.id),
        shipments_pb2.GetLabelRequest(shipment_id=ready.id),
        shipments_pb2.GetLabelRequest(shipment_id=ready.id, token=token),
        shipments_pb2.GetLabelRequest(shipment_id=ready.id, token=token[:-2] + "AA"),
    ):
        with pytest.raises(Fault) as refused:
            await rpc.call(stub.GetLabel, wanted)
        assert refused.value.code == "not_found"


async def test_the_largest_shipment_there_can_be_is_one_document_within_its_bound(
    shipments: Shipments, stub: Stub
) -> None:
    shipment = await labeled(shipments, *(f"WH-{number}" for number in range(100)))

    label = await rpc.call(
        stub.GetLabel,
        shipments_pb2.GetLabelRequest(tenant_id=shipments.tenant_id, shipment_id=shipment.id),
        timeout_s=10.0,
    )

    assert len(pypdfium2.PdfDocument(label.content)) == 100
    assert len(label.content) <= 1024 * 1024
