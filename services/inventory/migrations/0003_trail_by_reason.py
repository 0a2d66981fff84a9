"""An index to read the trail of one reason by (docs/decisions/0011)."""

from alembic import op

revision = "0003"
down_revision = "0002"

INDEX = "CREATE INDEX ledger_entry_by_reason ON ledger_entry (tenant_id, reason, id)"


def upgrade() -> None:
    op.execute(INDEX)
