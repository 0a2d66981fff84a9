"""The schema: Alembic, one history per database, plain SQL in each step, applied by the database's owner role."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config

ROOT = Path(__file__).resolve().parent.parent
SQL = Path(__file__).resolve().parent / "sql"
_LOCK = 0x5C1E  # two migrations of one database wait for each other


def upgrade(name: str, owner_url: str) -> None:
    """Brings the database of a process (`inventory`, ... `gateway`) to the newest schema. Idempotent.

    The application role's name is `skutrail_<name>`: migrations grant it what it may do, and nothing else.
    """
    home = ROOT / "gateway" if name == "gateway" else ROOT / "services" / name
    config = Config()
    config.set_main_option("script_location", str(ROOT / "chassis" / "migrations"))
    config.set_main_option("version_locations", str(home / "migrations"))
    config.set_main_option("path_separator", "newline")
    engine = sqlalchemy.create_engine(owner_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        # Writers queue up behind a change of schema that waits for a lock: better to give up and be run again.
        connection.execute(sqlalchemy.text("SET LOCAL lock_timeout = '30s'"))
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()


def messaging_tables(role: str, *, step: str = "0001") -> str:
    """The SQL of a frozen step of the chassis' own tables (chassis/sql), granted to an application role."""
    return (SQL / f"messaging_{step}.sql").read_text().replace("{role}", role)
