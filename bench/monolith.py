"""The honest competitor: what a good engineer writes when one process may own everything and speed is all that counts.

aiohttp on uvloop, asyncpg with prepared statements, msgspec, one statement per request that moves the balance, writes
the entry, keeps the answer under its key and leaves the event in the outbox. No API keys, no limits, no chain of
hashes, no relay: all of that would only slow it down. Run twice on one port (SO_REUSEPORT).

    python -m bench.monolith PORT DATABASE_URL
"""

import asyncio
import hashlib
import sys

import asyncpg
import msgspec
import uvloop
from aiohttp import web

LOOPBACK = "127.0.0.1"
CONNECTIONS = 16  # per process; 8 and 32 are slower on two cores
TENANT = "bench/test"

_RECORD = """
WITH moved AS (
    UPDATE balance SET on_hand = on_hand + $3, seq = seq + 1, updated_at = now()
    WHERE tenant_id = 'bench/test' AND sku = $1 AND warehouse = $2
    RETURNING on_hand, seq, gen_random_uuid()::text AS id, now() AS at
), entry AS (
    INSERT INTO ledger_entry (tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at)
    SELECT 'bench/test', $1, $2, seq, id, $3, on_hand, $4, $5, at FROM moved
), answer AS (
    SELECT json_build_object('id', id, 'sku', $1, 'warehouse', $2, 'qty', $3, 'balance', on_hand,
        'created_at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))::text AS body, seq, at FROM moved
), kept AS (
    INSERT INTO idempotency_key (tenant_id, key, fingerprint, reply, created_at)
    SELECT 'bench/test', $6, $7, body, at FROM answer
), event AS (
    INSERT INTO outbox (key, payload) SELECT 'bench/test/' || $1 || '/' || $2, body FROM answer
)
SELECT body FROM answer
"""
_ADD_BALANCE = "INSERT INTO balance (tenant_id, sku, warehouse) VALUES ('bench/test', $1, $2) ON CONFLICT DO NOTHING"
_KEPT = "SELECT reply, fingerprint FROM idempotency_key WHERE tenant_id = 'bench/test' AND key = $1"


class Movement(msgspec.Struct):
    sku: str
    warehouse: str
    qty: int
    reason: str
    reference: str | None = None


_decode = msgspec.json.Decoder(Movement).decode
_REASONS = {"receipt": 1, "pick": 2, "adjustment": 3, "transfer": 4}


class Ledger:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def record(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            movement = _decode(body)
        except msgspec.ValidationError as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error
        key, fingerprint = request.headers["Idempotency-Key"], hashlib.sha256(body).digest()
        try:
            answer = await self._write(movement, key, fingerprint)
        except asyncpg.UniqueViolationError:
            return await self._replay(key, fingerprint)
        except asyncpg.CheckViolationError as error:
            raise web.HTTPConflict(text="insufficient_stock") from error
        return web.Response(body=answer.encode(), content_type="application/json")

    async def _write(self, movement: Movement, key: str, fingerprint: bytes) -> str:
        m = movement
        row = (m.sku, m.warehouse, m.qty, _REASONS[m.reason], m.reference, key, fingerprint)
        answer: str | None = await self._pool.fetchval(_RECORD, *row)
        while answer is None:
            await self._pool.execute(_ADD_BALANCE, m.sku, m.warehouse)
            answer = await self._pool.fetchval(_RECORD, *row)
        return answer

    async def _replay(self, key: str, fingerprint: bytes) -> web.Response:
        kept = await self._pool.fetchrow(_KEPT, key)
        if kept["fingerprint"] != fingerprint:
            raise web.HTTPUnprocessableEntity(text="idempotency_key_reused")
        return web.Response(body=kept["reply"].encode(), content_type="application/json")


async def serve(port: int, database_url: str) -> None:
    async with asyncpg.create_pool(database_url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        app = web.Application()
        app.router.add_post("/v1/inventory/ledger", Ledger(pool).record)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, port, reuse_port=True, backlog=1024).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
