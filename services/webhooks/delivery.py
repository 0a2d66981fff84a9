"""Sends what is due: claim under a lease, commit, sign and POST outside of any transaction, record, plan.

The table is the queue. A worker that dies leaves a lease behind, and when that ends another takes the delivery: it is
sent again with the same id. A worker whose lease was lost writes nothing.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from chassis import logs
from chassis.clock import Clock, pause
from chassis.database import Database
from chassis.errors import Fault
from chassis.ids import IdMaker
from chassis.logs import log
from services.webhooks import operations, signing, store
from services.webhooks.domain import ABANDONED, Answer, Verdict, judge, parse_retry_after, postpone
from services.webhooks.egress import CONNECTIONS_MAX, TOTAL_TIMEOUT_S, Egress, EgressError, NotAttempted
from services.webhooks.secrets import Vault
from services.webhooks.store import Attempt, Claimed

IN_FLIGHT_MAX = CONNECTIONS_MAX
# Counted over all workers. What one tenant's receivers can hold for the length of a timeout, nobody else can use.
IN_FLIGHT_PER_TENANT_MAX = 16
IN_FLIGHT_PER_SUBSCRIPTION_MAX = 8
# Room for the attempt, for recording it, and for clocks that differ between machines.
LEASE = timedelta(seconds=TOTAL_TIMEOUT_S + 10)
POLL_S = 1.0
RETRY_S = 0.5

_HEADERS = {"content-type": "application/json", "user-agent": "Skutrail-Webhooks/1"}


class Sender:
    """The loop. Any number may run, in one process or many."""

    name = "sender"

    def __init__(
        self,
        database: Database,
        egress: Egress,
        vault: Vault,
        *,
        clock: Clock,
        make_id: IdMaker,
        jitter: Callable[[], float],
    ) -> None:
        """`jitter` gives a number in [0, 1) for each plan."""
        self._database = database
        self._egress = egress
        self._vault = vault
        self._clock = clock
        self._make_id = make_id
        self._jitter = jitter
        self._in_flight: set[asyncio.Task[None]] = set()
        self._nudge = asyncio.Event()
        self._stopping = False

    def nudge(self) -> None:
        """Deliveries were written, or a slot is free: look now instead of at the next poll."""
        self._nudge.set()

    def stop(self) -> None:
        """Takes nothing new; what is under way is finished."""
        self._stopping = True
        self._nudge.set()

    async def run(self) -> None:
        try:
            while not self._stopping:
                self._nudge.clear()
                if not await self._send_due_unless_away():
                    await pause(POLL_S, unless=self._nudge)
            await self.finish()
        finally:
            for task in self._in_flight:
                task.cancel()

    async def send_due(self) -> int:
        """Claims what is due, as far as slots are free, and starts sending it; returns how many."""
        free = IN_FLIGHT_MAX - len(self._in_flight)
        if not free:
            return 0
        now, claim = self._clock(), self._make_id("clm")
        claimed = await self._database.run(
            lambda tx: store.claim_due(
                tx,
                claim=claim,
                now=now,
                lease_until=now + LEASE,
                limit=free,
                per_tenant_max=IN_FLIGHT_PER_TENANT_MAX,
                per_subscription_max=IN_FLIGHT_PER_SUBSCRIPTION_MAX,
            )
        )
        for one in claimed:
            task = asyncio.create_task(self._deliver(one))
            self._in_flight.add(task)
            task.add_done_callback(self._free_slot)
        return len(claimed)

    async def finish(self) -> None:
        """Waits until nothing is under way."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def _send_due_unless_away(self) -> int:
        try:
            return await self.send_due()
        except Fault as fault:
            log.warning("sender.away", cause=fault.code)
            return 0

    async def _deliver(self, claimed: Claimed) -> None:
        ids = {"tenant_id": claimed.tenant_id, "event_id": claimed.event_id, "delivery_id": claimed.id}
        with logs.bound(**ids):
            if not claimed.is_active:
                await self._settle(claimed, ABANDONED, None)
                return
            try:
                attempt = await self._attempt(claimed)
            except NotAttempted as cause:
                await self._postpone(claimed, cause)
            else:
                await self._record(claimed, attempt)

    async def _postpone(self, claimed: Claimed, cause: NotAttempted) -> None:
        await self._settle(claimed, postpone(now=self._clock(), jitter=self._jitter()), None)
        log.info("delivery.postponed", cause=cause.code)

    async def _record(self, claimed: Claimed, attempt: Attempt) -> None:
        verdict = judge(attempt.answer, attempts_made=attempt.number, now=self._clock(), jitter=self._jitter())
        await self._settle(claimed, verdict, attempt)
        log.info(
            "delivery.attempted",
            status=verdict.status,
            number=attempt.number,
            status_code=attempt.answer.status_code,
            error=attempt.answer.error,
            duration_ms=attempt.duration_ms,
        )

    async def _attempt(self, claimed: Claimed) -> Attempt:
        """Raises NotAttempted."""
        at, began = self._clock(), time.monotonic()
        try:
            answer = await self._post(claimed)
        except NotAttempted:
            raise
        except EgressError as error:
            log.info("delivery.unanswered", cause=error.code, detail=error.detail)
            answer = Answer(error=error.code)
        except Exception:  # noqa: BLE001 - no receiver may end the loop; the schedule bounds how often this is tried
            log.exception("delivery.broken")
            answer = Answer(error="internal_error")
        return Attempt(claimed.attempts_made + 1, at, answer, round((time.monotonic() - began) * 1_000))

    async def _post(self, claimed: Claimed) -> Answer:
        now = self._clock()
        secret = self._vault.open(claimed.secret, tenant_id=claimed.tenant_id, subscription_id=claimed.subscription_id)
        signed = signing.headers(secret, message_id=claimed.event_id, timestamp=int(now.timestamp()), body=claimed.body)
        headers = {**_HEADERS, **signed}
        reply = await self._egress.post(claimed.url, claimed.body, headers, tenant_id=claimed.tenant_id)
        return Answer(reply.status, retry_after=parse_retry_after(reply.retry_after, now))

    async def _settle(self, claimed: Claimed, verdict: Verdict, attempt: Attempt | None) -> None:
        """Records the attempt. While the database is away it is tried as long as the lease lasts."""
        deadline = time.monotonic() + LEASE.total_seconds() - TOTAL_TIMEOUT_S
        while True:
            try:
                is_settled = await self._database.run(
                    lambda tx: operations.settle(tx, claimed, verdict, attempt, now=self._clock())
                )
                break
            except Fault as fault:
                if time.monotonic() > deadline:
                    log.error("delivery.not_recorded", cause=fault.code)
                    return
            await asyncio.sleep(RETRY_S)
        if not is_settled:
            log.warning("delivery.lease_lost")

    def _free_slot(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._nudge.set()
        if not task.cancelled() and task.exception():
            log.error("delivery.failed", exc_info=task.exception())
