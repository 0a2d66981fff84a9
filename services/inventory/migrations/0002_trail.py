"""Indexes to read the trail by: pages of one SKU, one warehouse, one reference, newest first.

The id sorts by its time of birth, so it is the position of a page; one chain is read by its primary key.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

INDEXES = """
CREATE INDEX ledger_entry_by_sku ON ledger_entry (tenant_id, sku, id);
CREATE INDEX ledger_entry_by_warehouse ON ledger_entry (tenant_id, warehouse, id);
CREATE INDEX ledger_entry_by_reference ON ledger_entry (tenant_id, reference, id) WHERE reference IS NOT NULL;
CREATE INDEX balance_by_warehouse ON balance (tenant_id, warehouse, sku);
"""


def upgrade() -> None:
    op.execute(INDEXES)
