"""Subscriptions, the events they asked for, the deliveries to them, and every attempt."""

from alembic import op

from chassis.migrate import messaging_tables

revision = "0001"
down_revision = None

ROLE = "skutrail_webhooks"

TABLES = """
CREATE TABLE subscription (
    tenant_id   text        NOT NULL,
    id          text        NOT NULL,
    url         text        NOT NULL,
    events      text[]      NOT NULL CHECK (cardinality(events) > 0),
    status      text        NOT NULL CHECK (status IN ('active', 'disabled')),
    description text,
    secret      bytea       NOT NULL,  -- sealed (secrets.py)
    created_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT deleted_is_disabled CHECK (deleted_at IS NULL OR status = 'disabled')
);
-- What was disabled or deleted slows neither the fan-out nor a page down.
CREATE INDEX subscription_active ON subscription (tenant_id, id) WHERE status = 'active';
CREATE INDEX subscription_listed ON subscription (tenant_id, id) WHERE deleted_at IS NULL;
CREATE INDEX subscription_deleted_at ON subscription (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE event (
    tenant_id   text        NOT NULL,
    id          text        NOT NULL,
    type        text        NOT NULL,
    body        bytea       NOT NULL,  -- the bytes of every attempt of every delivery
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX event_occurred_at ON event (occurred_at);

CREATE TABLE delivery (
    tenant_id       text        NOT NULL,
    id              text        NOT NULL,
    subscription_id text        NOT NULL,
    event_id        text        NOT NULL,
    status          text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts_made   smallint    NOT NULL DEFAULT 0,
    -- When it may be taken: the next attempt, or the end of the lease of the worker that holds `claim`.
    due_at          timestamptz,
    claim           text,
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, subscription_id, event_id),
    FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscription,
    FOREIGN KEY (tenant_id, event_id) REFERENCES event,
    CONSTRAINT pending_is_due CHECK ((status = 'pending') = (due_at IS NOT NULL)),
    CONSTRAINT pending_has_not_ended CHECK ((status = 'pending') = (ended_at IS NULL)),
    CONSTRAINT only_pending_is_claimed CHECK (claim IS NULL OR status = 'pending')
);
CREATE INDEX delivery_due ON delivery (tenant_id, subscription_id, due_at) WHERE status = 'pending';
CREATE INDEX delivery_ended_at ON delivery (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX delivery_event ON delivery (tenant_id, event_id);
CREATE INDEX delivery_in_flight ON delivery (tenant_id, subscription_id, due_at) WHERE claim IS NOT NULL;

CREATE TABLE attempt (
    tenant_id   text        NOT NULL,
    delivery_id text        NOT NULL,
    number      smallint    NOT NULL CHECK (number > 0),
    at          timestamptz NOT NULL,
    status_code integer,
    error       text,
    duration_ms integer     NOT NULL,
    PRIMARY KEY (tenant_id, delivery_id, number),
    FOREIGN KEY (tenant_id, delivery_id) REFERENCES delivery
);
"""

GRANTS = f"""
GRANT SELECT, INSERT, UPDATE (url, events, status, description, deleted_at), DELETE ON subscription TO {ROLE};
GRANT SELECT, INSERT, DELETE ON event, attempt TO {ROLE};
GRANT SELECT, INSERT, UPDATE, DELETE ON delivery TO {ROLE};
"""


def upgrade() -> None:
    op.execute(messaging_tables(ROLE))
    op.execute(TABLES)
    op.execute(GRANTS)
