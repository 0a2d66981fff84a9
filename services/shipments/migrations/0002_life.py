"""Requests for stock that are partial, urgent or limited in time; wishes to cancel; labels that are given back."""

from alembic import op

revision = "0002"
down_revision = "0001"

SHIPMENTS = """
ALTER TABLE shipment
    ADD COLUMN policy text NOT NULL DEFAULT 'all_or_none' CHECK (policy IN ('all_or_none', 'partial')),
    ADD COLUMN priority smallint NOT NULL DEFAULT 0 CHECK (priority BETWEEN 0 AND 100),
    ADD COLUMN hold_expires_at timestamptz,
    -- Somebody wants it canceled, and inventory has not decided yet.
    ADD COLUMN cancel_asked_at timestamptz,
    -- The sweeper's: when it last looked at the labels that are to be given back. NULL while there are none.
    ADD COLUMN voids_looked_at timestamptz,
    DROP CONSTRAINT stock_is_held,
    -- What waits may hold a part.
    ADD CONSTRAINT stock_is_held CHECK (
        status NOT IN ('queued', 'canceled', 'failed') OR jsonb_array_length(allocations) = 0),
    ADD CONSTRAINT what_is_to_be_canceled_can_be CHECK (
        cancel_asked_at IS NULL OR status IN ('queued', 'backordered', 'allocated', 'label_ready'));

DROP INDEX shipment_to_look_at;
CREATE INDEX shipment_to_look_at ON shipment (status, looked_at)
    WHERE status <> 'delivered' AND NOT stock_given_back AND cancel_asked_at IS NULL;
CREATE INDEX shipment_asked_to_cancel ON shipment (looked_at) WHERE cancel_asked_at IS NOT NULL;
CREATE INDEX shipment_with_labels_to_void ON shipment (voids_looked_at) WHERE voids_looked_at IS NOT NULL;
"""

# A warehouse may have several parcels, one after the other: what follows a voided one is another.
PARCELS = """
ALTER TABLE label DROP CONSTRAINT label_tenant_id_shipment_id_warehouse_fkey, DROP CONSTRAINT label_pkey;
ALTER TABLE label ADD COLUMN number smallint;
UPDATE label SET number = p.number FROM parcel p
WHERE (p.tenant_id, p.shipment_id, p.warehouse) = (label.tenant_id, label.shipment_id, label.warehouse);

ALTER TABLE parcel
    ADD COLUMN void_refused_at timestamptz,
    DROP CONSTRAINT parcel_pkey,
    DROP CONSTRAINT parcel_tenant_id_shipment_id_number_key,
    ADD PRIMARY KEY (tenant_id, shipment_id, number),
    DROP CONSTRAINT parcel_label_status_check,
    ADD CONSTRAINT parcel_label_status_check CHECK (
        label_status IN ('none', 'purchasing', 'ready', 'unknown', 'voiding', 'voided')),
    DROP CONSTRAINT ready_is_tracked,
    ADD CONSTRAINT bought_is_tracked CHECK (
        (label_status IN ('ready', 'voiding', 'voided')) = (tracking_number IS NOT NULL)),
    DROP CONSTRAINT ready_is_settled,
    ADD CONSTRAINT bought_is_settled CHECK (label_status NOT IN ('ready', 'voided') OR attempt_key IS NULL),
    DROP CONSTRAINT purchasing_has_a_key,
    ADD CONSTRAINT under_way_has_a_key CHECK (
        label_status NOT IN ('purchasing', 'voiding') OR attempt_key IS NOT NULL),
    ADD CONSTRAINT not_taken_back_is_ready CHECK (void_refused_at IS NULL OR label_status = 'ready');

ALTER TABLE label
    ALTER COLUMN number SET NOT NULL,
    DROP COLUMN warehouse,
    ADD PRIMARY KEY (tenant_id, shipment_id, number),
    ADD FOREIGN KEY (tenant_id, shipment_id, number) REFERENCES parcel;
"""

# What was bought, or may have been, for shipments that have ended without goods or wait again.
TO_VOID = """
UPDATE shipment s SET voids_looked_at = s.updated_at
WHERE s.status IN ('backordered', 'canceled', 'failed') AND EXISTS (
    SELECT FROM parcel p
    WHERE (p.tenant_id, p.shipment_id) = (s.tenant_id, s.id) AND p.label_status <> 'none');
"""


def upgrade() -> None:
    op.execute(SHIPMENTS)
    op.execute(PARCELS)
    op.execute(TO_VOID)
