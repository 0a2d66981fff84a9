"""One key, one effect: claim, effect and stored answer commit in one transaction of the service that owns the write.

A row that can be seen is finished: the claim becomes visible only together with the answer. A twin that arrives while
the first request runs waits for it at the unique index, at most for `lock_timeout`, and then replays its answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import psycopg.errors
import sqlalchemy.exc
from google.protobuf.message import Message
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import trace
from chassis.database import Database
from chassis.errors import Fault, from_message, to_message
from skutrail.v1 import common_pb2

Reply = TypeVar("Reply", bound=Message)

RETENTION = timedelta(days=7)  # published: at least 24 hours

_CLAIM = text("""
    INSERT INTO idempotency_key AS k (tenant_id, key, fingerprint, created_at, expires_at)
    SELECT * FROM unnest(
        CAST(:tenants AS text[]), CAST(:keys AS text[]), CAST(:fingerprints AS bytea[]),
        array_fill(CAST(:now AS timestamptz), ARRAY[CAST(:count AS int)]),
        array_fill(CAST(:expires_at AS timestamptz), ARRAY[CAST(:count AS int)])
    )
    ON CONFLICT (tenant_id, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, reply = NULL, fault = NULL,
            created_at = excluded.created_at, expires_at = excluded.expires_at
        WHERE k.expires_at <= excluded.created_at
    RETURNING tenant_id, key
""")

_FIND = text("""
    SELECT k.tenant_id, k.key, k.fingerprint, k.reply, k.fault
    FROM unnest(CAST(:tenants AS text[]), CAST(:keys AS text[])) AS wanted (tenant_id, key)
    JOIN idempotency_key k USING (tenant_id, key)
    WHERE k.expires_at > :now
""")

_KEEP = text("""
    UPDATE idempotency_key k SET reply = answer.reply, fault = answer.fault
    FROM unnest(CAST(:tenants AS text[]), CAST(:keys AS text[]), CAST(:replies AS bytea[]), CAST(:faults AS bytea[]))
        AS answer (tenant_id, key, reply, fault)
    WHERE k.tenant_id = answer.tenant_id AND k.key = answer.key
""")

# The row is locked before it goes: a key that is being claimed anew is left alone, and is not waited for.
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


def claim_of(tenant_id: str, key: common_pb2.IdempotencyKey) -> Claim:
    """Raises Fault `validation_failed` where a part is missing: writes without a key would be taken for one another."""
    if not (tenant_id and key.key and key.fingerprint):
        raise Fault("validation_failed", "A write needs a tenant, an idempotency key and its fingerprint.")
    return Claim(tenant_id, key.key, key.fingerprint)


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
    try:
        rows = await tx.execute(_CLAIM, {**_columns(ordered), "now": now, "expires_at": now + RETENTION})
    except sqlalchemy.exc.OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise Fault(
                "idempotency_key_in_use", "The first request with this key still runs.", retry_after_s=1
            ) from error
        raise
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
    if not answers:
        return
    told = answers.items()
    row = {
        "tenants": [claim.tenant_id for claim in answers],
        "keys": [claim.key for claim in answers],
        "replies": [None if isinstance(a, Fault) else a.SerializeToString(deterministic=True) for _, a in told],
        "faults": [to_message(a, c.request_id).SerializeToString() if isinstance(a, Fault) else None for c, a in told],
    }
    await tx.execute(_KEEP, row)


async def _find_answers(
    tx: AsyncConnection, wanted: Sequence[Claim], now: datetime
) -> dict[tuple[str, str], StoredAnswer | Fault | None]:
    if not wanted:
        return {}
    fingerprints = {c.scope: c.fingerprint for c in wanted}
    columns = _columns(wanted)
    rows = await tx.execute(_FIND, {"tenants": columns["tenants"], "keys": columns["keys"], "now": now})
    return {
        (row.tenant_id, row.key): _stored_answer(row.reply, row.fault)
        if row.fingerprint == fingerprints[row.tenant_id, row.key]
        else Fault("idempotency_key_reused", "This Idempotency-Key was used for another request.")
        for row in rows
    }


def _stored_answer(reply: bytes | None, fault: bytes | None) -> StoredAnswer:
    return StoredAnswer(reply, from_message(common_pb2.Fault.FromString(fault)) if fault is not None else None)


def _columns(claims: Sequence[Claim]) -> dict[str, object]:
    return {
        "tenants": [c.tenant_id for c in claims],
        "keys": [c.key for c in claims],
        "fingerprints": [c.fingerprint for c in claims],
        "count": len(claims),
    }


async def reserve(tx: AsyncConnection, wanted: Claim, now: datetime) -> None:
    """Claims a key for a write that another service owns: it has no answer here. Asked again, it changes nothing.

    Raises Fault `idempotency_key_reused` or `idempotency_key_in_use`.
    """
    await claim(tx, wanted, now)


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
