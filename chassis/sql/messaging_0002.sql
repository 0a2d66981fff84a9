-- What was published is kept, and can be told again. Frozen: a change is a new file and a new migration.

-- When an operator last took the mark of its publication back (skutrail republish).
ALTER TABLE outbox ADD COLUMN retold_at timestamptz;

-- A mark is an update of a column that partial indexes ask for, so never a HOT one: each leaves a dead row, and a dead
-- entry where the relay looks for what waits. By the default a fifth of all that is kept would have to be dead before
-- they are cleared away. No fillfactor: room in the page saves nothing where the update is not HOT.
ALTER TABLE outbox SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05,
    toast.autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_threshold = 10000
);
