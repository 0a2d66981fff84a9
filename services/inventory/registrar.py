"""The register of keys: reserves those of writes that other services own, the keys of many calls in one transaction.

A key names one operation of a tenant, whichever service owns it (docs/decisions/0004).
"""

from __future__ import annotations

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.database import Database
from chassis.errors import Fault
from chassis.group_commit import Committer, GroupCommit
from chassis.idempotency import BatchKeys, Claim
from chassis.pipeline import Pipeline

KEYS_MAX = 256  # in a call, and in a transaction
QUEUE_MAX = 4_000  # keys that wait; beyond it they are refused at once
QUEUE_PER_TENANT_MAX = 2_000

Reserved = bool


class Registrar:
    name = "registrar"

    def __init__(self, database: Database, clock: Clock) -> None:
        self._clock = clock
        self._group: GroupCommit[Claim, Reserved] = GroupCommit(
            Committer(database, self._reserve),
            batch_max=KEYS_MAX,
            queue_max=QUEUE_MAX,
            queue_per_tenant_max=QUEUE_PER_TENANT_MAX,
        )

    async def reserve(self, claims: Sequence[Claim]) -> Sequence[Reserved | Fault]:
        """Reserved, whether now or before, or a refusal: `idempotency_key_reused`, or `idempotency_key_in_use` where
        that cannot be said yet; `unavailable` where too many wait, or the database is away."""
        return await self._group.ask([(claim.tenant_id, claim) for claim in claims])

    def stop(self) -> None:
        self._group.stop()

    async def run(self) -> None:
        await self._group.run()

    async def _reserve(
        self, pipeline: Pipeline, claims: Sequence[Claim], key_wait_ms: int
    ) -> Sequence[Reserved | Fault]:
        keys = BatchKeys(claims, self._clock(), key_wait_ms)
        [known] = await pipeline.ask(keys.looking())
        await keys.learn(known, pipeline)
        told = [keys.told(claim) for claim in claims]
        mine = [claim for claim, found in zip(claims, told, strict=True) if not isinstance(found, Fault)]
        keys.tell_reserved(pipeline, mine)
        return [found if isinstance(found, Fault) else True for found in told]
