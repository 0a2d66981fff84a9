"""Tamper evidence: every entry carries the hash of its chain up to itself, and the balance the last one.

What was recorded before is hashed here as `domain.chain_hash` does it.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

CHAIN = """
ALTER TABLE balance ADD COLUMN head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
    CHECK (octet_length(head) = 32);
ALTER TABLE ledger_entry ADD COLUMN hash bytea CHECK (octet_length(hash) = 32);

CREATE FUNCTION chain_hash(previous bytea, e ledger_entry) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
    SELECT sha256(previous || convert_to(concat_ws(E'\\n', e.tenant_id, e.sku, e.warehouse, e.seq, e.id, e.qty,
        e.balance, e.reason, coalesce('=' || e.reference, '-'), (extract(epoch FROM e.created_at) * 1000000)::bigint
    ), 'UTF8'))
$$;

DO $$
DECLARE
    e ledger_entry;
    head bytea;
BEGIN
    FOR e IN SELECT * FROM ledger_entry ORDER BY tenant_id, sku, warehouse, seq LOOP
        head := chain_hash(CASE e.seq WHEN 1 THEN decode(repeat('00', 32), 'hex') ELSE head END, e);
        UPDATE ledger_entry SET hash = head
            WHERE tenant_id = e.tenant_id AND sku = e.sku AND warehouse = e.warehouse AND seq = e.seq;
    END LOOP;
END $$;

UPDATE balance b SET head = e.hash FROM ledger_entry e
    WHERE e.tenant_id = b.tenant_id AND e.sku = b.sku AND e.warehouse = b.warehouse AND e.seq = b.seq;
ALTER TABLE ledger_entry ALTER COLUMN hash SET NOT NULL;
"""


def upgrade() -> None:
    op.execute(CHAIN)
