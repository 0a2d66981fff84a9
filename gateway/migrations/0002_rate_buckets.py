"""The token buckets that all gateways share, where the operator names this database for them."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Unlogged: after a crash every bucket is full again, and no request waits for a disk or a standby. Half of each
    # page is left free and `full_at_ns` has no index, so that an update stays on its page and touches no index.
    op.execute("""
        CREATE UNLOGGED TABLE rate_bucket (
            caller     text   PRIMARY KEY CHECK (length(caller) <= 100),
            full_at_ns bigint NOT NULL
        ) WITH (fillfactor = 50)
    """)
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON rate_bucket TO skutrail_gateway")
