"""The buckets of limits.py in PostgreSQL: the same sums, in one statement, by the database's clock.

`rate_bucket` keeps one instant per caller: an API key's id or an address, never a key. A bucket that is full need not
be kept. The clock is the database's, so that gateways whose clocks differ agree.
"""

from __future__ import annotations

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.limits import Limit

CONNECT_S = 2
SWEEP_MAX = 500  # rows of one sweep: it holds their locks as briefly as a check does

Connection = AsyncConnection[TupleRow]

_SESSION = {
    "statement_timeout": "1s",  # a gateway that has stopped waiting leaves nothing behind that runs on
    "synchronous_commit": "off",
}
_NOW_NS = "(extract(epoch FROM now()) * 1000000000)::bigint"

# What would be stored in a new row is now + token, so `excluded.full_at_ns - token` is this statement's now. The row is
# locked before WHERE is asked: two gateways cannot both take the last token. A check that waited for the row counts
# from when it began: it may be told one token too few, never one too many.
_TAKE = f"""
    INSERT INTO rate_bucket AS bucket (caller, full_at_ns)
    VALUES (%(caller)s, {_NOW_NS} + %(token)s::bigint)
    ON CONFLICT (caller) DO UPDATE
    SET full_at_ns = greatest(bucket.full_at_ns + %(token)s::bigint, excluded.full_at_ns)
    WHERE bucket.full_at_ns + %(token)s::bigint <= excluded.full_at_ns - %(token)s::bigint + %(full)s::bigint
    RETURNING full_at_ns - {_NOW_NS}
"""  # noqa: S608
_LOOK = f"SELECT full_at_ns - {_NOW_NS} FROM rate_bucket WHERE caller = %(caller)s"  # noqa: S608
# A second late: a check that began before the sweep and comes after it still finds what it would have found.
_SWEEP = f"""
    DELETE FROM rate_bucket WHERE caller = ANY (ARRAY (
        SELECT caller FROM rate_bucket WHERE full_at_ns < {_NOW_NS} - 1000000000
        LIMIT {SWEEP_MAX} FOR UPDATE SKIP LOCKED))
"""  # noqa: S608


async def connect(url: str) -> Connection:
    """Raises psycopg.Error."""
    return await AsyncConnection.connect(
        url,
        autocommit=True,
        prepare_threshold=0,
        connect_timeout=CONNECT_S,
        application_name="skutrail rate limits",
        options=" ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
    )


async def take(connection: Connection, caller: str, limit: Limit) -> int:
    """Takes one token where there is one; returns what `limits.budget_of` takes. Raises psycopg.Error."""
    missing_ns = await _ask(connection, _TAKE, {"caller": caller, "token": limit.token_ns, "full": limit.full_ns})
    if missing_ns is not None:
        return missing_ns
    drawn_ns = await _ask(connection, _LOOK, {"caller": caller}) or 0
    # Refused: however full the bucket has become since, this request has no token.
    return max(drawn_ns + limit.token_ns, limit.full_ns + 1)


async def sweep(connection: Connection) -> int:
    """Forgets full buckets, SWEEP_MAX at most; returns how many. Raises psycopg.Error."""
    return (await connection.execute(_SWEEP)).rowcount


async def _ask(connection: Connection, statement: str, values: dict[str, str | int]) -> int | None:
    cursor = await connection.execute(statement, values)
    row = await cursor.fetchone()
    return None if row is None else int(row[0])
