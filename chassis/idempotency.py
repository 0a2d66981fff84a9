"""One key, one effect: claim, effect and stored answer commit in one transaction of the service that owns the write.

A row that can be seen is finished: the claim becomes visible only together with the answer. A twin that arrives while
the first request runs waits for it at the unique index, at most for `lock_timeout`, and then replays its answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import trace
from chassis.database import Database
from chassis.errors import Fault, from_message, to_message
from chassis.pipeline import Pipeline
from skutrail.v1 import common_pb2

Reply = TypeVar("Reply", bound=Message)

RETENTION = timedelta(days=7)  # published: at least 24 hours
RENEWED_AFTER = timedelta(days=1)  # a reservation that is asked for again

_CLAIM = text("""
    INSERT INTO idempotency_key AS k (tenant_id, key, fingerprint, created_at, expires_at)
    SELECT *, CAST(:now AS timestamptz), CAST(:expires_at AS timestamptz)
    FROM unnest(CAST(:tenants AS text[]), CAST(:keys AS text[]), CAST(:fingerprints AS bytea[]))
    ON CONFLICT (tenant_id, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, reply = NULL, fault = NULL,
            created_at = excluded.created_at, expires_at = excluded.expires_at
        WHERE k.expires_at <= excluded.created_at
    RETURNING tenant_id, key
""")

# LATERAL with LIMIT: one look-up by primary key per wanted row, however little the planner knows about the table.
# What a batch finds out of many keys at once; those whose time is over are free again, and still in the way.
_LOOK = text("""
    SELECT k.tenant_id, k.key, k.fingerprint, k.reply, k.fault, k.expires_at
    FROM unnest(CAST(:tenants AS text[]), CAST(:keys AS text[])) AS wanted (tenant_id, key)
    CROSS JOIN LATERAL (
        SELECT * FROM idempotency_key k WHERE k.tenant_id = wanted.tenant_id AND k.key = wanted.key LIMIT 1
    ) k
""")
_FIND = text(f"{_LOOK.text} WHERE k.expires_at > :now")
_FORGET = text("""
    DELETE FROM idempotency_key k
    USING (SELECT set_config('lock_timeout', :wait, true)) AS w (waits_shortly)
    WHERE w.waits_shortly IS NOT NULL AND k.tenant_id = :tenant_id AND k.key = :key AND k.expires_at <= :now
""")
# Without ON CONFLICT: where another transaction was first, nothing of this one may be committed. It waits shortly for
# one that has not committed yet: the batch holds locks that others wait for.
_ADD = text("""
    INSERT INTO idempotency_key (tenant_id, key, fingerprint, reply, fault, created_at, expires_at)
    SELECT a.tenant_id, a.key, a.fingerprint, a.reply, a.fault, :now, :expires_at
    FROM (SELECT set_config('lock_timeout', :wait, true)) AS w (waits_shortly)
    CROSS JOIN unnest(CAST(:tenants AS text[]), CAST(:keys AS text[]), CAST(:fingerprints AS bytea[]),
                      CAST(:replies AS bytea[]), CAST(:faults AS bytea[]))
        AS a (tenant_id, key, fingerprint, reply, fault)
    WHERE w.waits_shortly IS NOT NULL
""")

# Of a reservation that is asked for again: whoever may write under it now keeps its answer as long from now on. An
# upsert, as it may have been given back meanwhile.
_RENEW = text("""
    INSERT INTO idempotency_key AS k (tenant_id, key, fingerprint, created_at, expires_at)
    SELECT r.tenant_id, r.key, r.fingerprint, :now, :expires_at
    FROM (SELECT set_config('lock_timeout', :wait, true)) AS w (waits_shortly)
    CROSS JOIN unnest(CAST(:tenants AS text[]), CAST(:keys AS text[]), CAST(:fingerprints AS bytea[]))
        AS r (tenant_id, key, fingerprint)
    WHERE w.waits_shortly IS NOT NULL
    ON CONFLICT (tenant_id, key) DO UPDATE SET expires_at = excluded.expires_at
        WHERE k.fingerprint = excluded.fingerprint AND k.reply IS NULL AND k.fault IS NULL
""")

# For a key that another transaction has not committed yet: the batch holds locks that others wait for. The parts of a
# batch that waited so long in vain are not patient again, each in its turn.
KEY_WAIT_MS, KEY_WAIT_AGAIN_MS = 50, 5

_KEEP = text("""
    UPDATE idempotency_key k SET reply = answer.reply, fault = answer.fault
    FROM unnest(CAST(:tenants AS text[]), CAST(:keys AS text[]), CAST(:replies AS bytea[]), CAST(:faults AS bytea[]))
        AS answer (tenant_id, key, reply, fault)
    WHERE k.tenant_id = answer.tenant_id AND k.key = answer.key
""")

_FREE = text("""
    DELETE FROM idempotency_key
    WHERE tenant_id = :tenant_id AND key = :key AND fingerprint = :fingerprint AND reply IS NULL AND fault IS NULL
""")

_PURGE = text("""
    DELETE FROM idempotency_key WHERE ctid IN (
        SELECT ctid FROM idempotency_key WHERE expires_at <= :now LIMIT :limit FOR UPDATE SKIP LOCKED
    )
""")


@dataclass(frozen=True, order=True)
class Claim:
    tenant_id: str
    key: str
    fingerprint: bytes
    # The request that brought it: a refusal that is kept names it. Claims of many requests may be decided together.
    request_id: str = field(default_factory=lambda: trace.current().request_id, compare=False)

    @property
    def scope(self) -> tuple[str, str]:
        return self.tenant_id, self.key


@dataclass(frozen=True)
class StoredAnswer:
    """What the first request with the key was told: the serialized reply, or the refusal."""

    reply: bytes | None
    fault: Fault | None


def claim_of(tenant_id: str, key: common_pb2.IdempotencyKey, cause: trace.Trace | None = None) -> Claim:
    """Raises Fault `validation_failed` where a part is missing: writes without a key would be taken for one another."""
    if not (tenant_id and key.key and key.fingerprint):
        raise Fault("validation_failed", "A write needs a tenant, an idempotency key and its fingerprint.")
    return Claim(tenant_id, key.key, key.fingerprint, (cause or trace.current()).request_id)


async def run_once(
    database: Database,
    wanted: Claim,
    operation: Callable[[AsyncConnection], Awaitable[Reply]],
    *,
    reply_type: type[Reply],
    now: datetime,
) -> tuple[Reply, bool]:
    """Runs a keyed operation: (reply, replayed). Claim, effect and answer commit together.

    A refusal that is to be kept undoes the effect, not the claim, and is raised once it is committed.
    """

    async def claimed(tx: AsyncConnection) -> tuple[Reply | Fault, bool]:
        stored = await claim(tx, wanted, now)
        if stored is not None:
            return stored.fault or reply_type.FromString(stored.reply or b""), True
        answer = await _refusable(tx, operation)
        await keep(tx, wanted, answer)
        return answer, False

    answer, replayed = await database.run(claimed)
    if isinstance(answer, Fault):
        raise answer
    return answer, replayed


async def _refusable(tx: AsyncConnection, operation: Callable[[AsyncConnection], Awaitable[Reply]]) -> Reply | Fault:
    try:
        async with tx.begin_nested():
            return await operation(tx)
    except Fault as fault:
        if not fault.is_kept:
            raise
        return fault


async def claim(tx: AsyncConnection, wanted: Claim, now: datetime) -> StoredAnswer | None:
    """None: the key is ours, go on. Otherwise the answer to replay.

    Raises Fault `idempotency_key_reused` (other request) or `idempotency_key_in_use` (the first one still runs).
    """
    outcome = (await claim_many(tx, [wanted], now))[wanted.scope]
    if isinstance(outcome, Fault):
        raise outcome
    return outcome


async def claim_many(
    tx: AsyncConnection, wanted: Sequence[Claim], now: datetime
) -> Mapping[tuple[str, str], StoredAnswer | Fault | None]:
    """Claims many keys of distinct scopes at once. Per scope: None, the stored answer, or `idempotency_key_reused`."""
    ordered = sorted(wanted)  # one order for all: two batches over the same keys must not deadlock
    times = {"now": now, "expires_at": now + RETENTION}
    rows = await tx.execute(_CLAIM, {**_columns(ordered), **times})
    ours = {(row.tenant_id, row.key) for row in rows}
    taken = [c for c in ordered if c.scope not in ours]
    return {**dict.fromkeys(ours), **await _find_answers(tx, taken, now)}


async def look_up(tx: AsyncConnection, wanted: Claim, now: datetime) -> StoredAnswer | None:
    """The stored answer of a finished key, without claiming it. Raises Fault `idempotency_key_reused`."""
    outcome = (await _find_answers(tx, [wanted], now)).get(wanted.scope)
    if isinstance(outcome, Fault):
        raise outcome
    return outcome


async def keep(tx: AsyncConnection, ours: Claim, answer: Message | Fault) -> None:
    await keep_many(tx, {ours: answer})


async def keep_many(tx: AsyncConnection, answers: Mapping[Claim, Message | Fault]) -> None:
    """Stores what each claimed key was told. A refusal remembers the request that was refused."""
    if answers:
        await tx.execute(_KEEP, {**_columns(list(answers)), **_answer_columns(answers)})


class BatchKeys:
    """The keys of a batch that is decided at once: looked up before, added with their answers in its commit.

    Not claimed first, which would cost each key a second write. Where two batches meet over a key, the later one fails
    at the unique index, is repeated (Database), and finds the answer.
    """

    def __init__(self, claims: Iterable[Claim], now: datetime, wait_ms: int = KEY_WAIT_MS) -> None:
        self._firsts: dict[tuple[str, str], Claim] = {}
        for claim in claims:
            self._firsts.setdefault(claim.scope, claim)
        self._now = now
        self._wait_ms = wait_ms
        self._found: dict[tuple[str, str], Any] = {}

    def looking(self) -> tuple[TextClause, Mapping[str, Any]]:
        """The question to ask; `learn` takes its rows."""
        return _LOOK, _columns(list(self._firsts.values()))

    async def learn(self, rows: Iterable[Any], pipeline: Pipeline) -> None:
        expired = []
        for row in rows:
            scope = row.tenant_id, row.key
            if row.expires_at > self._now:
                self._found[scope] = row
            else:
                expired.append(scope)
        for tenant_id, key in sorted(expired):
            # Out of the way now, not with the answer: one statement cannot delete and add the same key.
            forgotten = {"tenant_id": tenant_id, "key": key, "now": self._now, "wait": f"{self._wait_ms}ms"}
            pipeline.tell(_FORGET, forgotten)
            await pipeline.flush()

    def told(self, claim: Claim) -> StoredAnswer | Fault | None:
        """What the key was told by an earlier request; None where it is free.

        Of two requests in the batch that share a key without being the same, only the first can have it.
        """
        row = self._found.get(claim.scope)
        if row is not None:
            return _told(row, claim)
        return None if self._firsts[claim.scope] == claim else _reused()

    def tell(self, pipeline: Pipeline, answers: Mapping[Claim, Message | Fault]) -> None:
        """Adds the free keys with what they are told."""
        if not answers:
            return
        # One order for all: two batches over the same keys must not deadlock.
        ordered = {claim: answers[claim] for claim in sorted(answers)}
        self._add(pipeline, list(ordered), _answer_columns(ordered))

    def tell_reserved(self, pipeline: Pipeline, claims: Iterable[Claim]) -> None:
        """Adds the free keys for writes that other services own: they have no answer here. Those that were reserved
        before stay so as long from now on."""
        ordered = sorted(set(claims))
        free = [claim for claim in ordered if claim.scope not in self._found]
        aging = [claim for claim in ordered if self._is_aging(claim)]
        if free:
            nothing = [None] * len(free)
            self._add(pipeline, free, {"replies": nothing, "faults": nothing})
        if aging:
            pipeline.tell(_RENEW, {**_columns(aging), **self._times()})

    def _is_aging(self, claim: Claim) -> bool:
        """Not each time: a repetition that comes soon costs no write."""
        row = self._found.get(claim.scope)
        if row is None or row.reply is not None or row.fault is not None:
            return False
        return bool(row.expires_at < self._now + RETENTION - RENEWED_AFTER)

    def _add(self, pipeline: Pipeline, ordered: Sequence[Claim], answers: Mapping[str, Sequence[bytes | None]]) -> None:
        pipeline.tell(_ADD, {**_columns(ordered), **answers, **self._times()})

    def _times(self) -> dict[str, object]:
        return {"now": self._now, "expires_at": self._now + RETENTION, "wait": f"{self._wait_ms}ms"}


async def _find_answers(
    tx: AsyncConnection, wanted: Sequence[Claim], now: datetime
) -> dict[tuple[str, str], StoredAnswer | Fault | None]:
    if not wanted:
        return {}
    claims = {claim.scope: claim for claim in wanted}
    columns = _columns(wanted)
    rows = await tx.execute(_FIND, {"tenants": columns["tenants"], "keys": columns["keys"], "now": now})
    return {(row.tenant_id, row.key): _told(row, claims[row.tenant_id, row.key]) for row in rows}


def _told(row: Any, claim: Claim) -> StoredAnswer | Fault:
    """What a key that is in use tells a claim: its answer, if the claim is that of the same request."""
    if row.fingerprint != claim.fingerprint:
        return _reused()
    fault = from_message(common_pb2.Fault.FromString(row.fault)) if row.fault is not None else None
    return StoredAnswer(row.reply, fault)


def _reused() -> Fault:
    return Fault("idempotency_key_reused", "This Idempotency-Key was used for another request.")


def _answer_columns(answers: Mapping[Claim, Message | Fault]) -> dict[str, list[bytes | None]]:
    told = answers.items()
    return {
        "replies": [None if isinstance(a, Fault) else a.SerializeToString(deterministic=True) for _, a in told],
        "faults": [to_message(a, c.request_id).SerializeToString() if isinstance(a, Fault) else None for c, a in told],
    }


def _columns(claims: Sequence[Claim]) -> dict[str, object]:
    return {
        "tenants": [c.tenant_id for c in claims],
        "keys": [c.key for c in claims],
        "fingerprints": [c.fingerprint for c in claims],
    }


async def free(tx: AsyncConnection, reserved: Claim) -> None:
    """Gives a reserved key back. One that has an answer, or belongs to another request, stays."""
    await tx.execute(_FREE, {"tenant_id": reserved.tenant_id, "key": reserved.key, "fingerprint": reserved.fingerprint})


def as_reply(answer: StoredAnswer | None) -> common_pb2.LookUpAnswerReply:
    """What a service's LookUpAnswer tells."""
    if answer is None:
        return common_pb2.LookUpAnswerReply(found=False)
    if answer.fault is not None:
        return common_pb2.LookUpAnswerReply(found=True, fault=to_message(answer.fault))
    return common_pb2.LookUpAnswerReply(found=True, reply=answer.reply)


async def purge(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Deletes at most `limit` rows that have served their time; returns how many went."""
    return (await tx.execute(_PURGE, {"now": now, "limit": limit})).rowcount
