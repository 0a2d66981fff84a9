"""Creates the shipments of many calls together (chassis/group_commit.py): a commit each would be most of their cost."""

from __future__ import annotations

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault
from chassis.group_commit import Committer, GroupCommit
from chassis.ids import IdMaker
from chassis.pipeline import Pipeline
from services.shipments import creating
from services.shipments.creating import Wish
from services.shipments.events import Announcer
from skutrail.v1 import shipments_pb2

BATCH_MAX = 128  # shipments in a transaction
QUEUE_MAX = 2_000  # shipments that wait; beyond it calls are refused at once
QUEUE_PER_TENANT_MAX = 1_000


class Writer:
    name = "writer"

    def __init__(self, database: Database, announcer: Announcer, clock: Clock, new_id: IdMaker) -> None:
        self._announcer = announcer
        self._clock = clock
        self._new_id = new_id
        self._group = GroupCommit(
            Committer(database, self._create),
            batch_max=BATCH_MAX,
            queue_max=QUEUE_MAX,
            queue_per_tenant_max=QUEUE_PER_TENANT_MAX,
        )

    async def create(self, wishes: Sequence[Wish]) -> Sequence[shipments_pb2.CreateShipmentReply | Fault]:
        """The answers of their keys: committed, or the Fault that refuses it. `unavailable` where too many wait."""
        return await self._group.ask([(wish.claim.tenant_id, wish) for wish in wishes])

    def stop(self) -> None:
        self._group.stop()

    async def run(self) -> None:
        await self._group.run()

    async def _create(
        self, pipeline: Pipeline, wishes: Sequence[Wish], key_wait_ms: int
    ) -> Sequence[shipments_pb2.CreateShipmentReply | Fault]:
        return await creating.create_shipments(
            pipeline,
            wishes,
            announcer=self._announcer,
            clock=self._clock,
            new_id=self._new_id,
            key_wait_ms=key_wait_ms,
        )
