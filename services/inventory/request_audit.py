"""What must hold of requests for stock and their holds, as a question to the database: a page of requests at a time.

A hold is the sum of its facts. A line is the sum of what is missing, held and picked, while its request is under way;
after that nothing is missing or held. A request has the status that its lines say. All of it is committed together, so
each statement sees it agree.
"""

from __future__ import annotations

# 1 waiting, 2 held, 3 released, 4 consumed, 5 dispatched, 6 expired. Facts: 1 held, 2 consumed.
REQUESTS = """
    WITH page AS (
        SELECT tenant_id, request_id, status, expires_at FROM allocation
        WHERE (tenant_id, request_id) > (%(tenant_id)s, %(request_id)s) {scope}
        ORDER BY tenant_id, request_id LIMIT %(limit)s
    )
    SELECT * FROM (
        SELECT page.tenant_id, page.request_id, coalesce(holds.wrong, lines.wrong) AS wrong,
            row_number() OVER requests AS number, lead(page.request_id) OVER requests IS NULL AS is_last
        FROM page
        CROSS JOIN LATERAL (
            SELECT min(CASE
                WHEN h.open IS DISTINCT FROM f.open OR h.consumed IS DISTINCT FROM f.consumed
                THEN format('the hold of %%s in %%s is %%s open and %%s picked, its facts say %%s and %%s',
                    sku, warehouse, coalesce(h.open, 0), coalesce(h.consumed, 0), coalesce(f.open, 0),
                    coalesce(f.consumed, 0))
                WHEN h.expires_at IS DISTINCT FROM page.expires_at
                THEN format('the hold of %%s in %%s expires at another time than it', sku, warehouse)
            END) AS wrong
            FROM (
                SELECT sku, warehouse, open, consumed, expires_at FROM hold
                WHERE tenant_id = page.tenant_id AND request_id = page.request_id
            ) h FULL JOIN (
                SELECT sku, warehouse, sum(CASE WHEN fact = 1 THEN units ELSE -units END) AS open,
                    sum(CASE WHEN fact = 2 THEN units ELSE 0 END) AS consumed
                FROM hold_fact WHERE tenant_id = page.tenant_id AND request_id = page.request_id
                GROUP BY sku, warehouse
            ) f USING (sku, warehouse)
        ) holds
        CROSS JOIN LATERAL (
            SELECT coalesce(min(CASE
                WHEN l.qty IS NULL THEN format('%%s: it is held, but no line wants it', sku)
                WHEN l.consumed IS DISTINCT FROM coalesce(h.consumed, 0)
                THEN format('%%s: the line says %%s picked, the holds %%s', sku, l.consumed, h.consumed)
                WHEN status IN (1, 2) AND l.qty <> l.missing + coalesce(h.open, 0) + l.consumed
                THEN format('%%s: of %%s wanted %%s are missing, %%s held, %%s picked',
                    sku, l.qty, l.missing, coalesce(h.open, 0), l.consumed)
                WHEN status NOT IN (1, 2) AND (l.missing > 0 OR h.open > 0)
                THEN format('%%s: it has ended, but %%s are missing and %%s held', sku, l.missing, coalesce(h.open, 0))
                WHEN status IN (4, 5) AND l.consumed < l.qty
                THEN format('%%s: it is told to be picked, but %%s of %%s are', sku, l.consumed, l.qty)
            END), CASE
                WHEN status = 1 AND NOT coalesce(bool_or(l.missing > 0), false) THEN 'it waits for nothing'
                WHEN status = 2 AND bool_or(l.missing > 0) THEN 'it is told to be held, but misses something'
                WHEN status = 2 AND NOT coalesce(bool_or(h.open > 0), false) THEN 'it is told to be held, and is not'
            END) AS wrong
            FROM (
                SELECT sku, qty, missing, consumed FROM allocation_line
                WHERE tenant_id = page.tenant_id AND request_id = page.request_id
            ) l FULL JOIN (
                SELECT sku, sum(open) AS open, sum(consumed) AS consumed FROM hold
                WHERE tenant_id = page.tenant_id AND request_id = page.request_id GROUP BY sku
            ) h USING (sku)
        ) lines
        WINDOW requests AS (ORDER BY page.tenant_id, page.request_id)
    ) judged
    WHERE is_last OR wrong IS NOT NULL
    ORDER BY number
"""
