"""Orders and the shipments they follow from."""

from alembic import op

from chassis.migrate import messaging_tables

revision = "0001"
down_revision = None

ROLE = "skutrail_orders"

ORDERS = """
CREATE TABLE sales_order (
    tenant_id  text        NOT NULL,
    id         text        NOT NULL,
    status     smallint    NOT NULL CHECK (status BETWEEN 1 AND 9),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX sales_order_by_age ON sales_order (tenant_id, created_at, id);
CREATE INDEX sales_order_by_status ON sales_order (tenant_id, status, created_at, id);

CREATE TABLE order_shipment (
    tenant_id   text     NOT NULL,
    order_id    text     NOT NULL,
    shipment_id text     NOT NULL,
    version     bigint   NOT NULL,
    status      smallint NOT NULL CHECK (status BETWEEN 1 AND 8),
    warehouses  text[]   NOT NULL,
    qtys        bigint[] NOT NULL,
    PRIMARY KEY (tenant_id, order_id, shipment_id),
    FOREIGN KEY (tenant_id, order_id) REFERENCES sales_order,
    CHECK (cardinality(warehouses) = cardinality(qtys))
);
"""

GRANTS = f"GRANT SELECT, INSERT, UPDATE ON sales_order, order_shipment TO {ROLE};"


def upgrade() -> None:
    op.execute(messaging_tables(ROLE))
    op.execute(ORDERS)
    op.execute(GRANTS)
