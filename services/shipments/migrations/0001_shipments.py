"""Shipments, their parcels, the labels that were bought."""

from alembic import op

from chassis.migrate import messaging_tables

revision = "0001"
down_revision = None

ROLE = "skutrail_shipments"

SHIPMENTS = """
CREATE TABLE shipment (
    tenant_id          text        NOT NULL,
    id                 text        NOT NULL,
    order_id           text        NOT NULL,
    status             text        NOT NULL CHECK (status IN (
        'queued', 'backordered', 'allocated', 'label_ready', 'shipped', 'delivered', 'canceled', 'failed')),
    ship_to            jsonb       NOT NULL,
    line_items         jsonb       NOT NULL CHECK (jsonb_array_length(line_items) > 0),
    carrier_hint       text,
    carrier            text,
    service            text,
    allocations        jsonb       NOT NULL CHECK (jsonb_typeof(allocations) = 'array'),
    error_code         text,
    error_message      text,
    version            bigint      NOT NULL CHECK (version > 0),
    allocation_version bigint      NOT NULL CHECK (allocation_version >= 0),
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    -- The sweeper's: when it last took the shipment up, and whether inventory has answered that it gives nothing to it.
    looked_at          timestamptz NOT NULL,
    stock_given_back   boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT failure_is_explained CHECK ((status = 'failed') = (error_code IS NOT NULL)),
    CONSTRAINT stock_is_held CHECK (
        status NOT IN ('queued', 'backordered', 'failed') OR jsonb_array_length(allocations) = 0),
    CONSTRAINT allocated_holds_stock CHECK (
        status NOT IN ('allocated', 'label_ready') OR jsonb_array_length(allocations) > 0),
    CONSTRAINT stock_is_given_back_at_the_end CHECK (status IN ('canceled', 'failed') OR NOT stock_given_back)
) WITH (fillfactor = 70);
CREATE INDEX shipment_of_order ON shipment (tenant_id, order_id, id);
CREATE INDEX shipment_by_status ON shipment (tenant_id, status, id);
CREATE INDEX shipment_to_look_at ON shipment (status, looked_at)
    WHERE status NOT IN ('shipped', 'delivered') AND NOT stock_given_back;

-- The box that leaves one warehouse, and the purchase of its label while that is under way.
CREATE TABLE parcel (
    tenant_id       text     NOT NULL,
    shipment_id     text     NOT NULL,
    warehouse       text     NOT NULL,
    number          smallint NOT NULL CHECK (number > 0),
    reference       text     NOT NULL,
    label_status    text     NOT NULL CHECK (label_status IN ('none', 'purchasing', 'ready', 'unknown')),
    tracking_number text,
    attempt_key     text,
    try_id          text,
    began_at        timestamptz,
    tried_at        timestamptz,
    leased_until    timestamptz,
    sent_at         timestamptz,
    PRIMARY KEY (tenant_id, shipment_id, warehouse),
    UNIQUE (tenant_id, shipment_id, number),
    FOREIGN KEY (tenant_id, shipment_id) REFERENCES shipment,
    CONSTRAINT ready_is_tracked CHECK ((label_status = 'ready') = (tracking_number IS NOT NULL)),
    CONSTRAINT ready_is_settled CHECK (label_status <> 'ready' OR attempt_key IS NULL),
    CONSTRAINT purchasing_has_a_key CHECK (label_status <> 'purchasing' OR attempt_key IS NOT NULL),
    CONSTRAINT attempt_is_whole CHECK (num_nulls(attempt_key, try_id, began_at, tried_at, leased_until) IN (0, 5)),
    CONSTRAINT sent_by_an_attempt CHECK (sent_at IS NULL OR attempt_key IS NOT NULL)
) WITH (fillfactor = 70);

-- Paid for and immutable: one per parcel, never changed, never deleted by the service.
CREATE TABLE label (
    tenant_id   text        NOT NULL,
    shipment_id text        NOT NULL,
    warehouse   text        NOT NULL,
    content     bytea       NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 1048576),
    carrier     text        NOT NULL,
    service     text        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, shipment_id, warehouse),
    FOREIGN KEY (tenant_id, shipment_id, warehouse) REFERENCES parcel
);
ALTER TABLE label ALTER COLUMN content SET STORAGE EXTERNAL;  -- a PDF is compressed already
"""

GRANTS = f"""
GRANT SELECT, INSERT, UPDATE ON shipment, parcel TO {ROLE};
GRANT SELECT, INSERT ON label TO {ROLE};
"""


def upgrade() -> None:
    op.execute(messaging_tables(ROLE))
    op.execute(SHIPMENTS)
    op.execute(GRANTS)
