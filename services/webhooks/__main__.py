"""Settings, wiring, run: `python -m services.webhooks`."""

import random
import secrets
from contextlib import AsyncExitStack
from functools import partial

from chassis.clock import utc_now
from chassis.config import Key, ServiceSettings
from chassis.consumer import Consumer
from chassis.ids import new_id
from chassis.process import Resources, Service, run_service
from services.webhooks import store, subscriptions
from services.webhooks.addresses import Guard, parse_allow
from services.webhooks.delivery import Sender
from services.webhooks.egress import Egress
from services.webhooks.listener import Listener
from services.webhooks.secrets import Vault
from services.webhooks.server import WebhooksServer
from services.webhooks.topology import CONSUMERS
from skutrail.v1 import webhooks_pb2_grpc


class Settings(ServiceSettings):
    secrets_key: Key  # webhook secrets are sealed with it
    egress_allow: str = ""  # private networks that deliveries may reach: CIDRs, separated by commas


async def wire(settings: Settings, resources: Resources) -> Service:
    database = resources.database
    guard = Guard(parse_allow(settings.egress_allow))
    vault = Vault(settings.secrets_key)
    opened = AsyncExitStack()
    egress = await opened.enter_async_context(Egress(guard))
    sender = Sender(database, egress, vault, clock=utc_now, make_id=new_id, jitter=random.random)
    listener = Listener(database, clock=utc_now, make_id=new_id, deliveries_written=sender.nudge)
    server = WebhooksServer(database, guard, vault, clock=utc_now, make_id=new_id, make_key=secrets.token_bytes)
    return Service(
        add_servicer=lambda grpc_server: webhooks_pb2_grpc.add_WebhooksServicer_to_server(server, grpc_server),
        service_name="skutrail.v1.Webhooks",
        workers=[
            sender,
            *(Consumer(resources.nats, spec, listener.handlers, database, listener.fan_out) for spec in CONSUMERS),
        ],
        purges=[store.purge_deliveries, store.purge_events, subscriptions.purge],
        close=[opened.aclose],
    )


def main() -> None:
    settings = Settings()
    run_service("webhooks", settings, partial(wire, settings))


if __name__ == "__main__":
    main()
