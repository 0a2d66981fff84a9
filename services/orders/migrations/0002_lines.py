"""The lines of each shipment of an order, and when its snapshot was told; a place for what a rebuild is told again.

Nothing is filled in: a row gets its lines from the next event of its shipment, from a call that asks for them, or from
`skutrail rebuild orders`. Until then, and where a release that keeps no lines wrote last, lines_version is not version.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

ROLE = "skutrail_orders"

LINES = """
ALTER TABLE order_shipment
    ADD COLUMN lines_version bigint,
    ADD COLUMN skus          text[],
    ADD COLUMN ordered       bigint[],
    ADD COLUMN held          bigint[],
    ADD COLUMN created_at    timestamptz,
    ADD COLUMN told_at       timestamptz,
    ADD COLUMN is_hearsay    boolean NOT NULL DEFAULT false,
    -- Not valid: no row that is there has lines, and none need be read to know that.
    ADD CONSTRAINT lines_are_whole CHECK (
        lines_version IS NULL OR cardinality(skus) = cardinality(ordered) AND cardinality(skus) = cardinality(held)
            AND skus IS NOT NULL AND ordered IS NOT NULL AND held IS NOT NULL AND created_at IS NOT NULL
    ) NOT VALID;
"""

# Empty but during a rebuild, whose transaction empties it again: nothing is lost with it.
RETOLD = """
CREATE UNLOGGED TABLE retold_shipment (LIKE order_shipment, PRIMARY KEY (tenant_id, order_id, shipment_id));
"""

GRANTS = f"GRANT SELECT, INSERT, UPDATE, TRUNCATE ON retold_shipment TO {ROLE};"


def upgrade() -> None:
    op.execute(LINES)
    op.execute(RETOLD)
    op.execute(GRANTS)
