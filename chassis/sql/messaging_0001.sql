-- What commits together with a service's own rows. Frozen: a change is a new file and a new migration.

CREATE TABLE idempotency_key (
    tenant_id   text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    reply       bytea,
    fault       bytea,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
) WITH (fillfactor = 70);
CREATE INDEX idempotency_key_expires_at ON idempotency_key (expires_at);

CREATE TABLE outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     text        NOT NULL UNIQUE,
    subject      text        NOT NULL,
    key          text        NOT NULL,
    payload      bytea       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_published_at ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE inbox (
    consumer    text        NOT NULL,
    event_id    text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_received_at ON inbox (received_at);

-- Events that a handler could not take: an operator looks at them and releases them (skutrail parked).
CREATE TABLE parked_event (
    consumer    text        NOT NULL,
    event_id    text        NOT NULL,
    subject     text        NOT NULL,
    payload     bytea       NOT NULL,
    error       text        NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    PRIMARY KEY (consumer, event_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_key, outbox, inbox TO {role};
GRANT SELECT, INSERT, UPDATE ON parked_event TO {role};
GRANT USAGE ON SCHEMA public TO {role};
