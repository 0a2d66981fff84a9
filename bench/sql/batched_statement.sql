-- pgbench: many movements, one transaction, one statement. Needs -D tag=… -D skus=… -D movements=… -D n=0.
-- The balances are locked in one order, or two connections over the same SKUs would deadlock.
\set n :n + 1
WITH wanted AS MATERIALIZED (
    SELECT position, sku, row_number() OVER (PARTITION BY sku ORDER BY position) AS nth, count(*) OVER (PARTITION BY sku) AS total
    FROM unnest(ARRAY(SELECT 'SKU-' || (1 + floor(random() * CAST(:skus AS int)))::int FROM generate_series(1, CAST(:movements AS int)))) WITH ORDINALITY AS w (sku, position)
), locked AS MATERIALIZED (
    SELECT b.sku FROM balance b WHERE b.tenant_id = 'bench/test' AND b.sku = ANY (ARRAY(SELECT DISTINCT sku FROM wanted)) AND b.warehouse = 'SEA-1'
    ORDER BY b.sku FOR UPDATE
), moved AS (
    UPDATE balance b SET on_hand = b.on_hand + w.total, seq = b.seq + w.total, updated_at = now()
    FROM locked JOIN wanted w ON w.sku = locked.sku AND w.nth = 1
    WHERE b.tenant_id = 'bench/test' AND b.sku = locked.sku AND b.warehouse = 'SEA-1'
    RETURNING b.sku, b.on_hand - w.total AS balance_before, b.seq - w.total AS seq_before
), entry AS (
    INSERT INTO ledger_entry (tenant_id, sku, warehouse, seq, id, qty, balance, reason, reference, created_at)
    SELECT 'bench/test', w.sku, 'SEA-1', m.seq_before + w.nth, gen_random_uuid()::text, 1, m.balance_before + w.nth, 1, 'PO-2026-00814', now()
    FROM wanted w JOIN moved m USING (sku)
    RETURNING sku, seq, balance
), kept AS (
    INSERT INTO idempotency_key (tenant_id, key, fingerprint, reply, created_at)
    SELECT 'bench/test', CAST(:tag AS text) || '-' || CAST(:client_id AS int) || '-' || CAST(:n AS int) || '-' || row_number() OVER (), sha256('movement'),
        '{"sku": "' || sku || '", "warehouse": "SEA-1", "qty": 1, "balance": ' || balance || '}', now() FROM entry
)
INSERT INTO outbox (key, payload)
SELECT 'bench/test/' || sku || '/SEA-1', '{"sku": "' || sku || '", "warehouse": "SEA-1", "qty": 1, "balance": ' || balance || ', "seq": ' || seq || '}' FROM entry;
