-- pgbench: one movement, one transaction, four statements. Needs -D tag=… -D skus=… -D n=0.
\set n :n + 1
\set s random(1, :skus)
BEGIN;
UPDATE balance SET on_hand = on_hand + 1, seq = seq + 1, updated_at = now() WHERE tenant_id = 'bench/test' AND sku = 'SKU-' || :s AND warehouse = 'SEA-1' RETURNING on_hand, seq \gset
INSERT INTO ledger_entry (tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at) VALUES ('bench/test', 'SKU-' || :s, 'SEA-1', :seq, gen_random_uuid()::text, 1, :on_hand, 1, 'PO-2026-00814', now());
INSERT INTO idempotency_key (tenant_id, key, fingerprint, reply, created_at) VALUES ('bench/test', :tag || '-' || :client_id || '-' || :n, sha256('movement'), '{"sku": "SKU-' || :s || '", "warehouse": "SEA-1", "qty": 1, "balance": ' || :on_hand || '}', now());
INSERT INTO outbox (key, payload) VALUES ('bench/test/SKU-' || :s || '/SEA-1', '{"sku": "SKU-' || :s || '", "warehouse": "SEA-1", "qty": 1, "balance": ' || :on_hand || ', "seq": ' || :seq || '}');
END;
