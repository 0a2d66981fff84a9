"""The API keys: hashes only."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE api_key (
            id           text        PRIMARY KEY,
            account      text        NOT NULL CHECK (account ~ '^[a-z0-9-]{1,40}$'),
            mode         text        NOT NULL CHECK (mode IN ('test', 'live')),
            digest       bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
            last_four    text        NOT NULL,
            quota        integer     CHECK (quota > 0),
            window_s     integer     CHECK (window_s > 0),
            created_at   timestamptz NOT NULL,
            revoked_at   timestamptz,
            CHECK ((quota IS NULL) = (window_s IS NULL))
        )
    """)
    # A key is never deleted: a revoked one stays to be told from one that never was.
    op.execute("GRANT SELECT, INSERT, UPDATE (revoked_at) ON api_key TO skutrail_gateway")
