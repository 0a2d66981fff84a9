"""Gives every process a database of its own, a role that owns it and a role that may only work in it.

What those roles may touch inside is decided by the migrations. Production does the same with its own tools.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

NAMES = ("inventory", "shipments", "orders", "webhooks", "gateway")
"""Who has a database: the four services and the gateway."""

ROLES = tuple(role for name in NAMES for role in (f"skutrail_{name}_owner", f"skutrail_{name}"))


@dataclass(frozen=True)
class DatabaseUrls:
    """Two ways into one database: `owner` to migrate it, `application` to work in it."""

    owner: str
    application: str


def database_urls(server_url: str, role_passwords: Mapping[str, str]) -> dict[str, DatabaseUrls]:
    """The URLs of all databases on a server, by process name. Connects to nothing."""

    def url(role: str, name: str) -> str:
        parts = urlsplit(server_url)
        host = parts.netloc.rpartition("@")[2]
        netloc = f"{role}:{quote(role_passwords[role], safe='')}@{host}"
        return urlunsplit(parts._replace(netloc=netloc, path=f"/skutrail_{name}"))

    return {
        name: DatabaseUrls(owner=url(f"skutrail_{name}_owner", name), application=url(f"skutrail_{name}", name))
        for name in NAMES
    }


class SettingsMissing(Exception):
    """Environment variables that must be set and are not."""


def demand(environment: Mapping[str, str], variables: Sequence[str]) -> None:
    """Raises SettingsMissing, which names every one that is not set."""
    missing = [variable for variable in variables if not environment.get(variable)]
    if missing:
        raise SettingsMissing(f"not set: {', '.join(missing)}")


def settings_from(environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Returns the superuser's URL, and the roles' passwords."""
    passwords = {role: f"{role.upper()}_PASSWORD" for role in ROLES}
    demand(environment, ["SKUTRAIL_SUPERUSER_URL", *passwords.values()])
    return environment["SKUTRAIL_SUPERUSER_URL"], {role: environment[variable] for role, variable in passwords.items()}


async def provision(superuser_url: str, role_passwords: Mapping[str, str]) -> dict[str, DatabaseUrls]:
    """Makes what is missing and sets what differs; run again, it changes nothing."""
    # CREATE DATABASE refuses to run inside a transaction.
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as connection:
        for name in NAMES:
            owner, application = f"skutrail_{name}_owner", f"skutrail_{name}"
            await _ensure_role(connection, owner, role_passwords[owner])
            await _ensure_role(connection, application, role_passwords[application])
            await _ensure_database(connection, f"skutrail_{name}", owner, application)
    return database_urls(superuser_url, role_passwords)


async def _ensure_role(connection: psycopg.AsyncConnection, role: str, password: str) -> None:
    found = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
    if await found.fetchone() is None:
        await connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
    await connection.execute(statement.format(sql.Identifier(role), sql.Literal(password)))


async def _ensure_database(connection: psycopg.AsyncConnection, database: str, owner: str, application: str) -> None:
    found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
    names = {
        "database": sql.Identifier(database),
        "owner": sql.Identifier(owner),
        "application": sql.Identifier(application),
    }
    if await found.fetchone() is None:
        # The builtin locale compares strings byte for byte, on every machine alike.
        create = sql.SQL(
            "CREATE DATABASE {database} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8'"
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
        )
        await connection.execute(create.format(**names))
    await connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC").format(**names))
    await connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {database} TO {owner}, {application}").format(**names))
