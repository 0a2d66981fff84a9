-- The ledger of pgbench and of the monolith: the columns of the product's tables that their transaction needs, and
-- fewer indexes than the product keeps, in their favour.

CREATE TABLE balance (
    tenant_id  text        NOT NULL,
    sku        text        NOT NULL,
    warehouse  text        NOT NULL,
    on_hand    bigint      NOT NULL DEFAULT 0 CHECK (on_hand >= 0),
    seq        bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz,
    PRIMARY KEY (tenant_id, sku, warehouse)
) WITH (fillfactor = 50);

CREATE TABLE ledger_entry (
    tenant_id  text        NOT NULL,
    sku        text        NOT NULL,
    warehouse  text        NOT NULL,
    seq        bigint      NOT NULL,
    id         text        NOT NULL,
    qty        bigint      NOT NULL,
    balance    bigint      NOT NULL,
    reason     smallint    NOT NULL,
    reference  text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, sku, warehouse, seq)
);

CREATE TABLE idempotency_key (
    tenant_id   text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    reply       text        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
);

CREATE TABLE outbox (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text        NOT NULL,
    payload    text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
