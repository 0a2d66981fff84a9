"""The parts of the service, wired as its __main__ does, around a clock that stands until it is moved."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.ids import new_id
from services.webhooks import operations, store
from services.webhooks.addresses import Guard, parse_allow
from services.webhooks.delivery import (
    IN_FLIGHT_MAX,
    IN_FLIGHT_PER_SUBSCRIPTION_MAX,
    IN_FLIGHT_PER_TENANT_MAX,
    LEASE,
    Sender,
)
from services.webhooks.egress import Egress
from services.webhooks.listener import Listener
from services.webhooks.secrets import Vault
from skutrail.v1 import events_pb2, webhooks_pb2

LOOPBACK = Guard(parse_allow("127.0.0.0/8"))
MADE = b"made-by-the-service-for-a-tenant"  # the key of every secret that is made

_MANY = text("""
    INSERT INTO subscription (tenant_id, id, url, events, status, secret, created_at, deleted_at)
    SELECT 'acc_1:test', 'whk_many' || lpad(CAST(n AS text), 6, '0'), 'https://your.app/', '{*}', :status, '', :now,
           CAST(:deleted_at AS timestamptz)
    FROM generate_series(1, :count) n
""")


@dataclass
class StandingClock:
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


@dataclass
class House:
    database: Database
    vault: Vault
    egress: Egress
    clock: StandingClock

    def make_sender(self, *, jitter: float = 0.0, egress: Egress | None = None, vault: Vault | None = None) -> Sender:
        return Sender(
            self.database,
            egress or self.egress,
            vault or self.vault,
            clock=self.clock,
            make_id=new_id,
            jitter=lambda: jitter,
        )

    async def subscribe(self, url: str, *events: str, **fields: str) -> str:
        """Returns the subscription's id."""
        return await self.database.run(lambda tx: self.subscribe_in(tx, url, *events, **fields))

    async def subscribe_in(
        self,
        tx: AsyncConnection,
        url: str,
        *events: str,
        tenant_id: str = "acc_1:test",
        secret: str = "whsec_REPLACE",
    ) -> str:
        request = webhooks_pb2.SubscribeRequest(tenant_id=tenant_id, url=url, events=events or ("*",), secret=secret)
        reply = await operations.subscribe(
            tx, request, guard=LOOPBACK, vault=self.vault, now=self.clock(), make_id=new_id, make_key=bytes
        )
        return reply.subscription.id

    async def make_many(self, count: int, *, status: str = "active", deleted_at: datetime | None = None) -> None:
        """Subscriptions that stand there already, more than one would like to make one by one."""
        row = {"count": count, "status": status if deleted_at is None else "disabled", "deleted_at": deleted_at}
        async with self.database.transaction() as tx:
            await tx.execute(_MANY, row | {"now": self.clock()})

    async def announce(self, event: events_pb2.Event, sender: Sender | None = None) -> events_pb2.Event:
        """Hands the event to the listener, and wakes the sender where there is one."""
        listener = Listener(
            self.database,
            clock=self.clock,
            make_id=new_id,
            deliveries_written=sender.nudge if sender else lambda: None,
        )
        await listener.fan_out([event])
        return event

    async def send_due(self, jitter: float = 0.0) -> int:
        """One round of a sender, to its end; returns how many deliveries it took."""
        sender = self.make_sender(jitter=jitter)
        started = await sender.send_due()
        await sender.finish()
        return started

    async def claim(
        self, limit: int = IN_FLIGHT_MAX, *, per_tenant_max: int = IN_FLIGHT_PER_TENANT_MAX
    ) -> list[store.Claimed]:
        """As a worker does that has so many slots free."""
        return await self.database.run(
            lambda tx: store.claim_due(
                tx,
                claim=new_id("clm"),
                now=self.clock(),
                lease_until=self.clock() + LEASE,
                limit=limit,
                per_tenant_max=per_tenant_max,
                per_subscription_max=IN_FLIGHT_PER_SUBSCRIPTION_MAX,
            )
        )

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        async with self.database.transaction() as tx:
            return [tuple(row) for row in await tx.exec_driver_sql(query)]
