"""Published events can be told again (docs/decisions/0017)."""

from alembic import op

from chassis.migrate import messaging_tables

revision = "0003"
down_revision = "0002"

ROLE = "skutrail_orders"


def upgrade() -> None:
    op.execute(messaging_tables(ROLE, step="0002"))
