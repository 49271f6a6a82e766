-- An owner learns that what it holds in memory may have changed; waits for a settlement that is being written.
-- Plan: a lookup by primary key.
UPDATE outbox_sessions SET changes = changes + 1 WHERE epoch = ? AND fenced_at IS NULL
