"""Requests in depth: policy, priority, expiry, destination, the decision; holds as sums of facts; warehouses.

A line says what it still misses: who waits for a SKU, and for how much, is found by an index.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

ROLE = "skutrail_inventory"

REQUESTS = """
ALTER TABLE allocation
    DROP CONSTRAINT allocation_status_check,
    ADD CONSTRAINT allocation_status_check CHECK (status BETWEEN 1 AND 6),
    ADD COLUMN policy     smallint NOT NULL DEFAULT 1 CHECK (policy BETWEEN 1 AND 2),
    ADD COLUMN priority   smallint NOT NULL DEFAULT 0 CHECK (priority BETWEEN 0 AND 100),
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN latitude   double precision CHECK (latitude BETWEEN -90 AND 90),
    ADD COLUMN longitude  double precision CHECK (longitude BETWEEN -180 AND 180),
    ADD COLUMN plan       bytea,  -- the decision by which it has what it has: AllocationPlan
    ADD CONSTRAINT place_is_whole CHECK (num_nulls(latitude, longitude) IN (0, 2));
DROP INDEX allocation_waiting;
CREATE INDEX allocation_expiring ON allocation (expires_at) WHERE status IN (1, 2) AND expires_at IS NOT NULL;

ALTER TABLE allocation_line ADD COLUMN missing bigint NOT NULL DEFAULT 0;
UPDATE allocation_line l SET missing = l.qty - l.consumed
    FROM allocation a WHERE a.tenant_id = l.tenant_id AND a.request_id = l.request_id AND a.status = 1;
ALTER TABLE allocation_line ADD CONSTRAINT missing_is_not_consumed CHECK (missing BETWEEN 0 AND qty - consumed);
CREATE INDEX allocation_line_missing ON allocation_line (tenant_id, sku, request_id) WHERE missing > 0;
"""

# 1 held, 2 consumed, 3 released, 4 expired, 5 displaced. A hold is the sum of its facts.
HOLDS = """
ALTER TABLE hold ADD COLUMN expires_at timestamptz;
CREATE INDEX hold_expiring ON hold (tenant_id, sku, warehouse, expires_at)
    WHERE open > 0 AND expires_at IS NOT NULL;

CREATE TABLE hold_fact (
    tenant_id  text        NOT NULL,
    request_id text        NOT NULL,
    id         bigint      GENERATED ALWAYS AS IDENTITY,
    sku        text        NOT NULL,
    warehouse  text        NOT NULL,
    fact       smallint    NOT NULL CHECK (fact BETWEEN 1 AND 5),
    units      bigint      NOT NULL CHECK (units > 0),
    at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, request_id, id)
);
INSERT INTO hold_fact (tenant_id, request_id, sku, warehouse, fact, units, at)
    SELECT h.tenant_id, h.request_id, h.sku, h.warehouse, f.fact, f.units, a.created_at
    FROM hold h JOIN allocation a USING (tenant_id, request_id)
    CROSS JOIN LATERAL (VALUES (1, h.open + h.consumed), (2, h.consumed)) AS f (fact, units)
    WHERE f.units > 0;
"""

WAREHOUSES = """
CREATE TABLE warehouse (
    tenant_id  text        NOT NULL,
    code       text        NOT NULL,
    name       text,
    address    jsonb,
    latitude   double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude  double precision CHECK (longitude BETWEEN -180 AND 180),
    priority   smallint    NOT NULL CHECK (priority BETWEEN 0 AND 100),
    active     boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, code),
    CONSTRAINT place_is_whole CHECK (num_nulls(latitude, longitude) IN (0, 2))
);
"""

# What happened to held units is immutable for the service itself, as the trail is.
GRANTS = f"""
GRANT SELECT, INSERT ON hold_fact TO {ROLE};
GRANT SELECT, INSERT, UPDATE ON warehouse TO {ROLE};
"""


def upgrade() -> None:
    for statement in (REQUESTS, HOLDS, WAREHOUSES, GRANTS):
        op.execute(statement)
