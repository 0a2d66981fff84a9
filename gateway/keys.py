"""API keys, the gateway's only data: their form, their store, and the ring of those lately presented.

A key is `sk_test_` or `sk_live_`, 32 random characters of base62 and 6 of a CRC32 over all before: a mistyped key is
told from a wrong one without asking anybody. Only its SHA-256 is stored; 190 bits of chance need no slow hash.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.clock import utc_now
from chassis.database import Database, create_engine
from chassis.ids import new_id
from gateway.limits import Limit

Mode = Literal["test", "live"]

# What the published examples say; on loopback it stands for the account `local` in test mode.
EXAMPLE_KEY = "sk_test_REPLACE"

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(r"(sk_(?:test|live)_[0-9A-Za-z]{32})([0-9A-Za-z]{6})", re.ASCII)
_ACCOUNT = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key; never the key itself. `limit` is None where the mode's default holds."""

    id: str
    account: str
    mode: Mode
    last_four: str
    created_at: datetime
    limit: Limit | None = None
    revoked_at: datetime | None = None

    @property
    def tenant_id(self) -> str:
        """Account and mode: the border that nothing crosses."""
        return f"{self.account}/{self.mode}"


@dataclass(frozen=True)
class CreatedKey:
    """A key at its only showing."""

    secret: str
    key: ApiKey


def new_secret(mode: Mode) -> str:
    start = f"sk_{mode}_" + "".join(secrets.choice(_BASE62) for _ in range(32))
    return start + _checksum(start)


def is_well_formed(secret: str) -> bool:
    """True when the form and the check characters are right."""
    match = _FORM.fullmatch(secret)
    return match is not None and _checksum(match[1]) == match[2]


def _checksum(start: str) -> str:
    rest, digits = zlib.crc32(start.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = _BASE62[digit] + digits
    return digits


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


async def create_key(database_url: str, *, account: str, mode: Mode, limit: Limit | None = None) -> CreatedKey:
    """Makes a key and stores its hash. Raises ValueError for an account that is not 1-40 of a-z, 0-9 and -."""
    if not _ACCOUNT.fullmatch(account):
        raise ValueError("An account is 1 to 40 of a-z, 0-9 and -.")
    secret = new_secret(mode)
    key = ApiKey(new_id("key"), account, mode, secret[-4:], utc_now(), limit)
    async with _database(database_url) as database:
        await database.run(lambda tx: _insert(tx, key, digest_of(secret)))
    return CreatedKey(secret, key)


async def list_keys(database_url: str) -> Sequence[ApiKey]:
    """All keys, revoked ones too, oldest first."""
    async with _database(database_url) as database:
        return await database.run(_select_all)


async def revoke_key(database_url: str, key_id: str) -> bool:
    """False when there is no such key, or it is revoked already. Every gateway obeys within seconds (keyring.py)."""
    async with _database(database_url) as database:
        return await database.run(lambda tx: _revoke(tx, key_id, utc_now()))


async def find_key(tx: AsyncConnection, digest: bytes) -> ApiKey | None:
    """The key of this hash, unless it was revoked."""
    rows = await tx.execute(_FIND, {"digest": digest})
    row = rows.one_or_none()
    return None if row is None else _as_key(row)


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Database]:
    engine = create_engine(url, pool_size=1)
    try:
        yield Database(engine)
    finally:
        await engine.dispose()


_COLUMNS = "id, account, mode, last_four, created_at, quota, window_s, revoked_at"
_FIND = text(f"SELECT {_COLUMNS} FROM api_key WHERE digest = :digest AND revoked_at IS NULL")  # noqa: S608
_LIST = text(f"SELECT {_COLUMNS} FROM api_key ORDER BY created_at, id")  # noqa: S608
_REVOKE = text("UPDATE api_key SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL RETURNING id")
_INSERT = text("""
    INSERT INTO api_key (id, account, mode, digest, last_four, quota, window_s, created_at)
    VALUES (:id, :account, :mode, :digest, :last_four, :quota, :window_s, :created_at)
""")


async def _insert(tx: AsyncConnection, key: ApiKey, digest: bytes) -> None:
    limit = {"quota": key.limit and key.limit.quota, "window_s": key.limit and key.limit.window_s}
    row = {"id": key.id, "account": key.account, "mode": key.mode, "digest": digest, "last_four": key.last_four}
    await tx.execute(_INSERT, {**row, **limit, "created_at": key.created_at})


async def _select_all(tx: AsyncConnection) -> list[ApiKey]:
    return [_as_key(row) for row in await tx.execute(_LIST)]


async def _revoke(tx: AsyncConnection, key_id: str, now: datetime) -> bool:
    revoked = await tx.execute(_REVOKE, {"id": key_id, "now": now})
    return revoked.one_or_none() is not None


def _as_key(row: Row[Any]) -> ApiKey:
    limit = Limit(row.quota, row.window_s) if row.quota else None
    return ApiKey(row.id, row.account, row.mode, row.last_four, row.created_at, limit, row.revoked_at)
