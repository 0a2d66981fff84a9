"""Who stands in front of a lock."""

import psycopg


async def waiting(connection: psycopg.AsyncConnection) -> int:
    """Sessions of the server that wait for a lock."""
    row = await (await connection.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")).fetchone()
    assert row is not None
    return int(row[0])
