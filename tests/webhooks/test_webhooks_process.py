"""`python -m services.webhooks`, from a subscription over an event to a verified delivery, and to its clean end."""

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping

import pytest
import standardwebhooks

from chassis import jetstream, rpc
from chassis.database import Database
from chassis.jetstream import Nats
from cli.local.stack import free_ports
from cli.migrate import topology
from cli.provision import DatabaseUrls
from skutrail.v1 import webhooks_pb2, webhooks_pb2_grpc
from tests.webhooks.building import a_shipment, an_event
from tests.webhooks.receiving import Receiver, receiving
from tests.webhooks.test_subscribe import a_request


@pytest.fixture
async def address(database: Database, databases: Mapping[str, DatabaseUrls], nats_url: str) -> AsyncIterator[str]:
    """Where the process answers; it must end with 0 when it is asked to."""
    await jetstream.declare(nats_url, *topology())
    listen = f"127.0.0.1:{free_ports(1)[0]}"
    environment = {
        "SKUTRAIL_DATABASE_URL": databases["webhooks"].application,
        "SKUTRAIL_NATS_URL": nats_url,
        "SKUTRAIL_GRPC_LISTEN": listen,
        "SKUTRAIL_SECRETS_KEY": base64.b64encode(bytes(32)).decode(),
        "SKUTRAIL_EGRESS_ALLOW": "127.0.0.0/8,::1/128",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.webhooks", env={**os.environ, **environment}
    )
    try:
        channel = rpc.channel(listen)
        async with asyncio.timeout(20):
            while not await rpc.is_serving(channel):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        await channel.close()
        yield listen
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_an_event_on_the_wire_reaches_who_subscribed(address: str, nats_url: str) -> None:
    async with receiving() as receiver:
        secret = await _subscribe(address, receiver)
        event = an_event("shipment.created", shipment=a_shipment())
        await _publish(nats_url, event.SerializeToString())
        (received,) = await receiver.wait_for(1)

    told = standardwebhooks.Webhook(secret).verify(received.body, received.headers)
    assert (told["id"], told["type"], told["data"]["id"]) == (event.id, "shipment.created", "shp_8c4l1x")


async def _subscribe(address: str, receiver: Receiver) -> str:
    channel = rpc.channel(address)
    request = a_request(url=receiver.url, events=["shipment.*"], secret=None)
    reply: webhooks_pb2.SubscribeReply = await rpc.call(webhooks_pb2_grpc.WebhooksStub(channel).Subscribe, request)
    await channel.close()
    return reply.made_secret


async def _publish(nats_url: str, payload: bytes) -> None:
    nats = Nats(nats_url, "test")
    await (await nats.jetstream()).publish("skutrail.shipment.created", payload)
    await nats.close()
