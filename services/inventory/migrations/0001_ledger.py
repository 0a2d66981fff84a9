"""The ledger, the balances, the holds."""

from alembic import op

from chassis.migrate import messaging_tables

revision = "0001"
down_revision = None

ROLE = "skutrail_inventory"

LEDGER = """
CREATE TABLE balance (
    tenant_id  text        NOT NULL,
    sku        text        NOT NULL,
    warehouse  text        NOT NULL,
    on_hand    bigint      NOT NULL DEFAULT 0 CHECK (on_hand >= 0),
    held       bigint      NOT NULL DEFAULT 0 CHECK (held >= 0),
    seq        bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz,
    PRIMARY KEY (tenant_id, sku, warehouse),
    CONSTRAINT held_is_on_hand CHECK (held <= on_hand)
) WITH (fillfactor = 50);  -- room for HOT updates: no changing column is indexed

CREATE TABLE ledger_entry (
    tenant_id  text        NOT NULL,
    sku        text        NOT NULL,
    warehouse  text        NOT NULL,
    seq        bigint      NOT NULL CHECK (seq > 0),
    id         text        NOT NULL,
    qty        bigint      NOT NULL CHECK (qty <> 0),
    balance    bigint      NOT NULL CHECK (balance >= 0),
    reason     smallint    NOT NULL CHECK (reason BETWEEN 1 AND 4),
    reference  text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, sku, warehouse, seq),
    UNIQUE (tenant_id, id)
);

CREATE TABLE allocation (
    tenant_id  text        NOT NULL,
    request_id text        NOT NULL,
    position   bigint      GENERATED ALWAYS AS IDENTITY,  -- the queue of those that wait
    status     smallint    NOT NULL CHECK (status BETWEEN 1 AND 4),
    version    bigint      NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX allocation_waiting ON allocation (position) WHERE status = 1;

CREATE TABLE allocation_line (
    tenant_id  text   NOT NULL,
    request_id text   NOT NULL,
    sku        text   NOT NULL,
    qty        bigint NOT NULL CHECK (qty > 0),
    consumed   bigint NOT NULL DEFAULT 0 CHECK (consumed BETWEEN 0 AND qty),
    PRIMARY KEY (tenant_id, request_id, sku),
    FOREIGN KEY (tenant_id, request_id) REFERENCES allocation
);

CREATE TABLE hold (
    tenant_id  text   NOT NULL,
    request_id text   NOT NULL,
    sku        text   NOT NULL,
    warehouse  text   NOT NULL,
    open       bigint NOT NULL CHECK (open >= 0),
    consumed   bigint NOT NULL DEFAULT 0 CHECK (consumed >= 0),
    PRIMARY KEY (tenant_id, request_id, sku, warehouse),
    FOREIGN KEY (tenant_id, request_id) REFERENCES allocation
);
CREATE INDEX hold_open ON hold (tenant_id, sku, warehouse) WHERE open > 0;
"""

# The trail is immutable for the service itself: no UPDATE, no DELETE.
GRANTS = f"""
GRANT SELECT, INSERT ON ledger_entry TO {ROLE};
GRANT SELECT, INSERT, UPDATE ON balance, allocation, allocation_line, hold TO {ROLE};
"""


def upgrade() -> None:
    op.execute(messaging_tables(ROLE))
    op.execute(LEDGER)
    op.execute(GRANTS)
